"""The commands about changes and origins: check, review, experiments, drift, report, lineage, noise and tune."""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from marketplace.common.console import count, printable, project_root
from marketplace.common.errors import MarketplaceError
from marketplace.review.terminal import add_format_options, print_markdown

log = logging.getLogger(__name__)


def add_commands(commands: Any) -> None:
    """Add these commands to the subparsers of `marketplace`."""
    check = commands.add_parser(
        "check",
        help="check that dvc.lock and params.yaml are up to date",
        description="Check that dvc.lock fits the code, the parameters and the data, and that params.yaml is valid. "
        "Needs no data: a fresh clone is enough.",
    )
    check.set_defaults(run=_check)

    review = commands.add_parser(
        "review",
        help="judge a change: better, worse or noise, and why",
        description="Compare two revisions: which metrics are better, worse or within noise, and what caused it. In a "
        "pipe or a file, the review is Markdown for a pull request: marketplace review main > review.md. Exits with "
        "status 1 if something blocks the merge.",
    )
    review.add_argument("base", metavar="BASE", help="a commit, branch, tag or experiment to compare with, as main")
    review.add_argument(
        "head",
        metavar="HEAD",
        nargs="?",
        default="workspace",
        help="the revision to review (default: the working tree)",
    )
    review.set_defaults(run=_review)

    experiments = commands.add_parser(
        "experiments",
        help="compare experiments by the metrics that decide",
        description="Compare the working tree, the newest commits and the experiments that started from them, each in "
        "a column: the metrics of policy.yaml, the best value in bold, and the parameters that differ.",
    )
    experiments.add_argument("-n", metavar="N", type=count, default=3, help="newest commits (default: %(default)s)")
    add_format_options(experiments)
    experiments.set_defaults(run=_experiments)

    drift = commands.add_parser(
        "drift",
        help="explain results that differ from the committed ones by rounding alone",
        description="Tell whether this machine's results differ from the committed ones only because its processor "
        "rounds differently, and by how much. Prints nothing if that is not so.",
    )
    add_format_options(drift)
    drift.set_defaults(run=_drift)

    report = commands.add_parser(
        "report",
        help="write a page about quality, a page with all plots, and the model card",
        description="Write reports/quality.html, how good the recommendations are, with examples and the trend over "
        "the commits; reports/plots.html, all plots on one page; and reports/model_card.md, the purpose, data, metrics "
        "and limits of the models. The pages need no network.",
    )
    report.set_defaults(run=_report)

    lineage = commands.add_parser(
        "lineage",
        help="show where a file or a recommendation came from",
        description="Show the commit, the data and the parameters that a file was made with, and the command that "
        "makes it again. A copy is recognised by its content, wherever it is. For a product, also show the photos "
        "behind a recommendation.",
    )
    lineage.add_argument(
        "what", metavar="FILE|PRODUCT_ID", help="a file that the pipeline wrote, or the beginning of a product's id"
    )
    lineage.add_argument("similar", metavar="SIMILAR_ID", nargs="?", help="one of its recommendations (default: first)")
    lineage.add_argument("--all", action="store_true", help="show all parameters and code, not only what differs")
    lineage.set_defaults(run=_lineage)

    noise = commands.add_parser(
        "noise",
        help="measure how much the metrics vary with the random seed",
        description="Train several times, each time with another random seed, and write to metrics/noise.json how far "
        "the metrics vary by chance. A review calls smaller changes noise.",
    )
    noise.add_argument("--seeds", metavar="N", type=count, default=5, help="training runs (default: %(default)s)")
    noise.set_defaults(run=_noise)

    tune = commands.add_parser(
        "tune",
        help="choose the weights of a similarity by judgements",
        description="Choose the weights of photos, texts, titles and category paths that rank the judged candidates "
        "best, by the judgements of the validation split, and print the command that tries them.",
    )
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
    print_markdown(format_review(review, folded=not sys.stdout.isatty()))
    if review.blockers:
        sys.exit(1)


def _experiments(options: argparse.Namespace) -> None:
    from marketplace.review.experiments import export_experiments, list_experiments, print_experiments
    from marketplace.review.revisions import WORKSPACE, Revision
    from marketplace.review.verdicts import read_policy

    root = project_root()
    policy = read_policy(Revision.of(root, WORKSPACE))
    experiments = list_experiments(root, options.n, policy)
    if options.format:
        export_experiments(experiments, options.format)
    else:
        print_experiments(experiments, policy)


def _drift(options: argparse.Namespace) -> None:
    from marketplace.review.comparison import review_change
    from marketplace.review.drift import export_drift, print_drift

    review = review_change(project_root(), "HEAD", "workspace")
    if options.format:
        export_drift(review, options.format)
    else:
        print_drift(review)


def _report(_: argparse.Namespace) -> None:
    from marketplace.review.model_card import write_model_card
    from marketplace.review.plots_page import write_plots_page
    from marketplace.review.quality_page import write_quality_page

    root = project_root()
    plots = "reports/plots.html"
    write_plots_page(root, root / plots)
    log.info(plots)
    quality = "reports/quality.html"
    write_quality_page(root, root / quality)
    log.info(quality)
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
