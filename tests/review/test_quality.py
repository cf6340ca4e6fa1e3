"""The page about quality: its figures, its trend, and the page itself in a browser."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.repositories import commit_all, git
from helpers.shop import recommend, shop
from playwright.sync_api import Browser, expect

from marketplace.common.errors import MarketplaceError
from marketplace.recommendation.products import products_of
from marketplace.relevance.uncertainty import bootstrap_interval
from marketplace.review.judged import JudgedQuestion
from marketplace.review.quality import Figure, Table, choose_examples, summarise_categories
from marketplace.review.quality_page import write_quality_page
from marketplace.review.revisions import WORKSPACE, Revision
from marketplace.review.trend import read_trend

SUMMARY = {"good_at_6": 0.4, "three_close": 0.7, "coverage": 0.9985}


def write_metrics(root: Path, summary: object, questions: object = None, test_photos: str = "a") -> None:
    """Write the files of metrics that the page reads."""
    files = {
        "summary": summary,
        "judged": {"questions": questions or {}},
        "clean": {"test_photos_sha256": test_photos},
        "evaluate/per_category": [{"category": "Hats", "recall": 0.25}],
    }
    for name, content in files.items():
        path = root / f"metrics/{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))


def judged(values: dict[str, float], split: str = "test") -> dict[str, Any]:
    return {own: {"split": split, "good_at_6": value, "ndcg_at_8": value} for own, value in values.items()}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A repository with the results of a small shop, committed twice, on other test photos the second time."""
    root = tmp_path / "shop"
    table, vectors = shop(n_products=36)
    products = products_of(table)
    recommended = recommend(products, vectors)
    recommended["close"] = recommended["rank"] <= (recommended["product_id"].str[1:].astype(int) % 6)
    recommended["probability"] = recommended["score"].clip(0, 1)
    for name in ("data/clean", "data/resized/full"):
        (root / name).mkdir(parents=True)
    table.to_parquet(root / "data/clean/training_data.parquet")
    recommended.to_parquet(root / "data/recommendations.parquet")
    np.save(root / "data/resized/full/000.npy", np.zeros((len(table), 8, 8, 3), np.uint8))
    in_test = products.table["product_id"][products.table["split"] == "test"]
    first = recommended[recommended["product_id"] == in_test.iloc[0]].iloc[0]
    (root / "data/judgements.csv").write_text(
        f"product_id,similar_product_id,grade\n{first['product_id']},{first['similar_product_id']},2\n"
    )
    git(root, "init", "-q", "-b", "main")
    (root / ".gitignore").write_text("/data/\n/reports/\n")
    write_metrics(root, SUMMARY | {"good_at_6": 0.3}, {"product": judged(dict.fromkeys("abcdefghijkl", 0.3))})
    commit_all(root, "The first results")
    shares = np.linspace(0, 1, len(in_test)).tolist()
    write_metrics(root, SUMMARY, {"product": judged(dict(zip(in_test, shares, strict=True)))}, test_photos="b")
    commit_all(root, "Better <results>")
    return root


def test_a_figure_has_an_interval_only_of_enough_questions() -> None:
    values = [0.0, 0.5, 1.0, None, 0.5, 0.5, 1.0, 0.0, 0.5, 1.0, 0.5]
    present = np.array([value for value in values if value is not None])
    figure = Figure.of(values)
    assert (figure.questions, figure.mean) == (10, present.mean())
    assert (figure.low, figure.high) == bootstrap_interval(present)
    assert Figure.of(values[:3]) == Figure(questions=3, mean=0.5, low=None, high=None)
    assert np.isnan(Figure.of([]).mean)


def test_categories_are_counted_and_judged(results: Path) -> None:
    table = Table.read(results)
    assert table is not None
    facts = table.products.table.set_index("product_id")["category"]
    of_test = {
        "p02": JudgedQuestion(split="test", good_at_6=1.0, ndcg_at_8=None),
        "p05": JudgedQuestion(split="test", good_at_6=0.5, ndcg_at_8=1.0),
        "p08": JudgedQuestion(split="val", good_at_6=0.0, ndcg_at_8=1.0),
        "gone": JudgedQuestion(split="test", good_at_6=0.0, ndcg_at_8=1.0),
    }
    rows = {row.category: row for row in summarise_categories(Revision.of(results, WORKSPACE), table, of_test)}
    assert {name: row.products for name, row in rows.items()} == facts.value_counts().to_dict()
    for name, row in rows.items():
        numbers = facts.index[facts == name].str[1:].astype(int)
        assert row.three_close == pytest.approx(np.mean(numbers % 6 >= 3))
        assert row.accuracy == (0.25 if name == "Hats" else None)
    assert rows[facts["p02"]].judged == Figure(questions=2, mean=0.75, low=None, high=None)


