"""The links to pictures in a review on GitHub."""

import re
from pathlib import Path

import pytest
from helpers.project import Project
from helpers.repositories import commit_all, git

from marketplace.recommendation.tracked_products import picture_name
from marketplace.review.changes import Overlap, ProductOverlap
from marketplace.review.comparison import Review, review_change
from marketplace.review.files import TRACKED_PICTURES
from marketplace.review.markdown import format_review
from marketplace.review.revisions import Revision


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
    assert review.tracked_overlap is not None
    moved = {f"{TRACKED_PICTURES}/{picture_name(product.product_id)}" for product in review.tracked_overlap.least}
    assert moved
    assert {path for _, _, path in links} == {"metrics/evaluate/similar.jpg", "metrics/evaluate/mistakes.jpg"} | moved
    for side, commit, path in links:
        assert commit == commits[side]
        experimented.run("git", "cat-file", "-e", f"{commit}:{path}")


def test_products_that_moved_link_to_the_pictures_that_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base is older than these pictures, and only one product has any."""
    git(tmp_path, "init", "-q", "-b", "main")
    base = commit_all(tmp_path)
    (tmp_path / TRACKED_PICTURES).mkdir(parents=True)
    (tmp_path / TRACKED_PICTURES / picture_name("a/b")).write_bytes(b"a picture")
    head = commit_all(tmp_path)
    least = [ProductOverlap(product_id=own, name=f"Hat {own}", category="Hats", share=0.5) for own in ("a/b", "c")]
    overlap = Overlap(products=2, share=0.5, unchanged=0, least=least)
    review = Review(Revision.of(tmp_path, base), Revision.of(tmp_path, head), tracked_overlap=overlap)
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    assert "photos" not in format_review(review)
    monkeypatch.setenv("GITHUB_REPOSITORY", "shop/similar")
    page = format_review(review)
    address = f"https://github.com/shop/similar/blob/{head}/{TRACKED_PICTURES}/{picture_name('a/b')}"
    assert f"| Hat a/b | Hats | `a/b` | 50% | [after]({address}) |" in page
    assert "| Hat c | Hats | `c` | 50% |  |" in page
