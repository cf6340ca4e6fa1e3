"""The work on shards by a real Dask cluster: the same bytes, whatever happens to it."""

import shutil
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import dask_cluster
from helpers.dask_cluster import DaskCluster
from helpers.dumps import noise_photo
from helpers.networks import trunk_of
from helpers.servers import free_port
from helpers.shop import ALL, shop

from marketplace.catalogue.photo_check import check_shards
from marketplace.cluster import connection
from marketplace.cluster.connection import SCHEDULER_VARIABLE
from marketplace.cluster.tasks import run_on_cluster
from marketplace.common.console import report_errors
from marketplace.common.errors import MarketplaceError
from marketplace.common.files import sha256_of
from marketplace.compute.arrays import ShardedArray
from marketplace.inference.features import FeatureStore
from marketplace.models.checkpoints import checkpoint_of
from marketplace.models.network import Network
from marketplace.photos.squares import resize_shards
from marketplace.pretrained.sentence_model import INSTALLED, write_sentence_model
from marketplace.raw.shards import image_id_of, shard_of, write_shards
from marketplace.recommendation.origin import Origin
from marketplace.recommendation.products import products_of
from marketplace.recommendation.rankers import create_ranker
from marketplace.recommendation.table import recommendations, write_recommendations
from marketplace.texts.sentence_model import SentenceModel, open_sentence_model

N_SHARDS = 3
N_PHOTOS = 24


