"""The commands about changes and origins: `check`, `review`, `lineage` and `noise`."""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from marketplace.common.console import count, project_root
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

    experiments = commands.add_parser("experiments", help="list experiments: the deciding metrics, what differed")
    experiments.add_argument("-n", type=count, default=3, help="of so many commits (default: %(default)s)")
    experiments.set_defaults(run=_experiments)

    drift = commands.add_parser("drift", help="say how far the results here are from the committed ones, and why")
    drift.set_defaults(run=_drift)

    report = commands.add_parser("report", help="write reports/plots.html and reports/model_card.md")
    report.set_defaults(run=_report)

    lineage = commands.add_parser("lineage", help="show where a file or a recommendation came from")
    lineage.add_argument(
        "what", metavar="FILE|PRODUCT_ID", help="a file that the pipeline wrote, or a product's id or its beginning"
    )
    lineage.add_argument("similar", metavar="SIMILAR_ID", nargs="?", help="one of its recommendations (default: first)")
    lineage.set_defaults(run=_lineage)

    noise = commands.add_parser("noise", help="measure how much the metrics move with the random seed alone")
    noise.add_argument("--seeds", type=count, default=5, help="how many training runs (default: %(default)s)")
    noise.set_defaults(run=_noise)


def _check(_: argparse.Namespace) -> None:
    from marketplace.common.params import PARAMS, check_params
    from marketplace.review.lock import stale_stages

    root = project_root()
    check_params(root / PARAMS)
    stale = stale_stages(root)
    if stale:
        reasons = "".join(f"\n  {reason}" for reason in stale)
        raise MarketplaceError(f"dvc.lock is not up to date; `dvc repro` updates it:{reasons}")
    log.info("dvc.lock is up to date with code, parameters and data.")


def _review(options: argparse.Namespace) -> None:
    from marketplace.review.comparison import review
    from marketplace.review.markdown import markdown

    found = review(project_root(), options.base, options.head)
    sys.stdout.write(markdown(found))
    if found.blocking:
        sys.exit(1)


def _experiments(options: argparse.Namespace) -> None:
    from marketplace.review.experiments import experiments, print_experiments
    from marketplace.review.revisions import WORKSPACE, Revision
    from marketplace.review.verdicts import read_policy

    root = project_root()
    policy = read_policy(Revision.of(root, WORKSPACE))
    print_experiments(experiments(root, options.n, policy), policy)


def _drift(_: argparse.Namespace) -> None:
    from marketplace.review.comparison import review
    from marketplace.review.markdown import sentence

    said = sentence(review(project_root(), "HEAD", "workspace"))
    if said:
        sys.stdout.write(said + "\n")


def _report(_: argparse.Namespace) -> None:
    from marketplace.review.model_card import write_model_card
    from marketplace.review.plots_page import write_plots_page

    root = project_root()
    for write, name in ((write_plots_page, "reports/plots.html"), (write_model_card, "reports/model_card.md")):
        write(root, root / name)
        log.info("%s", name)


def _lineage(options: argparse.Namespace) -> None:
    from marketplace.recommendation.fingerprints import RECOMMENDATIONS
    from marketplace.review.lineage import lineage
    from marketplace.review.recommendations import find_recommendation

    root, file = project_root(), Path(options.what)
    lines: dict[str, object] = {}
    row = find_recommendation(root, options.what, options.similar, beginning=not file.exists())
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
    from marketplace.review.files import NOISE
    from marketplace.review.noise import measure_noise

    if options.seeds < 2:
        raise MarketplaceError("a spread takes at least two seeds: --seeds 2 or more.")
    root = project_root()
    write_json(root / NOISE, measure_noise(root, options.seeds))
