"""The real `dvc` on copies of this project: which stages it runs and skips, and how it recovers."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import onnx
import pandas as pd
import pytest
import torch
import yaml
from helpers.paths import ROOT
from helpers.project import STAGES, TINY, Project, copy_of, ran

from marketplace.settings import Settings
from marketplace.sources.sample.dump import SampleDump

MakeProject = Callable[..., Project]


def test_it_runs_to_the_end_and_leaves_what_the_contract_says(reproduced: Project) -> None:
    folder = reproduced.folder
    table = pd.read_parquet(folder / "data/clean/training_data.parquet")
    embeddings = pd.read_parquet(folder / "data/embeddings.parquet")
    assert embeddings["image_id"].tolist() == table["image_id"].tolist()
    model = onnx.load(folder / "models/image_model.onnx")
    metadata = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert metadata["backbone"] == "efficientnet_lite0"
    lengths = {output.name: output.type.tensor_type.shape.dim[1].dim_value for output in model.graph.output}
    for name in ("identity", "kind", "title", "path", "category"):
        assert len(embeddings[name].iloc[0]) == lengths[name]
    texts = pd.read_parquet(folder / "data/text_embeddings.parquet")
    assert texts["product_id"].tolist() == sorted(set(table["product_id"]))
    best = json.loads((folder / "metrics/train_full/metrics.json").read_text())["best"]
    assert metadata["epoch"] == best["epoch"]
    figures = json.loads((folder / "metrics/evaluate.json").read_text())
    assert set(figures) == {
        "accuracy",
        "top3_accuracy",
        "macro_f1",
        "product_accuracy",
        "product_accuracy_photos",
        "product_accuracy_words",
        "same_product_recall_at_1",
        "same_product_recall_at_10",
        "leave_one_out_recall_at_1",
        "leave_one_out_recall_at_10",
        "category_precision_at_10",
        "leaf_precision_at_10",
        "leaf_map_at_r",
        "untouched",
        "untouched_projected",
    }
    assert set(figures["untouched"]) == {name for name in figures if "_at_" in name}
    recommended = pd.read_parquet(folder / "data/recommendations.parquet")
    assert set(recommended["product_id"]) == set(table["product_id"])
    assert recommended["rank"].max() == 10
    assert (folder / "reports/gallery.html").stat().st_size > 100_000
    assert all(0 <= value <= 1 for value in figures["untouched"].values())
    assert not list(folder.rglob("*.part"))
    assert reproduced.run("git", "status", "--porcelain", "--", "dvc.yaml", "data", "models", "logs") == ""


def test_a_second_repro_runs_nothing(reproduced: Project) -> None:
    output = reproduced.dvc("repro")
    assert ran(output) == []
    assert "Data and pipelines are up to date" in output


def test_stages_next_to_each_other_give_the_same_hashes(copy_of_reproduced: Project) -> None:
    project = copy_of_reproduced
    expected = project.out_hashes()
    for name in ("reports/data.csv", "data/map.parquet", "metrics/evaluate.json"):
        (project.folder / name).unlink()
    (command,) = re.findall(r"^(dvc repro \S+ \w+ & .*)$", (ROOT / "docs/SCALE.md").read_text(), re.MULTILINE)
    project.run("bash", "-c", command.replace("dvc repro", "dvc repro --force"))
    assert project.out_hashes() == expected
    assert "up to date" in project.dvc("status")


def test_what_ran_before_anywhere_comes_from_the_run_cache(experimented: Project, tmp_path: Path) -> None:
    project = experimented.copy(tmp_path / "project")
    first = (project.out_hashes(), (project.folder / "metrics/evaluate.json").read_text())
    # As the experiment `rate`, which ran elsewhere.
    output = project.dvc("exp", "run", "-n", "again", "-S", "train.lr=1e-5")
    assert ran(output) == []
    assert "Stage 'train_full' is cached - skipping run, checking out outputs" in output
    assert "lr: 1e-05" in (project.folder / "params.yaml").read_text()
    second = project.out_hashes()
    moved = {path for path in second if second[path] != first[0][path]}
    assert moved >= {"models/small.pt", "models/full.pt", "data/embeddings.parquet"}
    assert not [path for path in moved if path.startswith(("data/raw", "data/clean", "data/resized"))]
    lock = yaml.safe_load(project.run("git", "show", f"{project.experiment('rate')}:dvc.lock"))
    outs = [out for stage in lock["stages"].values() for out in stage["outs"]]
    assert second == {out["path"]: out["md5"] for out in outs}
    assert ran(project.dvc("exp", "run", "-n", "back", "-S", "train.lr=0.001")) == []
    assert (project.out_hashes(), (project.folder / "metrics/evaluate.json").read_text()) == first


def test_in_a_copy_of_the_workspace_the_copys_own_code_runs(copy_of_reproduced: Project) -> None:
    project = copy_of_reproduced
    with (project.folder / "src/marketplace/catalogue/clean.py").open("a") as file:
        file.write("\nraise SystemExit('the copy spoke')\n")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "break clean")
    assert "the copy spoke" in project.dvc("exp", "run", "--temp", "clean", code=None)


def test_a_warm_start_takes_the_small_trainings_weights_and_a_cold_one_imagenets(
    reproduced: Project, make_project: MakeProject
) -> None:
    # Too slow to move from where it starts.
    project = make_project(**{"train_full.warm_start": True, "train.lr": 1e-9, "train_full.epochs": 1})
    copy_of(reproduced, project)
    project.dvc("repro", "train_full")
    assert project.out_hashes()["models/pretrained.pt"] == reproduced.out_hashes()["models/pretrained.pt"]
    small = torch.load(project.folder / "models/small.pt")["state_dict"]
    full = torch.load(project.folder / "models/full.pt")["state_dict"]
    for name in ("head.categories.weight", "tail.conv_head.weight"):
        torch.testing.assert_close(full[name], small[name], rtol=0, atol=1e-6)
    small, full = (torch.load(reproduced.folder / f"models/{size}.pt")["state_dict"] for size in ("small", "full"))
    assert (full["tail.conv_head.weight"] - small["tail.conv_head.weight"]).abs().max() > 1e-3


def test_the_real_listings_go_through(make_project: MakeProject, listings: Path) -> None:
    project = make_project(
        **{
            "fetch.source": "local",
            "fetch.local.path": str(listings),
            "fetch.limit": 200,
            "resize_images.full": 64,
            "train_small.epochs": 1,
            "train_full.epochs": 3,
        },
    )
    assert ran(project.dvc("repro")) == STAGES
    counts = json.loads((project.folder / "metrics/clean.json").read_text())
    assert counts["products"]["in"] - counts["products"].get("repeated_row", 0) == 200
    figures = json.loads((project.folder / "metrics/evaluate.json").read_text())
    assert figures["accuracy"] > 0.3  # four times chance
    assert figures["category_precision_at_10"] > 0.3


def test_the_samples_answer_sheet_is_not_part_of_the_dump(reproduced: Project, settings: Settings) -> None:
    answers = SampleDump(settings.fetch.sample.model_copy(update={"products": 65})).answers
    kinds = set(answers["kind"]) - {"bomb", "cmyk"}
    raw = b"".join(path.read_bytes() for path in (reproduced.folder / "data/raw").rglob("*") if path.is_file())
    assert not [kind for kind in kinds if kind.encode() in raw]


# What goes wrong


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train.lr": "fast"}, "train.lr = 'fast' is not allowed: it must be a number, greater than 0 and at most 1"),
        ({"resize_images.full": 0}, "resize_images.full = 0 is not allowed"),
        ({"fetch.sample.products": 20}, "the product's root category has too few products"),
        ({"fetch.sample.products": 1}, "root categories left after cleaning: none"),
        ({"fetch.source": "local", "fetch.local.path": "nowhere"}, "fetch.local.path = 'nowhere' is not a folder"),
        ({"model.weights": "weights.pt"}, "model.weights = 'weights.pt' is neither a file nor weights"),
    ],
)
def test_a_mistake_ends_with_a_sentence_and_nothing_half_written(
    make_project: MakeProject, change: dict[str, object], message: str
) -> None:
    project = make_project(**change)
    output = project.dvc("repro", code=255)
    assert message in output
    assert "Traceback" not in output
    assert not list(project.folder.rglob("*.part"))


def test_outside_the_root_dvc_says_what_is_missing(reproduced: Project) -> None:
    output = subprocess.run(
        ["dvc", "repro"], cwd=reproduced.folder / "src", env=reproduced.environment(), capture_output=True, text=True
    )
    assert output.returncode != 0
    assert "dvc.yaml" in output.stderr
    assert "Traceback" not in output.stderr


@pytest.mark.parametrize(
    ("stage", "progress"),
    [
        ("fetch", "photos:"),
        ("clean", "checking photos:"),
        ("resize_images", "resizing photos:"),
        ("train_full", "epoch 1/2:"),
        ("evaluate", "embedding:"),
    ],
)
def test_ctrl_c_leaves_nothing_half_written_and_the_next_repro_recovers(
    reproduced: Project, copy_of_reproduced: Project, tmp_path: Path, stage: str, progress: str
) -> None:
    project = copy_of_reproduced
    if stage == "fetch":  # so few photos as the others have are drawn in no time
        project.set(**{"fetch.sample.products": 1000})
    process = subprocess.Popen(
        # A test run in the background hands on that interrupts are ignored.
        ["env", "--default-signal=INT", "dvc", "repro", "--force", "--single-item", stage],
        cwd=project.folder,
        env={**project.environment(), "MARKETPLACE_CACHE": str(tmp_path / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    output = b""
    with process.stdout as stream:
        while progress.encode() not in output:  # the stage is at work
            output += os.read(stream.fileno(), 1 << 16)
            assert process.poll() is None, output.decode()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: DVC, the stage and its workers all get it
        output += stream.read()
    assert process.wait(timeout=60) != 0
    assert "Interrupted: nothing half-written is left" in output.decode()
    assert "Traceback" not in output.decode()
    assert not list(project.folder.rglob("*.part"))
    project.set(**TINY)
    project.dvc("repro")
    assert project.out_hashes() == reproduced.out_hashes()


def test_a_full_disk_is_a_sentence_and_space_is_all_it_takes(make_project: MakeProject) -> None:
    project = make_project()
    project.dvc("repro", "resize_images")
    shutil.rmtree(project.folder / "data/resized")
    script = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (200_000, 200_000)); import runpy, sys; "
    script += "sys.argv = ['stages/resize_images.py']; runpy.run_path(sys.argv[0], run_name='__main__')"
    output = project.run("python", "-c", script, code=1)
    assert "ERROR: the disk is full" in output
    assert not list((project.folder / "data/resized").iterdir())
    project.dvc("repro", "resize_images")
    assert (project.folder / "data/resized/full/000.npy").exists()