@pytest.fixture
def project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with photos in shards, as working directory, and an empty cache."""
    photos = [(f"photo{number:02}.jpg", noise_photo(number)) for number in range(N_PHOTOS)]
    write_shards(photos, folder / "images", N_SHARDS)
    monkeypatch.setattr("marketplace.inference.features.PACK", 2)
    monkeypatch.setattr("marketplace.texts.sentence_model.PACK", 4)
    monkeypatch.setattr("marketplace.recommendation.table.SIMILARITIES_AT_ONCE", 2**13)
    return folder


def check() -> bytes:
    """Return the photo check as bytes."""
    return str(check_shards(Path("images")).to_csv()).encode()


def resize() -> bytes:
    """Return the arrays of resized photos as bytes."""
    names = [f"photo{number:02}.jpg" for number in range(N_PHOTOS)]
    table = pd.DataFrame({"file": names, "shard": [shard_of(image_id_of(name), N_SHARDS) for name in names]})
    table["sha256"] = [sha256(name.encode()).hexdigest() for name in names]
    shutil.rmtree("resized", ignore_errors=True)
    resize_shards(Path("images"), table.sort_values(["shard", "file"]), {Path("resized"): 64})
    return b"".join(path.read_bytes() for path in sorted(Path("resized").iterdir()))


def run_trunk() -> bytes:
    """Return the features that a trunk computes as bytes."""
    images = np.random.default_rng(0).integers(0, 256, (N_PHOTOS, 64, 64, 3), dtype=np.uint8)
    Path("squares").mkdir(exist_ok=True)
    for number, part in enumerate(np.split(images, N_SHARDS)):
        np.save(f"squares/{number:03}.npy", part)
    torch.manual_seed(0)
    network = Network("efficientnet_lite0", 3)
    start = checkpoint_of(network, weights="none", size=0, categories=[], leaves=[], epoch=0, figures={})
    features = FeatureStore(trunk_of(start, 64), ShardedArray(Path("squares"))).features()
    assert not features.n_missing  # none is left for this process to compute
    return features(np.arange(N_PHOTOS)).tobytes()


def embed_texts() -> bytes:
    """Return the vectors of some texts as bytes."""
    folder = Path("sentence_model")
    if not folder.exists():
        write_sentence_model(folder, INSTALLED)
    texts = [f"an oak table, {number} cm" for number in range(9)] + ["", "a red lamp"]
    vectors = open_sentence_model(folder, max_tokens=64).embed_catalogue(texts)
    return vectors.tobytes()


def recommend() -> bytes:
    """Return the recommendations for a shop that is compared product by product, as the bytes of their table."""
    table, vectors = shop(n_products=150)
    products = products_of(table)
    batches = recommendations(products, create_ranker(products, vectors, ALL))
    write_recommendations(
        Path("table.parquet"),
        batches,
        Origin(made_with={}, settings=ALL, calibrations={}, same_item_cosine=1.0, dimensions={}),
    )
    return Path("table.parquet").read_bytes()


KINDS_OF_WORK = [check, resize, run_trunk, embed_texts, recommend]


def test_one_worker_and_three_give_the_bytes_of_local_processes(
    project: Path, scheduler: DaskCluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = [work() for work in KINDS_OF_WORK]
    monkeypatch.setenv(SCHEDULER_VARIABLE, scheduler.address)
    caplog.set_level("INFO", "marketplace")
    for n_workers, n_new in ((1, 1), (3, 2)):  # the next test has two
        scheduler.add_warm_workers(n_new)
        monkeypatch.setenv("MARKETPLACE_CACHE", str(project / f"cache of {n_workers}"))  # it is empty
        assert [work() for work in KINDS_OF_WORK] == expected
        assert f"working on {n_workers} workers" in caplog.text
        assert not list(project.glob(".shared-*"))
        assert not list(project.glob("cache of */shared/*"))


@pytest.mark.parametrize("work", KINDS_OF_WORK, ids=lambda work: work.__name__)
def test_a_killed_worker_makes_no_difference(
    work: Callable[[], bytes], project: Path, dask: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = work()
    monkeypatch.setenv(SCHEDULER_VARIABLE, dask.address)
    with dask.kill_a_busy_worker(project) as killed:
        for attempt in range(10):  # the work may be done before a busy worker is seen
            monkeypatch.setenv("MARKETPLACE_CACHE", str(project / f"another {attempt}"))
            assert work() == expected
            if killed.is_set():
                break


def test_workers_alone_embed_texts(project: Path, dask: DaskCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = embed_texts()
    monkeypatch.setenv(SCHEDULER_VARIABLE, dask.address)
    monkeypatch.setenv("MARKETPLACE_CACHE", str(project / "empty cache"))
    monkeypatch.setattr(SentenceModel, "embed_in_fixed_shapes", None)
    assert embed_texts() == expected


def test_workers_compare_the_candidates_of_an_index_too(
    project: Path, dask: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marketplace.recommendation.rankers.EXHAUSTIVE_UP_TO_PRODUCTS", 0)
    expected = recommend()
    monkeypatch.setenv(SCHEDULER_VARIABLE, dask.address)
    assert recommend() == expected


def test_an_error_of_a_task_is_raised_here(project: Path, dask: DaskCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SCHEDULER_VARIABLE, dask.address)
    paths = sorted(Path("images").iterdir())
    tasks = [(path,) for path in [*paths, Path("images/vanished.tar")]]
    with pytest.raises(FileNotFoundError, match=r"vanished\.tar"):
        list(run_on_cluster(sha256_of, tasks))
    assert list(run_on_cluster(sha256_of, tasks[:-1])) == [sha256_of(path) for path in paths]


def test_a_full_disk_of_a_worker_is_reported_here_and_leaves_nothing(
    project: Path, dask: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SCHEDULER_VARIABLE, dask.address)
    with pytest.raises(SystemExit) as caught, report_errors():
        list(run_on_cluster(dask_cluster.write, [(Path("out/large"), 2**22)]))
    assert "the disk is full" in str(caught.value)
    assert not list(Path("out").iterdir())
    assert list(run_on_cluster(dask_cluster.write, [(Path("out/small"), 10)])) == [None]


def test_a_task_that_kills_every_worker_is_given_up(
    project: Path, dask: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SCHEDULER_VARIABLE, dask.address)
    with pytest.raises(MarketplaceError, match="died of one task, most likely because memory ran out"):
        list(run_on_cluster(dask_cluster.die, [(project / "note",)]))
    assert list(run_on_cluster(pow, [(3, 2)])) == [9]


@pytest.mark.parametrize("address", ["here", "http://127.0.0.1:8786", "tcp://127.0.0.1", "tcp://:8786", "8786"])
def test_a_wrong_address_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SCHEDULER_VARIABLE, address)
    with pytest.raises(MarketplaceError, match=r"set it to a scheduler's address, such as tcp://"):
        run_on_cluster(pow, [(1, 2)])


def test_a_dead_scheduler_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SCHEDULER_VARIABLE, f"tcp://127.0.0.1:{free_port()}")
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 1)
    with pytest.raises(MarketplaceError, match="no Dask scheduler answers at tcp://"):
        run_on_cluster(pow, [(1, 2)])


def test_dask_need_not_be_installed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SCHEDULER_VARIABLE, "tcp://127.0.0.1:8786")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MarketplaceError, match="Dask is not installed"):
        run_on_cluster(pow, [(1, 2)])


def test_waiting_for_workers_ends(project: Path, scheduler: DaskCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SCHEDULER_VARIABLE, scheduler.address)
    monkeypatch.setattr(connection, "WORKERS_SECONDS", 1)
    with pytest.raises(MarketplaceError, match=f"{scheduler.address} has no workers: start some with `dask worker "):
        run_on_cluster(pow, [(1, 2)])
