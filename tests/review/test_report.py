"""The plots page and the model card of a finished pipeline."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from helpers.project import Project
from helpers.repositories import small_pipeline
from playwright.sync_api import Browser

from marketplace.common.errors import MarketplaceError
from marketplace.review.plots_page import write_plots_page


def declared_titles(project: Project) -> set[str]:
    """Return the titles of the stages' plots in dvc.yaml."""
    pipeline = yaml.safe_load((project.folder / "dvc.yaml").read_text())
    plots = [plot for stage in pipeline["stages"].values() for plot in stage.get("plots", [])]
    return {options["title"] for plot in plots for options in plot.values() if "title" in options}


def test_the_plots_page_contains_every_plot(reproduced: Project, browser: Browser) -> None:
    output = reproduced.marketplace("report")
    assert "reports/plots.html" in output
    assert "reports/quality.html" in output
    page = browser.new_page()
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    page.goto((reproduced.folder / "reports/plots.html").as_uri())
    assert [address for address in addresses if not address.startswith("data:")] == [page.url]
    assert set(page.locator("h2").all_inner_texts()) == declared_titles(reproduced)
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    categories = pd.read_parquet(reproduced.folder / "data/clean/training_data.parquet")["category"].unique()
    texts = page.locator(".light svg").all_text_contents()
    assert all(any(category in text for text in texts) for category in categories)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.locator("svg:visible").count() == page.locator(f".{scheme} svg").count() > 0
    page.close()


def test_the_model_card_has_the_values_in_the_files(reproduced: Project) -> None:
    reproduced.marketplace("report")
    card = (reproduced.folder / "reports/model_card.md").read_text()
    summary = json.loads((reproduced.folder / "metrics/summary.json").read_text())
    for name, value in summary.items():
        assert f"| {name} | {value:.3f} |" in card
    counts = json.loads((reproduced.folder / "metrics/clean.json").read_text())
    assert f"Of {counts['images']['in']:,} photos, {counts['images']['kept']:,} were kept" in card
    table = pd.read_parquet(reproduced.folder / "data/clean/training_data.parquet")
    for split, n in table["split"].value_counts().items():
        assert re.search(rf"^\| {split} \| {n:,} \|", card, re.MULTILINE)
    assert re.search(r"`models/image_model.onnx` \| md5 `[0-9a-f]{32}`", card)
    assert "{{" not in card
    assert "{%" not in card


def test_a_report_before_the_pipeline_has_run_is_refused_in_a_sentence(reproduced: Project) -> None:
    clone = reproduced.clone(reproduced.folder.parent / "without")
    (clone.folder / "metrics/summary.json").unlink()
    output = clone.marketplace("report", code=1)
    assert "Traceback" not in output
    assert "run `dvc repro` first" in output


@pytest.mark.parametrize("path", ["dvc.lock", "params.yaml"])
def test_a_conflict_is_named_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    root = small_pipeline(tmp_path)
    monkeypatch.setenv("PATH", Project.at(root).environment()["PATH"])
    content = (root / path).read_text()
    (root / path).write_text(f"<<<<<<< HEAD\n{content}=======\n{content}>>>>>>> theirs\n")
    with pytest.raises(MarketplaceError, match=rf"^DVC cannot draw the plots: .*{path}.*conflicts"):
        write_plots_page(root, root / "reports/plots.html")
    assert not (root / "reports").exists()


def test_a_pipeline_that_never_ran_has_nothing_to_draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = small_pipeline(tmp_path)
    monkeypatch.setenv("PATH", Project.at(root).environment()["PATH"])
    (root / "dvc.lock").unlink()
    with pytest.raises(MarketplaceError, match="there is nothing to draw: run `dvc repro` first"):
        write_plots_page(root, root / "reports/plots.html")