def test_examples_are_the_best_and_the_worst_judged_or_else_by_probability(results: Path) -> None:
    table = Table.read(results)
    assert table is not None
    names = table.products.table.set_index("product_id")["product_name"]
    values = {f"p{number:02}": 1 - number / 36 for number in range(2, 36, 3)}
    questions = {own: JudgedQuestion(split="test", good_at_6=value, ndcg_at_8=None) for own, value in values.items()}
    examples = choose_examples(results, table, questions)
    assert examples is not None
    assert "people judged best" in examples.choice
    assert [case.query.name for case in examples.good] == names[["p02", "p05", "p08"]].tolist()
    assert [case.query.name for case in examples.bad] == names[["p35", "p32", "p29"]].tolist()

    table.recommended["close"] = table.recommended["product_id"].isin(["p02", "p17"])
    unjudged = choose_examples(results, table, {})
    assert unjudged is not None
    assert {case.query.name for case in unjudged.good} == set(names[["p02", "p17"]])
    assert [case.probability for case in unjudged.bad] == sorted(case.probability or 0 for case in unjudged.bad)


def test_the_trend_has_the_commits_that_changed_the_metrics(results: Path) -> None:
    (results / "other.txt").write_text("")
    commit_all(results, "No results")
    write_metrics(results, SUMMARY | {"good_at_6": float("nan"), "coverage": "high"}, questions={"product": []})
    commit_all(results, "Odd results")
    (results / "metrics/summary.json").write_text("<<<<<<< HEAD")
    commit_all(results, "No JSON")
    write_metrics(results, SUMMARY)
    trend = read_trend(results, 20)
    assert [entry.subject for entry in trend] == [
        "The first results",
        "Better <results>",
        "Odd results",
        "not committed",
    ]
    assert [entry.metrics.get("good_at_6") for entry in trend] == [0.3, 0.4, None, 0.4]
    assert [set(entry.intervals) for entry in trend] == [{"good_at_6", "ndcg_at_8"}] * 2 + [set()] * 2
    assert [entry.test_photos for entry in trend] == ["a", "b", "a", "a"]
    commit_all(results, "Now")
    assert [entry.subject for entry in read_trend(results, 2)] == ["Now"]  # of the last two, one is no JSON


def test_a_folder_without_history_has_the_results_of_the_working_tree(tmp_path: Path) -> None:
    write_metrics(tmp_path, SUMMARY)
    assert [entry.name for entry in read_trend(tmp_path, 20)] == ["workspace"]


def test_the_page_fits_a_phone_and_needs_nothing_else(results: Path, browser: Browser) -> None:
    write_quality_page(results, results / "reports/quality.html")
    page = browser.new_page(viewport={"width": 390, "height": 844})
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto((results / "reports/quality.html").as_uri())
    assert [address for address in requested if not address.startswith("data:")] == [page.url]
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    headlines = page.locator(".headlines div")
    expect(headlines.nth(0)).to_have_text("of products have three close recommendations70 %")
    expect(headlines.nth(1)).to_contain_text("40 % 95 % interval: ")
    expect(headlines.nth(2)).to_contain_text("99.9 %")  # not all
    judged_row = page.locator("h2:has-text('people judged') + .scroll tr").nth(1)
    expect(judged_row).to_contain_text("a product")
    expect(judged_row.locator("svg")).to_have_count(2)
    expect(page.locator(".case")).to_have_count(6)
    expect(page.locator("figure .grade")).not_to_have_count(0)
    expect(page.get_by_text("Lines end where the test photos changed")).to_be_visible()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.locator(".charts svg:visible").count() == len(SUMMARY)
    page.locator("summary").click()
    expect(page.get_by_role("cell", name="Better <results>")).to_be_visible()
    page.close()


def test_without_data_the_page_says_what_is_missing(results: Path) -> None:
    shutil.rmtree(results / "data")
    write_quality_page(results, results / "reports/quality.html")
    page = (results / "reports/quality.html").read_text(encoding="utf-8")
    assert "The table of recommendations is not here: <code>dvc pull</code>" in page
    assert "The photos are not here: <code>dvc pull</code>" in page
    (results / "metrics/summary.json").unlink()
    with pytest.raises(MarketplaceError, match=r"metrics/summary\.json is missing or empty: run `dvc repro` first"):
        write_quality_page(results, results / "reports/quality.html")
