"""The links to pictures in a review on GitHub."""

import re

import pytest
from helpers.project import Project

from marketplace.review.comparison import review_change
from marketplace.review.markdown import format_review


def test_a_review_on_github_links_to_the_pictures_of_both_revisions(
    experimented: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    review = review_change(experimented.folder, "main", "rate")
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    assert "before" not in format_review(review)

    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.example")
    monkeypatch.setenv("GITHUB_REPOSITORY", "shop/similar")
    link = r"\[(before|after)\]\(https://github\.example/shop/similar/blob/(\w+)/(\S+)\)"
    links = re.findall(link, format_review(review))

    commits = {"before": review.base.commit, "after": review.head.commit}
    assert {path for _, _, path in links} == {"metrics/evaluate/similar.jpg", "metrics/evaluate/mistakes.jpg"}
    for side, commit, path in links:
        assert commit == commits[side]
        experimented.run("git", "cat-file", "-e", f"{commit}:{path}")
