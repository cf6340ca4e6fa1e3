"""The commands about changes and origins: check, review, experiments, drift, report, lineage, noise and tune."""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from marketplace.common.console import count, printable, project_root
from marketplace.common.errors import MarketplaceError

log = logging.getLogger(__name__)


def add_commands(commands: Any) -> None:
    """Add these commands to the subparsers of `marketplace`."""
    check = commands.add_parser("check", help="check that dvc.lock and params.yaml are up to date; needs no data")
    check.set_defaults(run=_check)

    review = commands.add_parser("review", help="review a change, as Markdown for its pull request")
    review.add_argument("base", metavar="BASE", help="a commit, branch, tag or experiment to compare with")
    review.add_argument(
        "head",
        metavar="HEAD",
        nargs="?",
        default="workspace",
        help="the revision to review (default: the working tree)",
    )
    review.set_defaults(run=_review)

    experiments = commands.add_parser("experiments", help="compare experiments by the metrics that decide")
    experiments.add_argument("-n", type=count, default=3, help="number of newest commits (default: %(default)s)")
    experiments.set_defaults(run=_experiments)

    drift = commands.add_parser("drift", help="explain results that differ from the committed ones by rounding alone")
    drift.set_defaults(run=_drift)

    report = commands.add_parser("report", help="write reports/plots.html and reports/model_card.md")
    report.set_defaults(run=_report)

    lineage = commands.add_parser("lineage", help="show where a file or a recommendation came from")
    lineage.add_argument(
        "what", metavar="FILE|PRODUCT_ID", help="a file that the pipeline wrote, or the beginning of a product's id"
    )
    lineage.add_argument("similar", metavar="SIMILAR_ID", nargs="?", help="one of its recommendations (default: first)")
    lineage.add_argument("--all", action="store_true", help="show all parameters and code, not only what differs")
    lineage.set_defaults(run=_lineage)

    noise = commands.add_parser("noise", help="measure how much the metrics vary with the random seed")
    noise.add_argument("--seeds", type=count, default=5, help="number of training runs (default: %(default)s)")
    noise.set_defaults(run=_noise)

    tune = commands.add_parser("tune", help="choose the weights of a similarity by judgements of the validation split")
    tune.set_defaults(run=_tune)


def _check(_: argparse.Namespace) -> None:
    from marketplace.common.params import PARAMS, check_params
    from marketplace.review.lock import find_stale_stages

    root = project_root()
    check_params(root / PARAMS)
    stale_stages = find_stale_stages(root)
    if stale_stages:
        reasons = "".join(f"\n  {stale}" for stale in stale_stages)
        raise MarketplaceError(f"dvc.lock is not up to date; `dvc repro` updates it:{reasons}")
    log.info("dvc.lock is up to date with code, parameters and data.")


def _review(options: argparse.Namespace) -> None:
    from marketplace.review.comparison import review_change
    from marketplace.review.markdown import format_review

    review = review_change(project_root(), options.base, options.head)
    sys.stdout.write(printable(format_review(review)))
    if review.blockers:
        sys.exit(1)


def _experiments(options: argparse.Namespace) -> None:
    from marketplace.review.experiments import list_experiments, print_experiments
    from marketplace.review.revisions import WORKSPACE, Revision
    from marketplace.review.verdicts import read_policy

    root = project_root()
    policy = read_policy(Revision.of(root, WORKSPACE))
    print_experiments(list_experiments(root, options.n, policy), policy)


def _drift(_: argparse.Namespace) -> None:
    from marketplace.review.comparison import review_change
    from marketplace.review.markdown import explain_rounding

    explanation = explain_rounding(review_change(project_root(), "HEAD", "workspace"))
    if explanation:
        sys.stdout.write(printable(explanation) + "\n")


def _report(_: argparse.Namespace) -> None:
    from marketplace.review.model_card import write_model_card
    from marketplace.review.plots_page import write_plots_page

    root = project_root()
    plots = "reports/plots.html"
    write_plots_page(root, root / plots)
    log.info(plots)
    model_card = "reports/model_card.md"
    write_model_card(root, root / model_card)
    log.info(model_card)


def _lineage(options: argparse.Namespace) -> None:
    from marketplace.recommendation.fingerprints import RECOMMENDATIONS
    from marketplace.review.lineage import trace_file
    from marketplace.review.recommendations import find_recommendation

    root = project_root()
    file = Path(options.what)
    recommendation = find_recommendation(root, options.what, options.similar, beginning=not file.exists())
    lines: dict[str, list[str]] = {}
    if recommendation is not None:
        lines = recommendation.describe()
        file = root / RECOMMENDATIONS
    elif not file.exists():
        raise MarketplaceError(f"{options.what!r} is neither a product with recommendations nor a file.")
    lines |= trace_file(root, file).describe(everything=options.all)
    for heading, texts in lines.items():
        for place, text in enumerate(texts):
            line = " ".join(printable(text).splitlines())
            sys.stdout.write(f"{heading if place == 0 else '':<12} {line}\n")


def _noise(options: argparse.Namespace) -> None:
    from marketplace.common.files import write_json
    from marketplace.review.files import NOISE
    from marketplace.review.noise import measure_noise

    if options.seeds < 2:
        raise MarketplaceError("a spread needs at least two training runs: use --seeds 2 or more.")
    root = project_root()
    write_json(root / NOISE, measure_noise(root, options.seeds))


def _tune(_: argparse.Namespace) -> None:
    from marketplace.common.params import PARAMS, load_section
    from marketplace.recommendation.rules import RecommendSettings
    from marketplace.review.tuning import print_best_weights

    root = project_root()
    print_best_weights(root, load_section("recommend", RecommendSettings, root / PARAMS))
