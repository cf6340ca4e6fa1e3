"""The check of every photo."""

from pathlib import Path

import pandas as pd
import pytest

from marketplace.catalogue.photo_check import check_shards
from marketplace.raw.shards import read_shard, shard_paths


def test_check_opens_every_file(raw: Path) -> None:
    files = check_shards(raw / "images")
    assert files["name"].tolist() == sorted(
        name for shard in shard_paths(raw / "images") for name, _ in read_shard(shard)
    )
    assert set(files["reason"]) == {"", "empty", "not_an_image", "too_large", "truncated"}


def test_a_file_that_was_checked_before_is_not_decoded_again(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARKETPLACE_CACHE", str(tmp_path / "cache"))
    first = check_shards(raw / "images")

    def no_more(*_: object, **__: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr("marketplace.catalogue.photo_check.decode", no_more)  # workers are forked, and have it too
    pd.testing.assert_frame_equal(check_shards(raw / "images"), first)
    monkeypatch.setenv("MARKETPLACE_CACHE", str(tmp_path / "another"))
    with pytest.raises(AssertionError, match="decoded again"):
        check_shards(raw / "images")
