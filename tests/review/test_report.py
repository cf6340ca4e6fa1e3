"""The plots page and the model card of a finished pipeline."""

import json
import re

import pandas as pd
import yaml
from helpers.project import Project
from playwright.sync_api import Browser


def declared_titles(project: Project) -> set[str]:
    """The titles in dvc.yaml: those of the stages' plots, and the names of the plots that combine files."""
    pipeline = yaml.safe_load((project.folder / "dvc.yaml").read_text())
    plots = [plot for stage in pipeline["stages"].values() for plot in stage.get("plots", [])]
    titles = {options["title"] for plot in plots for options in plot.values() if "title" in options}
    return titles | {name for plot in pipeline["plots"] for name in plot}


def test_the_plots_page_has_every_plot_inside(reproduced: Project, browser: Browser) -> None:
    said = reproduced.marketplace("report")
    assert "reports/plots.html" in said
    page = browser.new_page()
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto((reproduced.folder / "reports/plots.html").as_uri())
    assert [address for address in requested if not address.startswith("data:")] == [page.url]
    assert set(page.locator("h2").all_inner_texts()) == declared_titles(reproduced)
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    categories = pd.read_parquet(reproduced.folder / "data/clean/training_data.parquet")["category"].unique()
    drawn = page.locator(".light svg").all_text_contents()
    assert all(any(category in text for text in drawn) for category in categories)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        shown = page.locator("svg:visible").count()
        assert shown == page.locator(f".{scheme} svg").count() > 0
    page.close()


def test_the_model_card_says_what_the_files_say(reproduced: Project) -> None:
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
    folder = reproduced.clone(reproduced.folder.parent / "without")
    (folder.folder / "metrics/summary.json").unlink()
    said = folder.marketplace("report", code=1)
    assert "Traceback" not in said
    assert "run `dvc repro` first" in said
