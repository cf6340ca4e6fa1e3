"""The check of every photo: each file is opened once."""

from pathlib import Path

import pandas as pd
import pytest
from helpers.dumps import photos_in

from marketplace.catalogue.photo_check import check_shards


def test_every_file_is_opened(raw: Path) -> None:
    files = check_shards(raw / "images")
    assert files["name"].tolist() == sorted(photos_in(raw))
    assert set(files["reason"]) == {"", "empty", "not_an_image", "too_large", "truncated"}


def test_a_file_that_was_checked_before_is_not_decoded_again(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARKETPLACE_CACHE", str(tmp_path / "cache"))
    first = check_shards(raw / "images")

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr("marketplace.catalogue.photo_check.decode", fail)  # forked workers inherit it
    pd.testing.assert_frame_equal(check_shards(raw / "images"), first)
    monkeypatch.setenv("MARKETPLACE_CACHE", str(tmp_path / "another"))
    with pytest.raises(AssertionError, match="decoded again"):
        check_shards(raw / "images")
