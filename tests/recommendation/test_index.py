from pathlib import Path

import numpy as np
import pytest

from marketplace.common.errors import MarketplaceError
from marketplace.recommendation import index
from marketplace.recommendation.index import build_index, nearest_among, read_index, release_index, write_index
from marketplace.vectors.unit_length import to_unit_length


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return to_unit_length(np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32))


@pytest.mark.parametrize("factory", ["Flat", "HNSW16", "IVF4,Flat", "SQ8"])
def test_an_index_finds_a_photo_by_its_vector_and_is_the_same_every_time(
    tmp_path: Path, vectors: np.ndarray, factory: str
) -> None:
    for name in ("first", "second"):
        write_index(tmp_path / name, vectors, factory)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    scores, rows = read_index(tmp_path / "first").search(vectors, 1)
    assert rows[:, 0].tolist() == list(range(len(vectors)))
    np.testing.assert_allclose(scores[:, 0], 1, atol=0.02)


@pytest.mark.parametrize(
    ("factory", "search"), [("Flat", None), ("HNSW16", "efSearch=400"), ("IVF4,Flat", "nprobe=4"), ("PCA16,SQ8", None)]
)
def test_among_some_rows_it_finds_those_with_the_highest_similarities(
    vectors: np.ndarray, factory: str, search: str | None
) -> None:
    index = build_index(vectors, factory, search)
    among = np.random.default_rng(1).random(len(vectors)) < 0.4
    scores, rows = nearest_among(index, vectors[:20], among, k=10)
    similarities = np.where(among, vectors[:20] @ vectors.T, -2)
    expected = np.argsort(-similarities, axis=1)[:, :10]
    overlap = np.mean([np.isin(row, best).mean() for row, best in zip(rows, expected, strict=True)])
    assert overlap == 1 if factory == "Flat" else overlap > 0.85
    assert among[rows].all()
    np.testing.assert_allclose(
        scores, np.take_along_axis(similarities, rows, axis=1), atol=0.1 if "SQ" in factory else 1e-5
    )


def memory_mib(kind: str) -> float:
    """Return the memory of this process that is anonymous (RssAnon) or in mapped files (RssFile)."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(kind)]
    return int(line.split()[1]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the memory by its kind")
@pytest.mark.parametrize("factory", ["Flat", "SQfp16", "IVF4,Flat"])
def test_an_index_stays_in_its_file(tmp_path: Path, factory: str) -> None:
    vectors = np.random.default_rng(0).normal(size=(40_000, 256)).astype(np.float32)
    write_index(tmp_path / "index", vectors, factory, "nprobe=4" if "IVF" in factory else None)
    anonymous = memory_mib("RssAnon")
    opened = read_index(tmp_path / "index")
    assert opened.search(vectors[:1], 1)[1][0, 0] == 0
    np.testing.assert_allclose(opened.reconstruct(7), vectors[7], rtol=0.01, atol=0.01)
    assert memory_mib("RssAnon") - anonymous < (tmp_path / "index").stat().st_size / 2**20 / 2
    mapped = memory_mib("RssFile")
    release_index(opened)
    assert memory_mib("RssFile") < mapped - 15
    assert opened.search(vectors[:1], 1)[1][0, 0] == 0


def test_values_of_8_bits_give_nearly_the_same_neighbours(vectors: np.ndarray) -> None:
    exact = build_index(vectors, "Flat").search(vectors, 10)[1]
    coarse = build_index(vectors, "IVF4,SQ8", "nprobe=4").search(vectors, 10)[1]
    assert np.mean([np.isin(row, best).mean() for row, best in zip(coarse, exact, strict=True)]) > 0.98


def test_an_inverted_file_searches_more_lists_under_a_filter(vectors: np.ndarray) -> None:
    among = np.random.default_rng(1).random(len(vectors)) < 0.1
    index = build_index(vectors, "IVF8,Flat", "nprobe=1")
    _, rows = nearest_among(index, vectors, among, k=5)
    similarities = np.where(among, vectors @ vectors.T, -2)
    assert rows.tolist() == np.argsort(-similarities, axis=1)[:, :5].tolist()


def test_an_index_is_built_from_a_few_rows_at_a_time(vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 0

    class Asked:
        shape = vectors.shape

        def __getitem__(self, rows: np.ndarray) -> np.ndarray:
            nonlocal most
            most = max(most, len(rows))
            return vectors[rows]

    whole = build_index(vectors, "IVF4,SQ8", "nprobe=4")
    monkeypatch.setattr(index, "ROWS_AT_ONCE", 32)
    monkeypatch.setattr(index, "LEAST_TRAINING_ROWS", 100)
    assert build_index(Asked(), "IVF4,SQ8", "nprobe=4").ntotal == whole.ntotal
    assert most == index.TRAINING_ROWS_PER_LIST * 4


def test_search_parameters_stay_with_the_index(tmp_path: Path, vectors: np.ndarray) -> None:
    write_index(tmp_path / "index", vectors, "IVF8,Flat", "nprobe=5")
    assert read_index(tmp_path / "index").nprobe == 5


@pytest.mark.parametrize(
    ("factory", "search"), [("Nonsense", None), ("IVF4096,Flat", None), ("PQ7", None), ("Flat", "nonsense=1")]
)
def test_an_index_that_cannot_be_built_is_explained_in_one_sentence(
    tmp_path: Path, vectors: np.ndarray, factory: str, search: str | None
) -> None:
    with pytest.raises(
        MarketplaceError, match=rf"recommend\.index = '{factory}' .* does not work for 400 vectors of 16"
    ):
        write_index(tmp_path / "index", vectors, factory, search)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("factory", ["NSG16", "RQ2x4", "PQ4x4fs,RFlat", "PCA8,NSG16", "IVF4,RQ2x4", "PQ4x4"])
def test_an_index_that_cannot_be_filtered_is_refused_when_it_is_built(
    tmp_path: Path, vectors: np.ndarray, factory: str
) -> None:
    with pytest.raises(MarketplaceError, match=rf"recommend\.index = '{factory}' cannot be filtered .*: choose"):
        write_index(tmp_path / "index", vectors, factory)
    assert not list(tmp_path.iterdir())


def test_an_index_that_cannot_return_its_vectors_is_refused(tmp_path: Path, vectors: np.ndarray) -> None:
    with pytest.raises(MarketplaceError, match=r"recommend\.index = 'IVF4,FlatDedup' cannot return the vectors"):
        write_index(tmp_path / "index", vectors, "IVF4,FlatDedup")


def test_an_index_that_ignores_filters_is_refused(vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_parameters", lambda *_: None)
    with pytest.raises(MarketplaceError, match="it returns rows that do not pass"):
        build_index(vectors, "Flat")
