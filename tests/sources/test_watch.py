"""A changed source is noticed, wherever it is, without transferring anything."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from helpers.dumps import MakeSettings, files_in, small_dump, unpack
from helpers.project import Project, ran
from helpers.servers import KeyPairs, S3Server, ssh_server
from hypothesis import given
from hypothesis import strategies as st

from marketplace.settings import Settings
from marketplace.sources.dump import FetchSettings, open_dump
from marketplace.sources.local import LocalSettings
from marketplace.sources.photo_store import Stamp
from marketplace.sources.watch import summarize, watch_source

Change = Callable[[str, bytes | None], None]  # writes a file of the source, or deletes it


def local_settings(settings: Settings, folder: Path) -> FetchSettings:
    return settings.fetch.model_copy(update={"source": "local", "local": LocalSettings(path=str(folder))})


def change_files(folder: Path) -> Change:
    def change(name: str, content: bytes | None) -> None:
        path = folder / name
        if content is None:
            path.unlink()
        else:
            before = path.stat().st_mtime_ns if path.exists() else 0
            path.write_bytes(content)
            os.utime(path, ns=(before + 10**9, before + 10**9))

    return change


def assert_that_changes_are_noticed(settings: FetchSettings, folder: Path, change: Change, tmp_path: Path) -> None:
    """Change the source, whose content is that of `folder`, in every way that matters."""
    summary_file = tmp_path / "source.json"
    files = files_in(folder)
    photo = next(name for name in files if name.startswith("images/"))
    summaries = []

    def watch() -> None:
        watch_source(settings, summary_file)
        summaries.append(json.loads(summary_file.read_text()))

    watch()
    assert summaries[0]["files"] == len(files)
    assert summaries[0]["bytes"] == sum(map(len, files.values()))
    watch()
    assert summaries[1] == summaries[0]
    for name, content in (
        ("images/new.jpg", b"new"),
        (photo, bytes(len(files[photo]))),  # of the same size
        (photo, None),
        ("products.csv", bytes(len(files["products.csv"]))),
        ("images.csv", files["images.csv"] + b"\n"),
    ):
        change(name, content)
        watch()
    assert len({summary["sha256"] for summary in summaries}) == len(summaries) - 1


def test_changes_of_a_folder_are_noticed(raw: Path, settings: Settings, tmp_path: Path) -> None:
    folder = unpack(raw, tmp_path / "dump")
    assert_that_changes_are_noticed(local_settings(settings, folder), folder, change_files(folder), tmp_path)


def test_changes_of_a_bucket_are_noticed(raw: Path, from_s3: MakeSettings, s3: S3Server, tmp_path: Path) -> None:
    folder = unpack(raw, tmp_path / "dump")
    s3.upload("watched", {f"today/{name}": content for name, content in files_in(folder).items()})

    def change(name: str, content: bytes | None) -> None:
        if content is None:
            s3.client().delete_object(Bucket="watched", Key=f"today/{name}")
        else:
            s3.upload("watched", {f"today/{name}": content})

    assert_that_changes_are_noticed(from_s3("s3://watched/today"), folder, change, tmp_path)


def test_changes_of_a_server_are_noticed(over_ssh: MakeSettings, own_dump: Path, tmp_path: Path) -> None:
    settings = over_ssh(path=str(own_dump))
    assert_that_changes_are_noticed(settings, own_dump, change_files(own_dump), tmp_path)


def test_changes_of_a_server_that_allows_sftp_alone_are_noticed(
    raw: Path, keys: KeyPairs, over_ssh: MakeSettings, tmp_path: Path
) -> None:
    with ssh_server("ForceCommand internal-sftp") as plain:
        dump = unpack(raw, plain.folder / "dump")
        plain.authorize(keys.public("id_ed25519"))
        plain.take_ownership()
        assert_that_changes_are_noticed(over_ssh(plain), dump, change_files(dump), tmp_path)


def test_nothing_is_transferred(over_ssh: MakeSettings, transferred: list[str], tmp_path: Path) -> None:
    watch_source(over_ssh(), tmp_path / "source.json")
    assert transferred == []
    assert not (tmp_path / "cache").exists()


def test_the_same_files_are_listed_as_fetched(over_ssh: MakeSettings) -> None:
    dump = open_dump(over_ssh())
    photos = {f"images/{name}" for name in dump.photo_names()}
    assert set(dump.list_files()) == photos | {"products.csv", "images.csv"}


def test_a_source_out_of_reach_leaves_the_summary(
    over_ssh: MakeSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    summary_file = tmp_path / "source.json"
    watch_source(over_ssh(), summary_file)
    before = summary_file.read_bytes()
    with ssh_server() as stopped:
        gone = over_ssh(stopped)
    caplog.clear()
    watch_source(gone, summary_file)
    assert summary_file.read_bytes() == before
    assert len(caplog.messages) == 1  # and nothing is tried again
    assert "cannot list the source, so the dump fetched earlier is used: cannot connect to 127.0.0.1" in caplog.text
    summary_file.unlink()
    watch_source(gone, summary_file)
    assert json.loads(summary_file.read_text()) == {}


def test_a_folder_that_may_not_be_read_leaves_the_summary(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_dump(4).write(tmp_path / "dump")
    summary_file = tmp_path / "source.json"
    watch_source(local_settings(settings, folder), summary_file)
    before = summary_file.read_bytes()

    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))  # nobody refuses root

    monkeypatch.setattr(Path, "iterdir", refuse)
    watch_source(local_settings(settings, folder), summary_file)
    assert summary_file.read_bytes() == before
    assert "cannot list the source" in caplog.text


@pytest.mark.parametrize("content", ["", "<<<<<<< HEAD", "[]", "{}", '{"source": 1}'])
def test_a_damaged_summary_is_replaced(settings: Settings, tmp_path: Path, content: str) -> None:
    folder = small_dump(4).write(tmp_path / "dump")
    summary_file = tmp_path / "source.json"
    summary_file.write_text(content)
    watch_source(local_settings(settings, folder), summary_file)
    assert json.loads(summary_file.read_text())["files"] == 6


STAMPS = st.dictionaries(st.text(), st.builds(Stamp, size=st.integers(0, 2**40), version=st.text()))


@given(STAMPS, STAMPS, st.randoms())
def test_a_summary_tells_listings_apart_but_not_their_orders(
    one: dict[str, Stamp], other: dict[str, Stamp], random: Random
) -> None:
    shuffled = list(one.items())
    random.shuffle(shuffled)
    assert summarize("local", dict(shuffled)) == summarize("local", one)
    assert (summarize("local", one) == summarize("local", other)) == (one == other)


def test_a_changed_source_reruns_fetch_and_an_unchanged_one_reruns_nothing(
    copy_of_reproduced: Project, tmp_path: Path
) -> None:
    project = copy_of_reproduced
    folder = small_dump(4).write(tmp_path / "dump")
    project.set(**{"fetch.source": "local", "fetch.local.path": str(folder), "watch": ["source"]})
    assert ran(project.dvc("repro", "fetch")) == ["watch@source", "fetch"]
    assert ran(project.dvc("repro", "fetch")) == ["watch@source"]
    change_files(folder)("images/new.jpg", b"new")
    assert ran(project.dvc("repro", "fetch")) == ["watch@source", "fetch"]
    assert project.dvc("status", "fetch") == "Data and pipelines are up to date.\n"
    assert "fetch" not in project.marketplace("check", code=1)  # the stages after it have not run
    assert "watch" not in project.marketplace("check", code=1)

    folder.rename(tmp_path / "elsewhere")
    output = project.dvc("repro", "fetch")
    assert ran(output) == ["watch@source"]
    assert "cannot list the source" in output
    project.set(watch=[])
    assert ran(project.dvc("repro", "fetch")) == []
