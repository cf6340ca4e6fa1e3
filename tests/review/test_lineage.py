"""`marketplace lineage` names the origin of a file, from which the file can be made again."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from helpers.project import Project
from helpers.repositories import commit_all, small_pipeline

from marketplace.cli import main
from marketplace.common.console import CONTROL_CHARACTERS
from marketplace.common.errors import MarketplaceError
from marketplace.raw.shards import read_shard, shard_paths
from marketplace.review.recommendations import find_recommendation


def parse_lineage(output: str) -> dict[str, list[str]]:
    """Return the lines of the command's output by their heading."""
    lines: dict[str, list[str]] = {}
    heading = ""
    for line in output.splitlines():
        heading = line[:12].strip() or heading
        lines.setdefault(heading, []).append(line[13:].strip())
    return lines


def test_a_model_has_a_commit_parameters_data_epoch_and_metrics(experimented: Project) -> None:
    lineage = parse_lineage(experimented.marketplace("lineage", "models/image_model.onnx", "--all"))
    head = experimented.run("git", "rev-parse", "HEAD").strip()
    assert lineage["commit"][0].startswith(f"HEAD ({head[:7]})")
    assert lineage["first in"][0].startswith(head[:7])
    assert lineage["file"] == [f"models/image_model.onnx  md5 {experimented.out_hashes()['models/image_model.onnx']}"]
    assert lineage["stage"][0].startswith("fit: ")
    best = json.loads((experimented.folder / "metrics/train_full/metrics.json").read_text())["best"]
    assert lineage["epoch"] == [f"{name} {value}" for name, value in best.items()]
    summary = json.loads((experimented.folder / "metrics/summary.json").read_text())
    assert lineage["metrics"] == [f"{name} {value}" for name, value in summary.items()]
    assert {"train.lr 0.001", "extract.shrinkage 0.1", "fetch.sample.products 65"} <= set(lineage["parameters"])
    assert not [line for line in lineage["parameters"] if line.startswith("recommend.")]  # a later stage
    assert f"data/raw/products.csv  md5 {experimented.out_hashes()['data/raw/products.csv']}" in lineage["data"]
    assert {"src/marketplace/training", "stages/train.py"} <= set(lineage["code"])
    assert lineage["reproduce"] == [f"git checkout {head} && dvc repro fit"]

    short = parse_lineage(experimented.marketplace("lineage", "models/image_model.onnx"))
    assert short.pop("parameters")[0].endswith(" as in params.yaml of HEAD: --all lists them")
    assert short.pop("code")[0].endswith(" scripts and folders at that commit: --all lists them")
    assert short == {name: lineage[name] for name in short}


def test_a_commit_writes_no_control_character_and_no_line_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = small_pipeline(tmp_path)
    (root / "data").mkdir()
    (root / "data/clean.csv").write_text("a\n")
    lock = yaml.safe_load((root / "dvc.lock").read_text())
    lock["stages"]["fetch"]["cmd"] = "cp\x1b[2J\nreproduce    rm -rf data"
    (root / "dvc.lock").write_text(yaml.safe_dump(lock))
    commit_all(root, "a subject\x1b[2J\x9b31m")
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "argv", ["marketplace", "lineage", "data/clean.csv"])
    main()
    output = capsys.readouterr().out
    assert not CONTROL_CHARACTERS.search(output)
    assert "a subject" in output
    assert output.count("\nreproduce") == 1


def test_a_file_is_recognised_wherever_it_lies(experimented: Project, tmp_path: Path) -> None:
    experimented.dvc("exp", "apply", "rate")
    shutil.copy(experimented.folder / "models/full.pt", tmp_path / "from-a-colleague.bin")
    experimented.restore()
    lineage = parse_lineage(experimented.marketplace("lineage", str(tmp_path / "from-a-colleague.bin")))
    assert lineage["file"][0].startswith("models/full.pt  md5 ")
    assert lineage["parameters"][0] == "train.lr 1e-05  (HEAD: 0.001)"
    assert len(lineage["parameters"]) == 2  # and how many others there are
    assert lineage["reproduce"] == [f"git checkout {experimented.experiment('rate')} && dvc repro train_full"]


