"""The commands that answer questions: `similar` in the terminal, `serve` in a browser."""

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marketplace.common.console import count, port
from marketplace.common.errors import MarketplaceError
from marketplace.recommendation.filters import Filters

if TYPE_CHECKING:
    from marketplace.serving.recommender import Recommender, SimilarProduct

log = logging.getLogger(__name__)
LOCAL = ("127.0.0.1", "localhost")
SHUTDOWN_SECONDS = 5


def add_commands(commands: Any) -> None:
    """Add these commands to the subparsers of `marketplace`."""
    similar = commands.add_parser("similar", help="list what is similar to a product, a photo or some words")
    similar.add_argument("what", metavar="PRODUCT_ID|PHOTO", nargs="?", help="a product's id, or the path of a photo")
    similar.add_argument("--words", metavar="TEXT", help="instead: what to look for, such as 'oak coffee table'")
    similar.add_argument("-k", type=count, default=10, help="how many products (default: %(default)s)")
    Filters.add_arguments(similar)
    similar.add_argument("--html", type=Path, metavar="OUT", help="also write a page with the photos to OUT")
    similar.set_defaults(run=_similar)

    serve = commands.add_parser("serve", help="browse the catalogue and look for similar products in a browser")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine)")
    serve.add_argument("--port", type=port, default=8000, help="(default: %(default)s)")
    serve.set_defaults(run=_serve)

    export = commands.add_parser("export", help="fill a vector database that `serve` then answers from")
    databases = export.add_subparsers(required=True, metavar="DATABASE")
    qdrant = databases.add_parser("qdrant", help="fill a Qdrant, then have its alias name the new vectors")
    qdrant.add_argument("url", metavar="URL", help="such as http://localhost:6333, or a folder for a trial without one")
    qdrant.set_defaults(run=_export)


def _similar(options: argparse.Namespace) -> None:
    from marketplace.reports.pages import THUMBNAIL
    from marketplace.serving.recommender import Recommender
    from marketplace.serving.similar_page import write_similar

    if (options.what is None) == (options.words is None):
        raise MarketplaceError("name a product, a photo, or --words TEXT: one of them.")
    recommender = Recommender(Path.cwd())
    answer = _answer(recommender, options)
    _print(answer.heading, answer.details, answer.found)
    if options.html:
        photos = [recommender.photo(similar.product.image_ids[0], THUMBNAIL) for similar in answer.found]
        cards = list(zip(photos, answer.found, strict=True))
        write_similar(options.html, answer.heading, answer.details, answer.asked, cards)
        log.info("%s shows them.", options.html)


@dataclass(frozen=True)
class _Answer:
    heading: str
    details: str
    found: "list[SimilarProduct]"
    asked: bytes | None  # the photo that was asked about, as a small JPEG


def _answer(recommender: "Recommender", options: argparse.Namespace) -> _Answer:
    from marketplace.photos.codec import thumbnail
    from marketplace.recommendation.products import price_text
    from marketplace.reports.pages import THUMBNAIL

    k, filters = options.k, recommender.filtered.spelled(Filters.from_arguments(options))
    if options.words is not None:
        return _Answer(
            f"Similar to “{options.words}”", "", recommender.similar_to_words(options.words, k, filters), None
        )
    known = recommender.knows(options.what)
    if not known and not Path(options.what).is_file():
        hint = recommender.nearest_ids(options.what)
        raise MarketplaceError(f"{options.what!r} is neither a product's id nor a file.{hint}")
    if not known:
        content = Path(options.what).read_bytes()
        found = recommender.similar_to_photo(content, k, filters)
        return _Answer(
            f"Similar to {Path(options.what).name}", "", found, thumbnail(recommender.square(content), THUMBNAIL)
        )
    found = recommender.similar_to_product(options.what, k, filters)
    asked = recommender.product(options.what)
    details = f"{price_text(asked.price, asked.currency)}, {asked.category}, {asked.location}"
    return _Answer(f"Similar to {asked.name}", details, found, recommender.photo(asked.image_ids[0], THUMBNAIL))


def _print(heading: str, details: str, found: "list[SimilarProduct]") -> None:
    from rich.console import Console
    from rich.table import Table

    from marketplace.recommendation.products import price_text

    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = 240  # a pipe has no width: nothing is cut there
    roomy = console.width >= 140
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "score", "price"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("name", "category", "location", *(["id"] if roomy else [])):
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    for similar in found:
        product = similar.product
        shared = " same photo" if similar.same_photo else " same title" if similar.same_text else ""
        score = f"{similar.score:.3f}{shared}"
        category = product.category if roomy else product.category.rpartition(" / ")[2]
        cells = [
            str(similar.rank),
            score,
            price_text(product.price, product.currency),
            product.name,
            category,
            product.location,
        ]
        table.add_row(*cells, *([product.product_id] if roomy else []))
    console.print(f"{heading}\n{details}".strip() + "\n")
    console.print(table if found else "Nothing in the catalogue passes these filters.")


def _serve(options: argparse.Namespace) -> None:
    import uvicorn

    from marketplace.common.memory import return_freed_memory
    from marketplace.serving.api import application
    from marketplace.serving.connections import BACKLOG, BoundedConnection, most_connections
    from marketplace.serving.recommender import Recommender

    return_freed_memory()
    recommender = Recommender(Path.cwd())
    recommender.load_models()
    BoundedConnection.most_connections = most_connections()
    log.info("Serving on http://%s:%d (its API: /openapi.json). Ctrl-C ends it.", options.host, options.port)
    local = options.host in LOCAL
    if not local:
        log.warning("Anybody who can reach %s may ask: there is no login.", options.host)
    uvicorn.run(
        application(recommender, LOCAL if local else ["*"]),
        host=options.host,
        port=options.port,
        log_level="info",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        backlog=BACKLOG,
        http=BoundedConnection,
    )


def _export(options: argparse.Namespace) -> None:
    from marketplace.recommendation import qdrant
    from marketplace.recommendation.catalogue import read_catalogue
    from marketplace.recommendation.fingerprints import RECOMMENDATIONS, check_fingerprints
    from marketplace.recommendation.table import origin_of

    root = Path.cwd()
    words, files = origin_of(root / RECOMMENDATIONS)
    check_fingerprints(root, files)
    client = qdrant.connect(options.url)
    qdrant.export(client, options.url, read_catalogue(root), words, qdrant.collection_of(files))
    log.info("Set $%s to %s, and `marketplace serve` answers from there.", qdrant.URL, options.url)
