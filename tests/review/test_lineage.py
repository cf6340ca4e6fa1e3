"""`marketplace lineage`: where a file came from, checked by making it again."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from helpers.project import Project

from marketplace.common.errors import MarketplaceError
from marketplace.raw.shards import read_shard, shard_paths
from marketplace.review.recommendations import find_recommendation


def facts(output: str) -> dict[str, list[str]]:
    """The lines of an answer by their heading."""
    found: dict[str, list[str]] = {}
    heading = ""
    for line in output.splitlines():
        heading = line[:12].strip() or heading
        found.setdefault(heading, []).append(line[13:].strip())
    return found


def test_a_model_knows_its_commit_parameters_data_epoch_and_metrics(experimented: Project) -> None:
    found = facts(experimented.marketplace("lineage", "models/image_model.pt"))
    head = experimented.run("git", "rev-parse", "HEAD").strip()
    assert found["commit"][0].startswith(f"HEAD ({head[:7]})")
    assert found["first in"][0].startswith(head[:7])
    assert found["file"] == [f"models/image_model.pt  md5 {experimented.out_hashes()['models/image_model.pt']}"]
    assert found["stage"][0].startswith("extract: ")
    best = json.loads((experimented.folder / "metrics/train_full/metrics.json").read_text())["best"]
    assert found["epoch"] == [f"{name} {value}" for name, value in best.items()]
    summary = json.loads((experimented.folder / "metrics/summary.json").read_text())
    assert found["metrics"] == [f"{name} {value}" for name, value in summary.items()]
    assert {"train.lr 0.001", "extract.shrinkage 0.1", "fetch.sample.products 65"} <= set(found["parameters"])
    assert not [line for line in found["parameters"] if line.startswith("recommend.")]  # comes after it
    assert f"data/raw/products.csv  md5 {experimented.out_hashes()['data/raw/products.csv']}" in found["data"]
    assert found["again"] == [f"git checkout {head} && dvc repro extract"]


def test_a_file_is_recognised_wherever_it_lies(experimented: Project, tmp_path: Path) -> None:
    experimented.dvc("exp", "apply", "rate")
    shutil.copy(experimented.folder / "models/full.pt", tmp_path / "from-a-colleague.bin")
    experimented.restore()
    found = facts(experimented.marketplace("lineage", str(tmp_path / "from-a-colleague.bin")))
    assert found["file"][0].startswith("models/full.pt  md5 ")
    assert "train.lr 1e-05" in found["parameters"]
    assert found["again"] == [f"git checkout {experimented.experiment('rate')} && dvc repro train_full"]


def test_the_command_makes_the_file_again(experimented: Project, tmp_path: Path) -> None:
    rejects = experimented.folder / "data/clean/rejects.csv"
    (again,) = facts(experimented.marketplace("lineage", str(rejects)))["again"]
    theirs = experimented.clone(tmp_path / "again")
    theirs.run("sh", "-c", again)
    assert (theirs.folder / "data/clean/rejects.csv").read_bytes() == rejects.read_bytes()


def test_a_recommendation_names_its_photos_and_they_are_in_the_dump(experimented: Project) -> None:
    table = pd.read_parquet(experimented.folder / "data/recommendations.parquet")
    row = table[table["rank"] == 3].iloc[0]
    found = facts(experimented.marketplace("lineage", row["product_id"], row["similar_product_id"]))
    assert found["recommended"] == [
        f"{row['similar_product_id']} for {row['product_id']}, rank 3, score {row['score']:.4f}"
    ]
    training_data = pd.read_parquet(experimented.folder / "data/clean/training_data.parquet").set_index("image_id")
    owners, names = [], []
    for line in found["photos"]:
        image_id, sha256 = line.split("  sha256 ")
        assert training_data["sha256"][image_id] == sha256
        owners.append(training_data["product_id"][image_id])
        names.append(image_id)
    assert owners == [row["product_id"], row["similar_product_id"]]
    photos = {name for shard in shard_paths(experimented.folder / "data/raw/images") for name, _ in read_shard(shard)}
    assert {f"{name}.jpg" for name in names} <= photos
    kinds = pd.read_parquet(experimented.folder / "data/embeddings.parquet").set_index("image_id")["kind"]
    texts = pd.read_parquet(experimented.folder / "data/text_embeddings.parquet").set_index("product_id")["text"]
    photos_alone, words_alone = kinds[names[0]] @ kinds[names[1]], texts[owners[0]] @ texts[owners[1]]
    assert (photos_alone + words_alone) / 2 == pytest.approx(row["score"], abs=1e-5)
    assert found["stage"][0].startswith("recommend: ")
    first = facts(experimented.marketplace("lineage", row["product_id"]))
    assert "rank 1" in first["recommended"][0]


def test_the_beginning_of_an_id_is_enough(experimented: Project) -> None:
    table = pd.read_parquet(experimented.folder / "data/recommendations.parquet")
    row = table[table["rank"] == 2].iloc[0]
    product_id, similar_id = row["product_id"], row["similar_product_id"]
    recommendation = find_recommendation(experimented.folder, product_id, similar_id)
    assert recommendation is not None
    assert find_recommendation(experimented.folder, product_id[:12], similar_id[:12]) == recommendation
    with pytest.raises(MarketplaceError, match=r"ids begin with '': type more of it"):
        find_recommendation(experimented.folder, "", None)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("README.md", "no dvc.lock in this repository's history wrote README.md"),
        ("models/nothing.pt", "'models/nothing.pt' is neither a product with recommendations nor a file"),
        ("nobody", "'nobody' is neither a product with recommendations nor a file"),
        ("data", "data is a folder"),
    ],
)
def test_what_has_no_lineage_is_a_sentence(experimented: Project, asked: str, said: str) -> None:
    output = experimented.marketplace("lineage", asked, code=1)
    assert output.startswith("ERROR: ")
    assert said in output


def test_a_product_that_is_not_recommended_is_a_sentence(experimented: Project) -> None:
    product_id = pd.read_parquet(experimented.folder / "data/recommendations.parquet")["product_id"][0]
    with pytest.raises(MarketplaceError, match="'nobody' is not recommended"):
        find_recommendation(experimented.folder, product_id, "nobody")


def test_an_experiment_knows_its_parameters_before_anybody_commits_it(experimented: Project) -> None:
    experimented.dvc("exp", "apply", "several")
    try:
        found = facts(experimented.marketplace("lineage", "data/recommendations.parquet"))
        assert "recommend.k 8" in found["parameters"]
    finally:
        experimented.restore()