def test_the_command_reproduces_the_file(experimented: Project, tmp_path: Path) -> None:
    rejects = experimented.folder / "data/clean/rejects.csv"
    (command,) = parse_lineage(experimented.marketplace("lineage", str(rejects)))["reproduce"]
    clone = experimented.clone(tmp_path / "clone")
    clone.run("sh", "-c", command)
    assert (clone.folder / "data/clean/rejects.csv").read_bytes() == rejects.read_bytes()


def test_a_recommendation_names_two_photos_of_the_dump(experimented: Project) -> None:
    table = pd.read_parquet(experimented.folder / "data/recommendations.parquet")
    row = table[table["rank"] == 3].iloc[0]
    lineage = parse_lineage(experimented.marketplace("lineage", row["product_id"], row["similar_product_id"]))
    assert lineage["recommended"] == [
        f"{row['similar_product_id']} for {row['product_id']}, rank 3, score {row['score']:.4f}"
    ]
    training_data = pd.read_parquet(experimented.folder / "data/clean/training_data.parquet").set_index("image_id")
    owners = []
    image_ids = []
    for line in lineage["photos"]:
        image_id, sha256 = line.split("  sha256 ")
        assert training_data["sha256"][image_id] == sha256
        owners.append(training_data["product_id"][image_id])
        image_ids.append(image_id)
    assert owners == [row["product_id"], row["similar_product_id"]]
    shards = shard_paths(experimented.folder / "data/raw/images")
    files = {name for shard in shards for name, _ in read_shard(shard)}
    assert {f"{image_id}.jpg" for image_id in image_ids} <= files

    vectors = pd.read_parquet(experimented.folder / "data/embeddings.parquet")
    kinds, similar_kinds = (np.stack(vectors["kind"][vectors["product_id"] == owner]) for owner in owners)
    kind_of = vectors.set_index("image_id")["kind"]
    assert kind_of[image_ids[0]] @ kind_of[image_ids[1]] == pytest.approx((kinds @ similar_kinds.T).max(), abs=1e-5)

    assert lineage["stage"][0].startswith("recommend: ")
    first = parse_lineage(experimented.marketplace("lineage", row["product_id"]))
    assert "rank 1" in first["recommended"][0]


def test_the_beginning_of_an_id_is_enough(experimented: Project) -> None:
    table = pd.read_parquet(experimented.folder / "data/recommendations.parquet")
    row = table[table["rank"] == 2].iloc[0]
    product_id = row["product_id"]
    similar_id = row["similar_product_id"]
    recommendation = find_recommendation(experimented.folder, product_id, similar_id)
    assert recommendation is not None
    assert find_recommendation(experimented.folder, product_id[:12], similar_id[:12]) == recommendation
    with pytest.raises(MarketplaceError, match=r"ids begin with '': type more of it"):
        find_recommendation(experimented.folder, "")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("README.md", "no dvc.lock in this repository's history lists README.md"),
        ("models/nothing.pt", "'models/nothing.pt' is neither a product with recommendations nor a file"),
        ("nobody", "'nobody' is neither a product with recommendations nor a file"),
        ("data", "data is a folder"),
    ],
)
def test_anything_without_a_lineage_is_refused_in_a_sentence(experimented: Project, name: str, message: str) -> None:
    output = experimented.marketplace("lineage", name, code=1)
    assert output.startswith("ERROR: ")
    assert message in output


def test_a_product_that_is_not_recommended_is_refused_in_a_sentence(experimented: Project) -> None:
    product_id = pd.read_parquet(experimented.folder / "data/recommendations.parquet")["product_id"][0]
    with pytest.raises(MarketplaceError, match="'nobody' is not recommended"):
        find_recommendation(experimented.folder, product_id, "nobody")


def test_an_experiment_has_a_lineage_before_it_is_committed(experimented: Project) -> None:
    experimented.dvc("exp", "apply", "several")
    try:
        lineage = parse_lineage(experimented.marketplace("lineage", "data/recommendations.parquet"))
        assert set(lineage["parameters"][:-1]) == {
            "recommend.k 8  (HEAD: 10)",
            "recommend.same_category True  (HEAD: False)",
        }
    finally:
        experimented.restore()
