"""As in production: the key from a bucket, the dump over SSH, the whole pipeline, and a cache that a team shares."""

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.dumps import content_of
from helpers.project import STAGES, Project, ran
from helpers.servers import S3Server, SshServer

from marketplace.raw.shards import image_id_of

MakeProject = Callable[..., Project]


@pytest.fixture(autouse=True)
def _aws(aws: None) -> None:
    """Credentials and a cache folder of its own for every test here."""


def test_new_listings_run_what_is_needed_and_no_more(
    make_project: MakeProject, server: SshServer, own_dump: Path, keys: dict[str, str]
) -> None:
    project = make_project(**{"fetch.source": "ec2", "fetch.ec2": {**server.settings(), "path": str(own_dump)}})
    stages = STAGES[: STAGES.index("train_small") + 1]  # what follows a training is needed whenever it is
    output = project.dvc("repro", "train_small")
    assert sorted(ran(output)) == sorted(stages)
    in_a_row = [stage for stage in ran(output) if stage != "pretrained"]  # which needs no other, so it may come first
    assert in_a_row == [stage for stage in stages if stage != "pretrained"]
    assert ran(output)[-1] == "train_small"

    # Nothing changed remotely: nothing runs.
    again = ("repro", "--force", "--single-item", "fetch")
    project.dvc(*again)
    assert ran(project.dvc("repro", "train_small")) == []

    # A photo of no listing: its shard changes, and `clean` finds that the training data does not.
    before = content_of(project.folder / "data/raw")
    (own_dump / "images" / "stray.jpg").write_bytes(b"x")
    server.own()
    output += project.dvc(*again)
    after = content_of(project.folder / "data/raw")
    assert len([name for name in after if after[name] != before[name]]) == 1
    assert ran(project.dvc("repro", "train_small")) == ["clean", "resize_images"]

    # A second photo for a listing.
    rows = (own_dump / "images.csv").read_text().splitlines()
    photo = next(path for path in sorted((own_dump / "images").iterdir()) if path.read_bytes()[:3] == b"\xff\xd8\xff")
    product_id = next(row.split(",")[2] for row in rows if image_id_of(photo.name) in row)
    (own_dump / "images" / "another.jpg").write_bytes(photo.read_bytes() + b"\0")
    (own_dump / "images.csv").write_text("\n".join([*rows, f"{len(rows)},another,{product_id}"]) + "\n")
    server.own()
    project.dvc(*again)
    assert ran(project.dvc("repro", "train_small")) == ["clean", "resize_images", "train_small"]

    # And the private key is nowhere: not in the workspace, not in DVC's cache, not in what was printed.
    body = keys["id_ed25519"].splitlines()[2]
    assert body not in output
    files = [path for path in project.folder.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if body.encode() in path.read_bytes()]


def use_storage(project: Project, keys: dict[str, str]) -> None:
    """The README's lines that only this user's config.local gets."""
    project.dvc("remote", "modify", "--local", "storage", "access_key_id", keys["AWS_ACCESS_KEY_ID"])
    project.dvc("remote", "modify", "--local", "storage", "secret_access_key", keys["AWS_SECRET_ACCESS_KEY"])


def test_what_one_pushed_another_pulls_and_need_not_run(
    copy_of_reproduced: Project, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*S3Server.owner, "AWS_ENDPOINT_URL"):  # DVC's configuration has what counts
        monkeypatch.delenv(name)
    s3.upload("cache", {})
    s3.refuse_strangers("cache")
    mine = copy_of_reproduced
    mine.dvc("remote", "add", "--default", "storage", "s3://cache/dvc")
    mine.dvc("remote", "modify", "storage", "endpointurl", s3.url)
    mine.run("git", "add", "-A")
    mine.run("git", "commit", "-qm", "results, and where they are kept")
    use_storage(mine, S3Server.owner)
    assert mine.run("git", "status", "--porcelain") == ""  # no secret can be committed
    mine.dvc("push")

    theirs = mine.clone(tmp_path / "theirs")
    for keys in (S3Server.stranger, {**S3Server.owner, "AWS_SECRET_ACCESS_KEY": "wrong"}):
        use_storage(theirs, keys)
        output = theirs.dvc("pull", code=1)
        assert "ERROR: failed to connect to s3 (cache/dvc/files/md5) - Forbidden" in output
        assert "Traceback" not in output
        assert not (theirs.folder / "models" / "full.pt").exists()
    use_storage(theirs, S3Server.owner)
    theirs.dvc("pull")
    assert ran(theirs.dvc("repro")) == []
    assert theirs.out_hashes() == mine.out_hashes()
    assert content_of(theirs.folder / "models") == content_of(mine.folder / "models")
    # Pushing with wrong credentials fails and takes nothing away.
    use_storage(mine, S3Server.stranger)
    (mine.folder / "models" / "image_model.pt").unlink()
    mine.dvc("push", code=255)
    mine.dvc("checkout")
    assert content_of(theirs.folder / "models") == content_of(mine.folder / "models")
