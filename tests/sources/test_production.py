"""As in production: the key from a bucket, the dump over SSH, the pipeline, and a cache that a team shares."""

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.dumps import files_in
from helpers.project import STAGES, Project, ran
from helpers.servers import OWNER_CREDENTIALS, STRANGER_CREDENTIALS, KeyPairs, S3Server, SshServer

from marketplace.raw.shards import image_id_of

MakeProject = Callable[..., Project]


pytestmark = pytest.mark.usefixtures("aws")


def test_new_listings_run_only_the_stages_they_affect(
    make_project: MakeProject, server: SshServer, own_dump: Path, keys: KeyPairs
) -> None:
    machine = {**server.settings(), "path": str(own_dump)}
    project = make_project(**{"fetch.source": "ec2", "fetch.ec2": machine, "watch": ["source"]})
    stages = ["watch@source", *STAGES[: STAGES.index("train_small") + 1]]  # later stages run whenever this one does
    output = project.dvc("repro", "train_small")
    assert sorted(ran(output)) == sorted(stages)
    in_order = [stage for stage in ran(output) if stage != "pretrained"]  # it depends on no other, and may come first
    assert in_order == [stage for stage in stages if stage != "pretrained"]
    assert ran(output)[-1] == "train_small"

    # Nothing changed remotely: nothing runs.
    assert ran(project.dvc("repro", "train_small")) == ["watch@source"]

    # A photo without a listing: its shard changes, but the training data does not.
    before = files_in(project.folder / "data/raw")
    (own_dump / "images" / "stray.jpg").write_bytes(b"x")
    server.take_ownership()
    next_output = project.dvc("repro", "train_small")
    assert ran(next_output) == ["watch@source", "fetch", "clean", "resize_images"]
    after = files_in(project.folder / "data/raw")
    assert len([name for name in after if after[name] != before[name]]) == 1
    output += next_output

    # A second photo for a listing.
    rows = (own_dump / "images.csv").read_text().splitlines()
    photo = next(path for path in sorted((own_dump / "images").iterdir()) if path.read_bytes()[:3] == b"\xff\xd8\xff")
    product_id = next(row.split(",")[2] for row in rows if image_id_of(photo.name) in row)
    (own_dump / "images" / "another.jpg").write_bytes(photo.read_bytes() + b"\0")
    (own_dump / "images.csv").write_text("\n".join([*rows, f"{len(rows)},another,{product_id}"]) + "\n")
    server.take_ownership()
    assert ran(project.dvc("repro", "train_small")) == [
        "watch@source",
        "fetch",
        "clean",
        "resize_images",
        "train_small",
    ]

    # The private key is nowhere: not in the workspace, not in DVC's cache, not in the output.
    line = keys.private("id_ed25519").splitlines()[2]
    assert line not in output
    files = [path for path in project.folder.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if line.encode() in path.read_bytes()]


def set_credentials(project: Project, credentials: dict[str, str]) -> None:
    """Write credentials into this user's config.local, as docs/PIPELINE.md does."""
    project.dvc("remote", "modify", "--local", "storage", "access_key_id", credentials["AWS_ACCESS_KEY_ID"])
    project.dvc("remote", "modify", "--local", "storage", "secret_access_key", credentials["AWS_SECRET_ACCESS_KEY"])


def test_pushed_results_are_pulled_and_need_no_run(
    copy_of_reproduced: Project, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*OWNER_CREDENTIALS, "AWS_ENDPOINT_URL"):  # only DVC's configuration counts
        monkeypatch.delenv(name)
    s3.upload("cache", {})
    s3.refuse_strangers("cache")
    mine = copy_of_reproduced
    mine.dvc("remote", "add", "--default", "storage", "s3://cache/dvc")
    mine.dvc("remote", "modify", "storage", "verify", "true")
    mine.dvc("remote", "modify", "storage", "endpointurl", s3.url)
    mine.run("git", "add", "-A")
    mine.run("git", "commit", "-qm", "results, and where they are kept")
    set_credentials(mine, OWNER_CREDENTIALS)
    assert mine.run("git", "status", "--porcelain") == ""  # no secret can be committed
    mine.dvc("push")

    theirs = mine.clone(tmp_path / "theirs")
    for credentials in (STRANGER_CREDENTIALS, {**OWNER_CREDENTIALS, "AWS_SECRET_ACCESS_KEY": "wrong"}):
        set_credentials(theirs, credentials)
        output = theirs.dvc("pull", code=1)
        assert "ERROR: failed to connect to s3 (cache/dvc/files/md5) - Forbidden" in output
        assert "Traceback" not in output
        assert not (theirs.folder / "models" / "full.pt").exists()
    set_credentials(theirs, OWNER_CREDENTIALS)
    theirs.dvc("pull")
    assert ran(theirs.dvc("repro")) == []
    assert theirs.out_hashes() == mine.out_hashes()
    assert files_in(theirs.folder / "models") == files_in(mine.folder / "models")
    # Pushing with wrong credentials fails and deletes nothing.
    set_credentials(mine, STRANGER_CREDENTIALS)
    (mine.folder / "models" / "image_model.onnx").unlink()
    mine.dvc("push", code=255)
    mine.dvc("checkout")
    assert files_in(theirs.folder / "models") == files_in(mine.folder / "models")
