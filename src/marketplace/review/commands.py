"""The commands about changes and origins: `check`, `review`, `lineage` and `noise`."""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from marketplace.common.console import count
from marketplace.common.errors import MarketplaceError

log = logging.getLogger(__name__)


def add_commands(commands: Any) -> None:
    """Add these commands to the subparsers of `marketplace`."""
    check = commands.add_parser("check", help="check that dvc.lock and params.yaml are up to date, without the data")
    check.set_defaults(run=_check)

    review = commands.add_parser("review", help="write what a change does, as Markdown for its pull request")
    review.add_argument("base", metavar="BASE", help="a commit, branch, tag or experiment to compare with")
    review.add_argument("head", metavar="HEAD", nargs="?", default="workspace", help="(default: the working tree)")
    review.set_defaults(run=_review)

    lineage = commands.add_parser("lineage", help="show where a file or a recommendation came from")
    lineage.add_argument("what", metavar="FILE|PRODUCT_ID", help="a file that the pipeline wrote, or a product's id")
    lineage.add_argument("similar", metavar="SIMILAR_ID", nargs="?", help="one of its recommendations (default: first)")
    lineage.set_defaults(run=_lineage)

    noise = commands.add_parser("noise", help="measure how much the metrics move with the random seed alone")
    noise.add_argument("--seeds", type=count, default=5, help="how many training runs (default: %(default)s)")
    noise.set_defaults(run=_noise)


def _root() -> Path:
    """The working directory. Raises MarketplaceError if it is not the root of a repository like this one."""
    if not Path("dvc.yaml").is_file():
        raise MarketplaceError(f"{Path.cwd()} has no dvc.yaml: run this in the repository's root.")
    return Path.cwd()


def _check(_: argparse.Namespace) -> None:
    from marketplace.common.params import checked_params
    from marketplace.review.lock import stale_stages

    root = _root()
    checked_params()
    stale = stale_stages(root)
    if stale:
        reasons = "".join(f"\n  {reason}" for reason in stale)
        raise MarketplaceError(f"dvc.lock is not up to date; `dvc repro` updates it:{reasons}")
    log.info("dvc.lock is up to date with code, parameters and data.")


def _review(options: argparse.Namespace) -> None:
    from marketplace.review.comparison import review
    from marketplace.review.markdown import markdown

    found = review(_root(), options.base, options.head)
    sys.stdout.write(markdown(found))
    if found.blocking:
        sys.exit(1)


def _lineage(options: argparse.Namespace) -> None:
    from marketplace.review.lineage import lineage, recommendation
    from marketplace.review.revisions import RECOMMENDATIONS

    root, file = _root(), Path(options.what)
    lines: dict[str, object] = {}
    row = recommendation(root, options.what, options.similar)
    if row is None and not file.exists():
        raise MarketplaceError(f"{options.what!r} is neither a product with recommendations nor a file.")
    if row is not None:
        lines |= {
            "recommended": f"{row.similar_product_id} for {row.product_id}, rank {row.rank}, score {row.score:.4f}",
            "photos": [f"{image_id}  sha256 {sha256}" for image_id, sha256 in row.photos.items()],
        }
        file = root / RECOMMENDATIONS
    for name, said in (lines | lineage(root, file).described()).items():
        for place, line in enumerate(said if isinstance(said, list) else [said]):
            sys.stdout.write(f"{name if place == 0 else '':<12} {line}\n")


def _noise(options: argparse.Namespace) -> None:
    from marketplace.common.files import write_json
    from marketplace.review.noise import measure_noise

    if options.seeds < 2:
        raise MarketplaceError("a spread takes at least two seeds: --seeds 2 or more.")
    write_json(Path("metrics/noise.json"), measure_noise(_root(), options.seeds))
