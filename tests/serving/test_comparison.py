"""Two revisions' recommendations side by side."""

import shutil

import pandas as pd
import pytest
from fastapi.testclient import TestClient
from helpers.project import Project
from helpers.servers import free_port
from hypothesis import given
from hypothesis import strategies as st

from marketplace.common.errors import MarketplaceError
from marketplace.serving.application import create_application
from marketplace.serving.comparison import RevisionComparison
from marketplace.serving.recommender import Recommender

Listed = st.lists(st.sampled_from("abcdefgh"), unique=True)


@given(before=Listed, now=Listed)
def test_every_place_is_accounted_for(before: list[str], now: list[str]) -> None:
    lists = RevisionComparison("main", {"x": before}, {"x": now}).compare("x", lambda _: None)
    assert [one.product_id for one in lists.before] == before
    assert [one.product_id for one in lists.now] == now
    assert {one.product_id for one in lists.before if one.fate == "gone"} == set(before) - set(now)
    assert {one.product_id for one in lists.now if one.fate == "new"} == set(now) - set(before)
    for place, one in enumerate(lists.now):
        if one.fate in ("stayed", "moved"):
            assert before[place + one.places_up] == one.product_id
            assert (one.fate == "stayed") == (one.places_up == 0)


def test_the_api_compares_with_a_commit(copy_of_reproduced: Project) -> None:
    project = copy_of_reproduced
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "before")
    table = pd.read_parquet(project.folder / "data/recommendations.parquet")
    k = int(table["rank"].max())
    project.set(**{"recommend.k": k - 2})
    project.dvc("repro")
    comparison = RevisionComparison.read(project.folder, "HEAD")
    product_id = table["product_id"].iloc[0]
    own = table.loc[table["product_id"] == product_id, "similar_product_id"].tolist()
    with TestClient(create_application(Recommender(project.folder), comparison=comparison)) as client:
        assert client.get("/api/catalogue").json()["compared"] == comparison.revision
        lists = client.get(f"/api/products/{product_id}/compared").json()
        assert [one["product_id"] for one in lists["before"]] == own
        assert [one["fate"] for one in lists["before"]] == ["stayed"] * (k - 2) + ["gone"] * 2
        assert lists["now"][0]["product"]["product_id"] == own[0]
    with TestClient(create_application(Recommender(project.folder))) as client:
        assert client.get(f"/api/products/{product_id}/compared").status_code == 404
    with pytest.raises(MarketplaceError, match="is not a commit, branch, tag or experiment here"):
        RevisionComparison.read(project.folder, "nowhere")
    clone = project.clone(project.folder.parent / "colleague")
    with pytest.raises(MarketplaceError, match="the recommendations of HEAD are not in DVC's cache"):
        RevisionComparison.read(clone.folder, "HEAD")


def test_a_revision_without_cached_results_is_the_only_error(copy_of_reproduced: Project) -> None:
    project = copy_of_reproduced
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "before")
    shutil.rmtree(project.folder / ".dvc/cache")
    output = project.marketplace("serve", "--port", str(free_port()), "--compare", "HEAD", code=1)
    assert "the recommendations of HEAD are not in DVC's cache" in output
    assert "Traceback" not in output
