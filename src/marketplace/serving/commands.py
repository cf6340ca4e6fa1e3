"""The commands that answer questions: `similar` in the terminal, `serve` in a browser, and what belongs to them."""

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
from marketplace.serving.hosts import host_name

if TYPE_CHECKING:
    from marketplace.recommendation.similarity import Weights
    from marketplace.serving.answers import SimilarProduct
    from marketplace.serving.recommender import Recommender

log = logging.getLogger(__name__)


def add_commands(commands: Any) -> None:
    """Add these commands to the subparsers of `marketplace`."""
    similar = commands.add_parser("similar", help="find products similar to a product, a photo or words")
    similar.add_argument(
        "query", metavar="PRODUCT_ID|PHOTO", nargs="?", help="a product's id, or its beginning, or the path of a photo"
    )
    similar.add_argument("--words", metavar="TEXT", help="search by words instead, such as 'oak coffee table'")
    similar.add_argument(
        "--weights", metavar="PART=NUMBER,…", help="weights for kind, text, title and path, such as kind=1,text=0.5"
    )
    similar.add_argument("-k", type=count, default=10, help="number of products (default: %(default)s)")
    Filters.add_arguments(similar)
    similar.add_argument("--json", action="store_true", help="print JSON, like the API")
    similar.add_argument("--html", type=Path, metavar="OUT", help="also write a page with photos to OUT")
    similar.set_defaults(run=_similar)

    serve = commands.add_parser("serve", help="browse the catalogue and find similar products in a browser")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine)")
    serve.add_argument("--port", type=port, default=8000, help="(default: %(default)s)")
    serve.add_argument(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        type=host_name,
        help="also answer to this name, such as shop.example (for several names, repeat it)",
    )
    serve.add_argument("--compare", metavar="REVISION", help="also show the recommendations of a commit or experiment")
    serve.set_defaults(run=_serve)

    feedback = commands.add_parser("feedback", help="compare recommendations with users' ratings")
    comparison = feedback.add_mutually_exclusive_group()
    comparison.add_argument(
        "base", metavar="REVISION", nargs="?", help="also compare the recommendations of a commit, branch or experiment"
    )
    comparison.add_argument("--export", action="store_true", help="add the ratings to data/judgements.csv instead")
    feedback.set_defaults(run=_feedback)

    export = commands.add_parser("export", help="upload the vectors to a database that `serve` can use")
    databases = export.add_subparsers(required=True, metavar="DATABASE")
    qdrant = databases.add_parser("qdrant", help="upload the vectors to Qdrant, then switch its alias to them")
    qdrant.add_argument("url", metavar="URL", help="such as http://localhost:6333, or a folder to try it without one")
    qdrant.set_defaults(run=_export)


@dataclass(frozen=True)
class _Answer:
    """The answer of `similar`."""

    heading: str
    products: "list[SimilarProduct]"
    details: str = ""
    query_photo: Callable[[int], bytes] | None = None  # returns the question's photo as a JPEG, by pixels of a side


def _similar(options: argparse.Namespace) -> None:
    from marketplace.serving.recommender import Recommender
    from marketplace.serving.terminal import print_json, print_table

    if (options.query is None) == (options.words is None):
        raise MarketplaceError("name either a product, a photo, or --words TEXT.")
    recommender = Recommender(project_root())
    answer = _answer(recommender, options)
    if options.json:
        print_json(answer.products)
    else:
        print_table(answer.heading, answer.details, answer.products, recommender.ids.shorten)
    if options.html:
        _write_page(recommender, options.html, answer)


def _answer(recommender: "Recommender", options: argparse.Namespace) -> _Answer:
    filters = recommender.table.match_case(Filters.from_arguments(options))
    if options.words is not None:
        weights = _parse_weights(options, recommender.settings.weights.words)
        products = recommender.similar_to_words(options.words, options.k, filters, weights)
        return _Answer(heading=f"Similar to “{options.words}”", products=products)
    if options.query not in recommender.ids and Path(options.query).is_file():
        return _answer_about_photo(recommender, options, filters)
    return _answer_about_product(recommender, options, filters)


def _parse_weights(options: argparse.Namespace, default: "Weights") -> "Weights | None":
    from marketplace.recommendation.similarity import parse_weights

    return None if options.weights is None else parse_weights(options.weights, default)


