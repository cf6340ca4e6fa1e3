"""The command `marketplace`: ask a finished pipeline for similar products, in the terminal or in a browser."""

import argparse
import difflib
import logging
import os
import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

from marketplace.errors import MarketplaceError
from marketplace.stage import plain_mistakes, start_logging

if TYPE_CHECKING:
    from marketplace.search import SimilarProduct


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 a mistake that stderr explains, 2 wrong usage."""
    options = _parser().parse_args()
    start_logging()
    try:
        with plain_mistakes():
            options.run(options)
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has seen enough, like `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="marketplace", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    similar = commands.add_parser("similar", help="list what is similar to a product or a photo")
    similar.add_argument("what", metavar="PRODUCT_ID|PHOTO", help="the id of a product, or the path of a picture")
    similar.add_argument("-k", type=_count, default=10, help="how many products (default: %(default)s)")
    similar.add_argument("--category", metavar="NAME", help="of this root category alone")
    similar.add_argument("--location", metavar="PLACE", help="from this place alone")
    similar.add_argument("--min-price", type=_pounds, metavar="POUNDS")
    similar.add_argument("--max-price", type=_pounds, metavar="POUNDS")
    similar.add_argument("--html", type=Path, metavar="OUT", help="write a page with the photos to OUT, too")
    similar.set_defaults(run=_similar)

    check = commands.add_parser("check", help="tell whether dvc.lock matches code, parameters and data; needs no data")
    check.set_defaults(run=_check)

    review = commands.add_parser("review", help="write what a change does, as Markdown for its pull request")
    review.add_argument("base", metavar="BASE", help="a commit, branch, tag or experiment to compare with")
    review.add_argument("head", metavar="HEAD", nargs="?", default="workspace", help="(default: the working tree)")
    review.set_defaults(run=_review)

    lineage = commands.add_parser("lineage", help="tell what a file, or a recommendation, came from")
    lineage.add_argument("what", metavar="FILE|PRODUCT_ID", help="a file that the pipeline wrote, or a product's id")
    lineage.add_argument("similar", metavar="SIMILAR_ID", nargs="?", help="one of its recommendations (default: first)")
    lineage.set_defaults(run=_lineage)

    noise = commands.add_parser("noise", help="measure how much the metrics move with the random seed alone")
    noise.add_argument("--seeds", type=_count, default=5, help="how many trainings (default: %(default)s)")
    noise.set_defaults(run=_noise)

    serve = commands.add_parser("serve", help="browse the catalogue and look for similar products in a browser")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine)")
    serve.add_argument("--port", type=int, default=8000, help="(default: %(default)s)")
    serve.set_defaults(run=_serve)
    return parser


def _similar(options: argparse.Namespace) -> None:
    from marketplace.answer import write_similar
    from marketplace.gallery import THUMBNAIL
    from marketplace.images import thumbnail
    from marketplace.search import Filters, Recommender

    path = Path(options.what)
    if not path.is_file() and (path.suffix or len(path.parts) > 1):
        raise MarketplaceError(f"there is no file {path}.")
    recommender = Recommender(Path.cwd())
    filters = Filters(
        category=_known("category", options.category, recommender.categories),
        location=_known("location", options.location, recommender.locations),
        min_price=options.min_price,
        max_price=options.max_price,
    )
    if path.is_file():
        content = path.read_bytes()
        found = recommender.similar_to_photo(content, options.k, filters)
        heading, details = f"Similar to {path.name}", ""
    else:
        found = recommender.similar_to_product(options.what, options.k, filters)
        asked = recommender.product(options.what)
        heading, details = f"Similar to {asked.name}", f"£{asked.price:,}, {asked.category}, {asked.location}"
    _print(heading, details, found)
    if options.html:
        if path.is_file():
            query = thumbnail(recommender.square(content), THUMBNAIL)
        else:
            query = recommender.photo(asked.image_ids[0], THUMBNAIL)
        photos = [recommender.photo(similar.product.image_ids[0], THUMBNAIL) for similar in found]
        write_similar(options.html, heading, details, query, list(zip(photos, found, strict=True)))
        logging.getLogger(__name__).info("%s shows them.", options.html)


def _print(heading: str, details: str, found: "list[SimilarProduct]") -> None:
    from rich.console import Console
    from rich.table import Table

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
        score = f"{similar.score:.3f}" + (" same photo" if similar.same_photo else "")
        category = product.category if roomy else product.category.rpartition(" / ")[2]
        cells = [str(similar.rank), score, f"£{product.price:,}", product.name, category, product.location]
        table.add_row(*cells, *([product.product_id] if roomy else []))
    console.print(f"{heading}\n{details}".strip() + "\n")
    console.print(table if found else "Nothing in the catalogue passes these filters.")


def _serve(options: argparse.Namespace) -> None:
    import uvicorn

    from marketplace.search import Recommender
    from marketplace.server import application

    recommender = Recommender(Path.cwd())
    log = logging.getLogger(__name__)
    log.info("Serving on http://%s:%d (its API: /openapi.json). Ctrl-C ends it.", options.host, options.port)
    uvicorn.run(application(recommender), host=options.host, port=options.port, log_level="warning")


def _root() -> Path:
    """The working directory. Raises MarketplaceError where it is not the root of a repository like this one."""
    if not Path("dvc.yaml").is_file():
        raise MarketplaceError(f"{Path.cwd()} has no dvc.yaml: run this in the repository's root.")
    return Path.cwd()


def _check(_: argparse.Namespace) -> None:
    from marketplace.review.lock import stale_stages

    stale = stale_stages(_root())
    if stale:
        reasons = "".join(f"\n  {reason}" for reason in stale)
        raise MarketplaceError(f"dvc.lock does not match; `dvc repro` brings it up to date:{reasons}")
    logging.getLogger(__name__).info("dvc.lock matches code, parameters and data.")


def _review(options: argparse.Namespace) -> None:
    from marketplace.review.comparison import review
    from marketplace.review.page import markdown

    found = review(_root(), options.base, options.head)
    sys.stdout.write(markdown(found))
    if found.blocking:
        sys.exit(1)


def _lineage(options: argparse.Namespace) -> None:
    from marketplace.review.lineage import lineage, recommendation
    from marketplace.review.revisions import RECOMMENDATIONS

    root, file = _root(), Path(options.what)
    lines: dict[str, object] = {}
    if not file.exists() and (file.suffix or len(file.parts) > 1):
        raise MarketplaceError(f"there is no file {file}.")
    if not file.exists():
        row = recommendation(root, options.what, options.similar)
        lines |= {
            "recommended": f"{row.similar_product_id} for {row.product_id}, rank {row.rank}, score {row.score:.4f}",
            "photos": [f"{image_id}  sha256 {sha256}" for image_id, sha256 in row.photos.items()],
        }
        file = root / RECOMMENDATIONS
    found = lineage(root, file)
    lines |= {
        "file": f"{found.path}  md5 {found.md5}",
        "commit": f"{found.revision.label}  {found.committed}",
        "first in": found.first,
        "stage": f"{found.stage}: {found.command}",
        "epoch": [f"{name} {value}" for name, value in found.epoch.items()],
        "metrics": [f"{name} {value}" for name, value in found.metrics.items()],
        "parameters": [f"{name} {value}" for name, value in found.params.items()],
        "data": [f"{path}  md5 {md5}" for path, md5 in found.data.items()],
        "code": f"{len(found.code)} files, from {found.code[0]} to {found.code[-1]}, as they are in that commit",
        "again": found.reproduce,
    }
    for name, said in lines.items():
        for place, line in enumerate(said if isinstance(said, list) else [said]):
            sys.stdout.write(f"{name if place == 0 else '':<12} {line}\n")


def _noise(options: argparse.Namespace) -> None:
    from marketplace.files import write_json
    from marketplace.review.noise import measure_noise

    if options.seeds < 2:
        raise MarketplaceError("a spread takes two seeds at least: --seeds 2 or more.")
    write_json(Path("metrics/noise.json"), measure_noise(_root(), options.seeds))


def _known(name: str, value: str | None, known: list[str]) -> str | None:
    """The known spelling of a filter's value, whatever its case. Raises MarketplaceError when there is none."""
    if value is None:
        return None
    spellings = {text.casefold(): text for text in known}
    if value.casefold() not in spellings:
        close = difflib.get_close_matches(value.casefold(), spellings, n=3) or list(spellings)[:20]
        raise MarketplaceError(
            f"no product has the {name} {value!r}; there are, for instance: "
            f"{'; '.join(spellings[text] for text in close)}."
        )
    return spellings[value.casefold()]


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 1000")
    return int(text)


def _pounds(text: str) -> Decimal:
    try:
        amount = Decimal(text.removeprefix("£").replace(",", ""))
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of pounds") from None
    if not amount.is_finite() or amount < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of pounds")
    return amount
