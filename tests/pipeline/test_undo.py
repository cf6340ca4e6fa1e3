"""The way back that docs/EXPERIMENTS.md names, on a machine whose results differ from the committed ones."""

import re

import yaml
from helpers.paths import ROOT
from helpers.project import Project


def test_the_documented_way_back_removes_no_results(copy_of_reproduced: Project) -> None:
    project = copy_of_reproduced
    (command,) = re.findall(r"`(git checkout [^`]*)` to go back", (ROOT / "docs/EXPERIMENTS.md").read_text())
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "results")
    lock = project.folder / "dvc.lock"
    mine = lock.read_text()
    # What is committed is another machine's: other bytes from training on, which are in no cache here.
    trained = {
        out["md5"]
        for stage in ("train_small", "train_full", "fit", "extract", "recommend")
        for out in yaml.safe_load(mine)["stages"][stage]["outs"]
        if not out["path"].startswith("metrics")
    }
    elsewhere = mine
    for number, md5 in enumerate(sorted(trained)):
        elsewhere = elsewhere.replace(md5.removesuffix(".dir"), f"{number:x}".rjust(32, "a"))
    lock.write_text(elsewhere)
    project.run("git", "commit", "-qam", "results of another machine")
    lock.write_text(mine)  # as `dvc repro` leaves it here
    project.set(**{"recommend.k": 7})
    project.dvc("repro")
    recommended = project.folder / "data/recommendations.parquet"
    changed = recommended.read_bytes()

    project.run("bash", "-c", command)

    assert yaml.safe_load(lock.read_text()) == yaml.safe_load(mine)
    assert recommended.read_bytes() != changed
    assert all((project.folder / path).exists() for path in project.out_hashes())