def _answer_about_photo(recommender: "Recommender", options: argparse.Namespace, filters: Filters) -> _Answer:
    from marketplace.photos.codec import thumbnail

    path = Path(options.query)
    content = path.read_bytes()
    weights = _parse_weights(options, recommender.settings.weights.photo)
    return _Answer(
        heading=f"Similar to {path.name}",
        products=recommender.similar_to_photo(content, options.k, filters, weights),
        query_photo=lambda size: thumbnail(recommender.square(content), size),
    )


def _answer_about_product(recommender: "Recommender", options: argparse.Namespace, filters: Filters) -> _Answer:
    from marketplace.recommendation.products import price_text

    product_id = _complete_id(recommender, options.query)
    product = recommender.product(product_id)
    weights = _parse_weights(options, recommender.settings.weights.product)
    return _Answer(
        heading=f"Similar to {product.name}",
        details=f"{price_text(product.price, product.currency)}, {product.category}, {product.location}",
        products=recommender.similar_to_product(product_id, options.k, filters, weights),
        query_photo=lambda size: recommender.photos.jpeg(product.image_ids[0], size),
    )


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


def _write_page(recommender: "Recommender", path: Path, answer: _Answer) -> None:
    from marketplace.reports.pages import CARD_PIXELS
    from marketplace.serving.similar_page import write_similar

    photos = [recommender.photos.jpeg(similar.product.image_ids[0], CARD_PIXELS) for similar in answer.products]
    query_photo = answer.query_photo(CARD_PIXELS) if answer.query_photo else None
    write_similar(path, answer.heading, answer.details, query_photo, answer.products, photos)
    log.info("Wrote %s.", path)


def _serve(options: argparse.Namespace) -> None:
    from marketplace.serving.server import serve

    serve(project_root(), options.host, options.port, options.compare, options.allow_host)


def _feedback(options: argparse.Namespace) -> None:
    from marketplace.review.escaping import escape
    from marketplace.review.markdown import format_table
    from marketplace.review.recommendations import recommendations_of
    from marketplace.review.revisions import WORKSPACE, Revision
    from marketplace.serving.feedback import FEEDBACK, NO_RATINGS, Feedback, export_grades, measure_agreement

    root = project_root()
    if options.export:
        log.info(export_grades(root))
        return
    thumbs = Feedback(root / FEEDBACK).thumbs()
    if not thumbs:
        raise MarketplaceError(NO_RATINGS)
    rows = []
    for name in [options.base, WORKSPACE] if options.base else [WORKSPACE]:
        revision = Revision.of(root, name)
        recommended = recommendations_of(revision)
        if recommended is None:
            raise MarketplaceError(f"{name}'s recommendations are not here: `dvc fetch recommend` downloads them.")
        agreement = measure_agreement(thumbs, recommended)
        row = [
            escape(revision.label),
            f"{agreement.thumbs_up_listed} of {agreement.thumbs_up}",
            f"{agreement.thumbs_down_not_listed} of {agreement.thumbs_down}",
            f"{agreement.share:.3f}",
        ]
        rows.append(row)
    columns = ["revision", "thumbs up recommended:", "thumbs down not recommended:", "agreement:"]
    sys.stdout.write(format_table(columns, rows) + "\n")


def _export(options: argparse.Namespace) -> None:
    from marketplace.recommendation.catalogue import read_catalogue
    from marketplace.recommendation.fingerprints import (
        IMAGE_MODEL,
        RECOMMENDATIONS,
        TABLES,
        TEXT_MODEL,
        check_fingerprints,
    )
    from marketplace.recommendation.origin import origin_of
    from marketplace.serving.qdrant import URL_VARIABLE, collection_name, connect
    from marketplace.serving.qdrant_export import export

    root = project_root()
    origin = origin_of(root / RECOMMENDATIONS)
    check_fingerprints(root, origin.made_with, [*TABLES, IMAGE_MODEL, TEXT_MODEL])
    client = connect(options.url)
    export(client, options.url, read_catalogue(root), collection_name(origin.made_with))
    log.info("With %s=%s, `marketplace serve` uses it.", URL_VARIABLE, options.url)
