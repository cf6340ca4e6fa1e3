"""All answers are from one run: files of another one are refused at the start, and make no difference later."""

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from helpers.photos import photo_files, png_of
from helpers.project import Project
from PIL import Image

from marketplace.catalogue_map.places import MAP, read_map, write_map
from marketplace.common.errors import MarketplaceError
from marketplace.compute.arrays import ShardedArray
from marketplace.raw.shards import write_shards
from marketplace.recommendation.fingerprints import RECOMMENDATIONS, SERVED, SQUARES, TABLES
from marketplace.recommendation.origin import origin_of
from marketplace.relevance.judgements import JUDGEMENTS
from marketplace.serving.application import create_application
from marketplace.serving.question import Photo, Question
from marketplace.serving.recommender import ORIGINALS, Recommender


def replace_content(path: Path, content: bytes) -> None:
    """Put another file under a name, as `dvc checkout` does."""
    path.unlink()
    path.write_bytes(content)


def test_outputs_of_two_runs_are_not_mixed(copy_of_reproduced: Project) -> None:
    folder = copy_of_reproduced.folder
    for name in SERVED:
        path = folder / name if (folder / name).is_file() else min((folder / name).iterdir())
        content = path.read_bytes()
        replace_content(path, content + b"\n")
        with pytest.raises(MarketplaceError, match=rf"{name} is damaged, or from another run than .*: delete"):
            Recommender(folder).load()
        replace_content(path, content)
    Recommender(folder).load()
    (folder / "models/similar.index").unlink()
    with pytest.raises(MarketplaceError, match="is missing: run `dvc repro` first"):
        Recommender(folder)


def test_the_map_of_another_run_is_refused(copy_of_reproduced: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copy_of_reproduced.folder
    made_with = origin_of(folder / RECOMMENDATIONS).made_with
    places = read_map(folder, {name: made_with[name] for name in TABLES})
    path = folder / MAP
    path.unlink()
    with pytest.raises(MarketplaceError, match=rf"{MAP} is missing: run `dvc repro map`"):
        Recommender(folder).load()
    path.write_bytes(b"half a map")
    with pytest.raises(MarketplaceError, match=rf"{MAP} is damaged .*: delete .*{MAP}"):
        Recommender(folder).load()
    places.to_parquet(path)  # of an older version, which wrote no fingerprints
    with pytest.raises(MarketplaceError, match=rf"{MAP} is from another run than the tables: run `dvc repro map`"):
        Recommender(folder).load()
    monkeypatch.chdir(folder)
    write_map(Path(MAP), places, [TABLES[0], TABLES[1], RECOMMENDATIONS])
    with pytest.raises(MarketplaceError, match="is from another run than the tables"):
        Recommender(folder).load()
    write_map(Path(MAP), places, TABLES)
    Recommender(folder).load()


def test_malformed_judgements_are_refused_at_the_start(copy_of_reproduced: Project) -> None:
    (copy_of_reproduced.folder / JUDGEMENTS).write_text("product_id,similar_product_id,grade\na,b,5\n")
    with pytest.raises(MarketplaceError, match=rf"{JUDGEMENTS}.* are not 0, 1 or 2"):
        Recommender(copy_of_reproduced.folder).load()


def test_a_running_server_answers_the_same_when_files_are_replaced(
    copy_of_reproduced: Project, table: pd.DataFrame
) -> None:
    folder = copy_of_reproduced.folder
    recommender = Recommender(folder)
    recommender.load()
    recommender.load_models()
    photo = Photo(png_of(copy_of_reproduced, 0))
    shown, *_, hidden = table["image_id"]
    one, other = sorted(table["product_id"].unique())[:2]

    def answers() -> list[object]:
        return [
            recommender.ask(Question(photo=photo, k=5)),
            recommender.ask(Question(words="red", k=5)),
            recommender.heat(one, other),
            recommender.places(),
            recommender.judging.next_task(),
            recommender.photos.jpeg(shown, 64),
        ]

    before = answers()
    assert len(recommender.places()) == table["product_id"].nunique()
    recommender.photos._render_once.cache_clear()
    pages = [*SERVED, MAP, JUDGEMENTS, *(str(path) for path in (folder / SQUARES).iterdir())]
    for path in [folder / name for name in pages] + list((folder / ORIGINALS).iterdir()):
        if path.is_file():
            replace_content(path, b"another run's")
    assert answers() == before
    assert recommender.photos.jpeg(hidden, 64)  # not read before


def test_photos_of_another_dump_are_not_shown(copy_of_reproduced: Project, table: pd.DataFrame) -> None:
    """The same names, in the same shards, for the photos of other products."""
    folder = copy_of_reproduced.folder
    names = sorted(photo_files(copy_of_reproduced))
    red = io.BytesIO()
    Image.new("RGB", (90, 60), "red").save(red, "JPEG")
    shards = len(list((folder / ORIGINALS).iterdir()))
    shutil.rmtree(folder / ORIGINALS)
    write_shards([(name, red.getvalue()) for name in names], folder / ORIGINALS, shards)
    photos = Recommender(folder).photos
    squares = ShardedArray(folder / SQUARES)
    for row in (0, len(table) - 1):
        with Image.open(io.BytesIO(photos.jpeg(table["image_id"].iloc[row], 64))) as shown:
            pixels = np.asarray(shown.resize((8, 8)), dtype=float)
        own = np.asarray(Image.fromarray(squares[row]).resize((8, 8)), dtype=float)
        assert np.abs(pixels - own).mean() < 8


def test_it_is_ready_when_every_kind_of_question_can_be_answered(
    copy_of_reproduced: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_of_reproduced.folder
    recommender = Recommender(folder)
    recommender.load()
    answers: list[Any] = []
    with TestClient(create_application(recommender)) as client:
        with monkeypatch.context() as patch:
            patch.setattr(recommender, "heat", lambda *_: answers.append(client.get("/ready")))
            recommender.load_models()
        assert [(answer.status_code, answer.json()["detail"]) for answer in answers] == [
            (503, "the models are still being read.")
        ]
        assert client.get("/ready").status_code == 200

    replace_content(folder / "models/image_model.onnx", b"another run's")
    fresh = Recommender(folder)
    with TestClient(create_application(fresh)) as client:
        with pytest.raises(MarketplaceError, match="from another run"):
            fresh.load_models()
        ready = client.get("/ready")
        assert (ready.status_code, ready.headers["Retry-After"]) == (503, "5")
        assert str(folder) not in ready.text
        answer = client.post("/api/similar", files={"photo": ("a.jpg", b"x")})
        assert (answer.status_code, answer.json()["detail"]) == (
            503,
            "the server cannot answer this: its log says why.",
        )
