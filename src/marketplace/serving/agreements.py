"""How far recommendations agree with the thumbs and verdicts given on the page: `marketplace feedback`."""

import sys
from collections.abc import Mapping
from pathlib import Path

from marketplace.common.errors import MarketplaceError
from marketplace.review.recommendations import hash_of_recommendations, recommendations_of
from marketplace.review.revisions import WORKSPACE, Revision
from marketplace.review.terminal import print_columns, print_csv, print_json
from marketplace.serving.feedback import (
    FEEDBACK,
    NO_RATINGS,
    Agreement,
    Feedback,
    describe_verdicts,
    measure_agreement,
)


def measure_agreements(root: Path, base: str | None) -> dict[str, Agreement]:
    """Return the agreement of the working tree, and before it of the revision `base` if there is one, by label.

    Raises MarketplaceError if there are no thumbs, or if recommendations are not on this machine.
    """
    thumbs = Feedback(root / FEEDBACK).thumbs()
    if not thumbs:
        raise MarketplaceError(NO_RATINGS)
    agreements = {}
    for name in [base, WORKSPACE] if base else [WORKSPACE]:
        revision = Revision.of(root, name)
        recommended = recommendations_of(revision)
        if recommended is None:
            raise MarketplaceError(f"{name}'s recommendations are not here: `dvc fetch recommend` downloads them.")
        agreements[revision.label] = measure_agreement(thumbs, recommended)
    return agreements


def export_agreements(agreements: Mapping[str, Agreement], file_format: str) -> None:
    """Print a row for each revision as "json" or "csv"."""
    rows = [
        {
            "revision": label,
            "thumbs_up": agreement.thumbs_up,
            "thumbs_up_recommended": agreement.thumbs_up_listed,
            "thumbs_down": agreement.thumbs_down,
            "thumbs_down_not_recommended": agreement.thumbs_down_not_listed,
            "agreement": agreement.share,
        }
        for label, agreement in agreements.items()
    ]
    if file_format == "json":
        print_json(rows)
    else:
        print_csv(list(rows[0]), rows)


def print_ratings(root: Path, base: str | None) -> None:
    """Print the verdicts on lists in sentences, then how far the recommendations agree with the thumbs.

    Raises MarketplaceError if there are neither, or if recommendations are not on this machine.
    """
    ratings = Feedback(root / FEEDBACK)
    sentences = describe_verdicts(ratings.verdicts(), hash_of_recommendations(Revision.of(root, WORKSPACE)))
    for sentence in sentences:
        sys.stdout.write(f"{sentence}\n")
    if ratings.thumbs() or not sentences:
        _print_agreements(measure_agreements(root, base))


def _print_agreements(agreements: Mapping[str, Agreement]) -> None:
    values = agreements.values()
    rows = {
        "thumbs up recommended": [f"{row.thumbs_up_listed} of {row.thumbs_up}" for row in values],
        "thumbs down not recommended": [f"{row.thumbs_down_not_listed} of {row.thumbs_down}" for row in values],
        "agreement": [f"{row.share:.3f}" for row in values],
    }
    print_columns(list(agreements), rows)
