"""What a review on GitHub links to."""

import re

import pytest
from helpers.project import Project

from marketplace.review.comparison import review
from marketplace.review.markdown import markdown


def test_a_review_on_github_links_to_the_pictures_of_both_revisions(
    experimented: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = review(experimented.folder, "main", "rate")
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    assert "before" not in markdown(found)

    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.example")
    monkeypatch.setenv("GITHUB_REPOSITORY", "shop/similar")
    links = re.findall(r"\[(before|after)\]\(https://github\.example/shop/similar/blob/(\w+)/(\S+)\)", markdown(found))

    commits = {"before": found.base.commit, "after": found.head.commit}
    assert {path for _, _, path in links} == {"metrics/evaluate/similar.jpg", "metrics/evaluate/mistakes.jpg"}
    for name, commit, path in links:
        assert commit == commits[name]
        experimented.run("git", "cat-file", "-e", f"{commit}:{path}")
