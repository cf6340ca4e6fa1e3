"""The commands that answer questions: `similar` in the terminal, `serve` in a browser."""

import argparse
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marketplace.common.console import count, port, project_root
from marketplace.common.errors import MarketplaceError
from marketplace.recommendation.filters import Filters

if TYPE_CHECKING:
    from marketplace.serving.answers import SimilarProduct
    from marketplace.serving.recommender import Recommender

log = logging.getLogger(__name__)


def add_commands(commands: Any) -> None:
    """Add these commands to the subparsers of `marketplace`."""
    similar = commands.add_parser("similar", help="list what is similar to a product, a photo or some words")
    similar.add_argument(
        "what", metavar="PRODUCT_ID|PHOTO", nargs="?", help="a product's id or its beginning, or a photo's path"
    )
    similar.add_argument("--words", metavar="TEXT", help="instead: what to look for, such as 'oak coffee table'")
    similar.add_argument("-k", type=count, default=10, help="how many products (default: %(default)s)")
    Filters.add_arguments(similar)
    similar.add_argument("--json", action="store_true", help="print JSON, as the API answers")
    similar.add_argument("--html", type=Path, metavar="OUT", help="also write a page with the photos to OUT")
    similar.set_defaults(run=_similar)

    serve = commands.add_parser("serve", help="browse the catalogue and look for similar products in a browser")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine)")
    serve.add_argument("--port", type=port, default=8000, help="(default: %(default)s)")
    serve.add_argument("--compare", metavar="REVISION", help="also show what a commit or experiment recommended")
    serve.set_defaults(run=_serve)

    feedback = commands.add_parser("feedback", help="say how far recommendations agree with the thumbs of the page")
    feedback.add_argument("base", metavar="REVISION", nargs="?", help="also those of a commit, branch or experiment")
    feedback.set_defaults(run=_feedback)

    export = commands.add_parser("export", help="fill a vector database that `serve` then answers from")
    databases = export.add_subparsers(required=True, metavar="DATABASE")
    qdrant = databases.add_parser("qdrant", help="fill a Qdrant, then have its alias name the new vectors")
    qdrant.add_argument("url", metavar="URL", help="such as http://localhost:6333, or a folder for a trial without one")
    qdrant.set_defaults(run=_export)


def _similar(options: argparse.Namespace) -> None:
    from marketplace.serving.recommender import Recommender
    from marketplace.serving.terminal import print_json, print_table

    if (options.what is None) == (options.words is None):
        raise MarketplaceError("name a product, a photo, or --words TEXT: one of them.")
    recommender = Recommender(project_root())
    answer = _answer(recommender, options)
    if options.json:
        print_json(answer.found)
    else:
        print_table(answer.heading, answer.details, answer.found, recommender.ids.short)
    if options.html:
        _write_page(recommender, options.html, answer)


def _write_page(recommender: "Recommender", path: Path, answer: "_Answer") -> None:
    from marketplace.reports.pages import CARD_PIXELS
    from marketplace.serving.similar_page import write_similar

    photos = [recommender.photos.jpeg(similar.product.image_ids[0], CARD_PIXELS) for similar in answer.found]
    cards = list(zip(photos, answer.found, strict=True))
    write_similar(path, answer.heading, answer.details, answer.asked(CARD_PIXELS) if answer.asked else None, cards)
    log.info("%s shows them.", path)


@dataclass(frozen=True)
class _Answer:
    heading: str
    details: str
    found: "list[SimilarProduct]"
    asked: Callable[[int], bytes] | None = None  # makes a JPEG of the question's photo, so many pixels a side


def _answer(recommender: "Recommender", options: argparse.Namespace) -> _Answer:
    k, filters = options.k, recommender.filtered.match_case(Filters.from_arguments(options))
    if options.words is not None:
        found = recommender.similar_to_words(options.words, k, filters)
        return _Answer(f"Similar to “{options.words}”", "", found)
    if options.what not in recommender.ids and Path(options.what).is_file():
        return _about_photo(recommender, Path(options.what), k, filters)
    return _about_product(recommender, options.what, k, filters)


def _about_photo(recommender: "Recommender", path: Path, k: int, filters: Filters) -> _Answer:
    from marketplace.photos.codec import thumbnail

    content = path.read_bytes()
    found = recommender.similar_to_photo(content, k, filters)
    return _Answer(f"Similar to {path.name}", "", found, lambda size: thumbnail(recommender.square(content), size))


def _about_product(recommender: "Recommender", what: str, k: int, filters: Filters) -> _Answer:
    from marketplace.recommendation.products import price_text

    product_id = _completed(recommender, what)
    found = recommender.similar_to_product(product_id, k, filters)
    asked = recommender.product(product_id)
    details = f"{price_text(asked.price, asked.currency)}, {asked.category}, {asked.location}"
    return _Answer(
        f"Similar to {asked.name}", details, found, lambda size: recommender.photos.jpeg(asked.image_ids[0], size)
    )


def _completed(recommender: "Recommender", what: str) -> str:
    """A product's id, of which the beginning is enough. Raises MarketplaceError if it says too little, or nothing."""
    from marketplace.serving.answers import nearest_ids

    if what in recommender.ids:
        return what
    known = recommender.ids.beginning_with(what)
    if len(known) == 1:
        return known[0]
    if known:
        some = ", ".join(known[:3])
        raise MarketplaceError(f"{len(known)} products have an id that begins with {what!r}: {some}, …")
    raise MarketplaceError(
        f"{what!r} is neither a product's id nor a file.{nearest_ids(recommender.ids.nearest(what))}"
    )


def _serve(options: argparse.Namespace) -> None:
    from marketplace.serving.server import serve

    serve(project_root(), options.host, options.port, options.compare)


def _feedback(options: argparse.Namespace) -> None:
    from marketplace.review.markdown import format_table
    from marketplace.review.recommendations import recommendations_of
    from marketplace.review.revisions import WORKSPACE, Revision
    from marketplace.serving.feedback import FEEDBACK, Feedback, agreement

    root = project_root()
    thumbs = Feedback(root / FEEDBACK).thumbs()
    if not thumbs:
        raise MarketplaceError("nobody has given a thumb yet: `marketplace serve` has them below recommendations.")
    rows = []
    for name in filter(None, (options.base, WORKSPACE)):
        revision = Revision.of(root, name)
        similar = recommendations_of(revision)
        if similar is None:
            raise MarketplaceError(f"{name}'s recommendations are not here: `dvc fetch recommend` gets them there.")
        found = agreement(thumbs, similar)
        up, down = f"{found.good_kept} of {found.good}", f"{found.bad_gone} of {found.bad}"
        rows.append([revision.label, up, down, f"{found.share:.3f}"])
    columns = ["revision", "thumbs up recommended:", "thumbs down not recommended:", "agreement:"]
    sys.stdout.write(format_table(columns, rows) + "\n")


def _export(options: argparse.Namespace) -> None:
    from marketplace.recommendation.catalogue import read_catalogue
    from marketplace.recommendation.fingerprints import RECOMMENDATIONS, check_fingerprints, origin_of
    from marketplace.serving import qdrant

    root = project_root()
    origin = origin_of(root / RECOMMENDATIONS)
    check_fingerprints(root, origin.made_with)
    client = qdrant.connect(options.url)
    collection = qdrant.collection_of(origin.made_with)
    qdrant.export(client, options.url, read_catalogue(root), origin.words, collection)
    log.info("Set $%s to %s, and `marketplace serve` answers from there.", qdrant.URL, options.url)
