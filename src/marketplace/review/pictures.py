"""Links to the pictures that a change affects, for a review on GitHub."""

import os
from urllib.parse import quote

from marketplace.review.comparison import Review
from marketplace.review.escaping import escape
from marketplace.review.revisions import Revision, git


def link_pictures(review: Review) -> str:
    """Return a line for each picture that differs, with links to both versions; empty outside of GitHub Actions.

    The environment names the repository:
    https://docs.github.com/en/actions/reference/workflows-and-actions/variables#default-environment-variables
    """
    if "GITHUB_REPOSITORY" not in os.environ or review.base.commit is None or review.head.commit is None:
        return ""
    changed_outputs = {output for change in review.stages for output in change.outputs}
    return "\n".join(
        f"- {escape(title)}: [before]({_address(review.base, path)}), [after]({_address(review.head, path)})"
        for path, title in review.head.plot_titles.items()
        if path in changed_outputs and path.endswith(".jpg")
    )


def _address(revision: Revision, path: str) -> str:
    server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
    # This project may lie in a folder of a larger repository.
    folder = (git(revision.root, "rev-parse", "--show-prefix") or "").removesuffix("\n")
    return f"{server}/{os.environ['GITHUB_REPOSITORY']}/blob/{revision.commit}/{quote(folder + path)}"
