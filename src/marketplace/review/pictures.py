"""Links to the pictures that a change affects, for a review on GitHub."""

import os
from urllib.parse import quote

from marketplace.recommendation.tracked_products import picture_name
from marketplace.review.comparison import Review
from marketplace.review.escaping import escape
from marketplace.review.files import TRACKED_PICTURES
from marketplace.review.revisions import Revision, git


def link_pictures(review: Review) -> str:
    """Return a line for each picture that differs, with links to both versions; empty outside of GitHub Actions."""
    if not _has_addresses(review):
        return ""
    changed_outputs = {output for change in review.stages for output in change.outputs}
    return "\n".join(
        f"- {escape(title)}: [before]({_address(review.base, path)}), [after]({_address(review.head, path)})"
        for path, title in review.head.plot_titles.items()
        if path in changed_outputs and path.endswith(".jpg")
    )


def link_recommendations(review: Review, product_id: str) -> str:
    """Return links to the pictures of a tracked product's recommendations, before and after; empty if there are none.

    A revision of before these pictures were kept has none.
    """
    if not _has_addresses(review):
        return ""
    path = f"{TRACKED_PICTURES}/{picture_name(product_id)}"
    return ", ".join(
        f"[{side}]({_address(revision, path)})"
        for side, revision in (("before", review.base), ("after", review.head))
        if git(revision.root, "cat-file", "-e", f"{revision.commit}:./{path}") is not None
    )


def _has_addresses(review: Review) -> bool:
    """Return whether both revisions have pages on GitHub: the environment names the repository.

    https://docs.github.com/en/actions/reference/workflows-and-actions/variables#default-environment-variables
    """
    return "GITHUB_REPOSITORY" in os.environ and None not in (review.base.commit, review.head.commit)


def _address(revision: Revision, path: str) -> str:
    server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
    # This project may lie in a folder of a larger repository.
    folder = (git(revision.root, "rev-parse", "--show-prefix") or "").removesuffix("\n")
    return f"{server}/{os.environ['GITHUB_REPOSITORY']}/blob/{revision.commit}/{quote(folder + path)}"
