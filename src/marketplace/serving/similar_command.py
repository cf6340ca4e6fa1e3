"""The command `similar`: a question in the terminal."""

import argparse
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marketplace.common.console import count, project_root, share
from marketplace.common.errors import MarketplaceError
from marketplace.recommendation.filters import Filters

if TYPE_CHECKING:  # imported where they are needed, so that `marketplace --help` is fast
    from marketplace.serving.answers import Answer
    from marketplace.serving.question import Photo, Question
    from marketplace.serving.recommender import Recommender

log = logging.getLogger(__name__)
TURNS = (0, 90, 180, 270)


def add_similar_command(commands: Any) -> None:
    """Add the command to the subparsers of `marketplace`."""
    similar = commands.add_parser(
        "similar",
        help="find products similar to products, a photo, words, or all of them",
        epilog="Examples: similar 3b215975 --words red; similar sofa.jpg --words 'corner -leather'; "
        "similar 3b215975 4c0e --unlike 9f31",
    )
    similar.add_argument(
        "examples",
        metavar="PRODUCT_ID|PHOTO",
        nargs="*",
        help="ids of products, or their beginnings, and at most one path of a photo",
    )
    similar.add_argument(
        "--words", metavar="TEXT", help="also, or only, words such as 'oak table'; 'oak -round': not round"
    )
    similar.add_argument(
        "--unlike", metavar="PRODUCT_ID", action="append", default=[], help="less like this product (may be repeated)"
    )
    similar.add_argument(
        "--crop", metavar="L,T,R,B", help="the part of the photo that counts, as shares of its sides: 0.25,0,0.75,0.5"
    )
    similar.add_argument(
        "--turn", metavar="DEGREES", type=int, choices=TURNS, default=0, help="turn the photo clockwise: 90, 180 or 270"
    )
    similar.add_argument(
        "--weights", metavar="PART=NUMBER,…", help="weights for kind, text, title and path, such as kind=1,text=0.5"
    )
    similar.add_argument("--diversity", type=share, metavar="SHARE", help="from 0 on: less like the ones before it")
    similar.add_argument("--least-score", type=_number, metavar="SCORE", help="leave out products with a lower score")
    similar.add_argument("-k", type=count, default=10, help="number of products (default: %(default)s)")
    Filters.add_arguments(similar)
    similar.add_argument("--json", action="store_true", help="print JSON, like the API")
    similar.add_argument("--html", type=Path, metavar="OUT", help="also write a page with photos to OUT")
    similar.set_defaults(run=_similar)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number such as 0.5")
    return value


def _similar(options: argparse.Namespace) -> None:
    from marketplace.serving.recommender import Recommender
    from marketplace.serving.terminal import print_answer, print_json

    if options.words is not None and not options.words.strip():
        raise MarketplaceError("--words is empty: write for example --words 'oak table'.")
    if not options.examples and options.words is None:
        raise MarketplaceError("name a product, a photo, or --words TEXT.")
    recommender = Recommender(project_root())
    question = _read_question(recommender, options)
    answer = recommender.ask(question)
    heading, details = _describe(recommender, options, question)
    if options.json:
        print_json(answer)
    else:
        print_answer(heading, details, answer, recommender.ids.shorten)
    if options.html:
        _write_page(recommender, options.html, heading, details, question, answer)


def _read_question(recommender: "Recommender", options: argparse.Namespace) -> "Question":
    from marketplace.recommendation.similarity import parse_weights
    from marketplace.serving.question import Question

    photos = [text for text in options.examples if text not in recommender.ids and Path(text).is_file()]
    if len(photos) > 1:
        raise MarketplaceError(f"{photos[0]!r} and {photos[1]!r} are both photos: a question has at most one.")
    like = [_complete_id(recommender, text) for text in options.examples if text not in photos]
    defaults = recommender.settings.weights
    default = defaults.photo if photos else defaults.product if like else defaults.words
    return Question(
        like=tuple(like),
        unlike=tuple(_complete_id(recommender, text) for text in options.unlike),
        photo=_read_photo(photos, options),
        words=options.words or "",
        k=options.k,
        filters=recommender.table.match_case(Filters.from_arguments(options)),
        weights=None if options.weights is None else parse_weights(options.weights, default),
        diversity=options.diversity,
        least_score=options.least_score,
    )


def _read_photo(photos: list[str], options: argparse.Namespace) -> "Photo | None":
    from marketplace.serving.question import Photo, parse_crop

    if not photos:
        if options.crop or options.turn:
            raise MarketplaceError("--crop and --turn need the path of a photo.")
        return None
    crop = parse_crop(options.crop) if options.crop else None
    return Photo(content=Path(photos[0]).read_bytes(), turn=options.turn, crop=crop)


def _complete_id(recommender: "Recommender", query: str) -> str:
    """Return the id that a query, or its beginning, means. Raises MarketplaceError if there is none, or several."""
    from marketplace.serving.answers import format_suggestions

    matches = recommender.ids.matching(query)
    if len(matches) == 1:
        return matches[0]
    if matches:
        examples = ", ".join(matches[:3])
        raise MarketplaceError(f"{len(matches)} products have an id that begins with {query!r}: {examples}, …")
    suggestions = format_suggestions(recommender.ids.suggest(query))
    raise MarketplaceError(f"{query!r} is neither a product's id nor a file.{suggestions}")


def _describe(recommender: "Recommender", options: argparse.Namespace, question: "Question") -> tuple[str, str]:
    """Return the heading of an answer, and a line of details about the only product in question."""
    from marketplace.recommendation.products import price_text

    products = [recommender.product(product_id) for product_id in question.like]
    names = [product.name for product in products]
    if question.photo is not None:
        names.insert(0, next(Path(text).name for text in options.examples if Path(text).is_file()))
    if question.words:
        names.append(f"“{question.words}”")
    details = ""
    if len(products) == 1:
        (product,) = products
        details = f"{price_text(product.price, product.currency)}, {product.category}, {product.location}"
    unlike = [recommender.product(product_id).name for product_id in question.unlike]
    heading = f"Similar to {' + '.join(names)}" + "".join(f" − {name}" for name in unlike)
    return heading, details


def _write_page(
    recommender: "Recommender", path: Path, heading: str, details: str, question: "Question", answer: "Answer"
) -> None:
    from marketplace.photos.codec import thumbnail
    from marketplace.reports.pages import CARD_PIXELS
    from marketplace.serving.similar_page import write_similar
    from marketplace.serving.uploads import read_square

    query_photo = None
    if question.photo is not None:
        query_photo = thumbnail(read_square(question.photo, CARD_PIXELS), CARD_PIXELS)
    elif question.like:
        product = recommender.product(question.like[0])
        query_photo = recommender.photos.jpeg(product.image_ids[0], CARD_PIXELS)
    products = [*answer.same, *answer.similar]
    photos = [recommender.photos.jpeg(similar.product.image_ids[0], CARD_PIXELS) for similar in products]
    write_similar(path, heading, details, query_photo, products, photos)
    log.info("Wrote %s.", path)
