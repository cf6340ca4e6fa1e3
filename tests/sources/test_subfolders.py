"""Photos in subfolders of images/ are found at every source, and links lead nowhere but within a local dump."""

from pathlib import Path

import pytest
from helpers.dumps import MakeSettings, fetch_and_clean, fetch_files, files_in, noise_photo, photos_in, small_dump
from helpers.servers import S3Server, SshServer

from marketplace.settings import Settings
from marketplace.sources import ec2
from marketplace.sources.dump import FetchSettings
from marketplace.sources.listing import is_safe
from marketplace.sources.local import LocalSettings

SECRET = b"a file outside of the dump"


@pytest.fixture
def local(settings: Settings) -> MakeSettings:
    def configure(path: str) -> FetchSettings:
        return settings.fetch.model_copy(update={"source": "local", "local": LocalSettings(path=path)})

    return configure


def write_dump(folder: Path) -> dict[str, bytes]:
    """Write a dump with most photos in subfolders, and return their bytes by path."""
    small_dump(8).write(folder)
    images = folder / "images"
    (images / "2026" / "-may 1").mkdir(parents=True)
    (images / "empty").mkdir()
    for path in sorted(images.glob("*.jpg"))[:6]:
        path.rename(images / "2026" / ("-may 1" if path.name < "image003" else ".") / path.name)
    return files_in(images)


@pytest.fixture(params=[ec2.TOOLS_CHECK, "false"], ids=["shell", "SFTP alone"])
def folder(request: pytest.FixtureRequest, server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of a dump on a machine with a shell, or with SFTP alone."""
    monkeypatch.setattr(ec2, "TOOLS_CHECK", request.param)
    return server.folder / tmp_path.name


def test_photos_in_subfolders_come_over_ssh(
    over_ssh: MakeSettings, server: SshServer, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = write_dump(folder)
    (folder / "images" / "2026" / "link.jpg").symlink_to("image003.jpg")
    (folder / "images" / "up").symlink_to("..")
    server.take_ownership()
    fetch_files(over_ssh(path=str(folder)), tmp_path / "raw")
    assert photos_in(tmp_path / "raw") == photos
    assert "2 links in images/ are left behind" in caplog.text


def test_a_folder_that_cannot_be_read_costs_its_own_photos(
    over_ssh: MakeSettings, server: SshServer, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = write_dump(folder)
    server.take_ownership()
    (folder / "images" / "2026" / "-may 1").chmod(0)
    fetch_files(over_ssh(path=str(folder)), tmp_path / "raw")
    assert photos_in(tmp_path / "raw") == {name: photos[name] for name in photos if "may" not in name}
    assert "1 photos cannot be read there and are left out, such as '2026/-may 1'" in caplog.text


def test_photos_in_subfolders_come_from_s3(
    from_s3: MakeSettings, s3: S3Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = write_dump(tmp_path / "dump")
    s3.upload("dumps", {f"sub/{name}": content for name, content in files_in(tmp_path / "dump").items()})
    fetch_files(from_s3("s3://dumps/sub"), tmp_path / "raw")
    assert photos_in(tmp_path / "raw") == photos
    assert "left behind" not in caplog.text


def test_links_are_followed_within_a_local_dump_alone(
    local: MakeSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "dump"
    photos = write_dump(folder)
    (tmp_path / "secret.jpg").write_bytes(SECRET)
    (folder / "more").mkdir()
    (folder / "more" / "x.jpg").write_bytes(noise_photo(99))
    images = folder / "images"
    (images / "linked.jpg").symlink_to("../more/x.jpg")
    (images / "linked folder").symlink_to("../more")
    (images / "around").symlink_to(".")
    (images / "outside.jpg").symlink_to(tmp_path / "secret.jpg")
    (images / "outside").symlink_to(tmp_path)
    (images / "loop").symlink_to("loop")
    (images / "nowhere").symlink_to("nothing")
    fetch_files(local(str(folder)), tmp_path / "raw")
    more = {"linked.jpg": noise_photo(99), "linked folder/x.jpg": noise_photo(99)}
    assert photos_in(tmp_path / "raw") == photos | more
    assert "4 links in" in caplog.text
    assert "lead out of the dump or nowhere, and are left behind" in caplog.text


def test_photos_in_subfolders_are_joined_by_their_names_or_paths(tmp_path: Path) -> None:
    dump = small_dump()
    dump.images.loc[7, "id"] = "b/image007"
    folder = dump.write(tmp_path / "dump")
    images = folder / "images"
    (images / "a").mkdir()
    (images / "b").mkdir()
    for path in sorted(images.glob("*.jpg"))[:10]:
        path.rename(images / ("b" if path.name == "image007.jpg" else "a") / path.name)
    (images / "a" / "image020.jpg").write_bytes(noise_photo(500))  # a second one, deeper: the other is taken
    result = fetch_and_clean(folder, tmp_path)
    assert len(result.training_data) == 48
    assert result.rejects.to_numpy().tolist() == [["files", "a/image020.jpg", "same_id"]]


def test_only_a_limits_photos_come_from_subfolders(local: MakeSettings, tmp_path: Path) -> None:
    photos = write_dump(tmp_path / "dump")
    fetch_files(local(str(tmp_path / "dump")), tmp_path / "raw", limit=4)
    assert set(photos_in(tmp_path / "raw")) == {name for name in photos if name[-7:] < "004.jpg"}


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "../a", "a/../b", "./a", "a/.", "a\n/b", "a/" + "x" * 256])
def test_a_path_that_leads_elsewhere_is_not_safe(name: str) -> None:
    assert not is_safe(name)
    assert is_safe("a b/c.d/-e.jpg")
