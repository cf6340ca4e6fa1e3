"""The user's cache: what is kept comes back as it was, or not at all."""

from pathlib import Path

import pytest
from helpers.full_disk import limit_file_size
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from marketplace.compute.user_cache import keep, read_kept, user_cache


def keep_bytes(path: Path, content: bytes) -> bool:
    return keep(path, lambda file: file.write(content))


@hypothesis_settings(deadline=None)
@given(st.binary(max_size=300), st.data())
def test_every_change_of_a_kept_file_is_seen_and_the_file_dropped(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cache") / "file"
    path.write_bytes(content)
    assert read_kept(path) is None
    assert keep_bytes(path, content)
    kept = read_kept(path)
    assert kept is not None
    assert kept.tobytes() == content
    sealed = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(sealed) - 1))
    if data.draw(st.booleans()):
        sealed[place] ^= data.draw(st.integers(1, 255))
    else:
        del sealed[place:]
    path.write_bytes(sealed)
    assert read_kept(path) is None
    assert not path.exists()


def test_damage_is_a_warning_that_names_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "file"
    assert read_kept(path) is None
    assert not caplog.text
    path.write_bytes(b"junk")
    assert read_kept(path) is None
    assert f"{path} is damaged: it is computed again" in caplog.text


def test_a_full_cache_is_one_warning_that_says_what_to_do(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with limit_file_size(1000):
        assert not keep_bytes(tmp_path / "one", bytes(2000))
        assert not keep_bytes(tmp_path / "other", bytes(2000))
    (warning,) = caplog.messages
    assert f"the cache {tmp_path} cannot hold more (File too large): it is computed again next time." in warning
    assert "$MARKETPLACE_CACHE_GIB" in warning
    assert not list(tmp_path.iterdir())


def test_a_cache_that_cannot_be_written_to_is_replaced_by_a_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("MARKETPLACE_CACHE", str(tmp_path / "file"))
    folder = user_cache("features")
    (folder / "x").write_text("there")
    assert user_cache("features") == folder
    assert f"the cache {tmp_path}/file/features cannot be written to: going on without it" in caplog.text
