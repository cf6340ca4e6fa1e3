"""Questions that combine products, a photo and words, compared with what the parts of products give."""

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from helpers.paths import ROOT
from helpers.photos import photo_files
from helpers.project import Project
from PIL import Image

from marketplace.recommendation.catalogue import Catalogue, read_catalogue
from marketplace.recommendation.fingerprints import fingerprints
from marketplace.recommendation.similarity import Weights
from marketplace.recommendation.vocabulary import fold, split_words
from marketplace.serving import qdrant, qdrant_export
from marketplace.serving.answers import Answer, InvalidQuestionError, SimilarProduct
from marketplace.serving.question import NO_FILTERS, Crop, Photo, Question, parse_crop
from marketplace.serving.recommender import Recommender


@pytest.fixture(scope="module")
def catalogue(reproduced: Project) -> Catalogue:
    return read_catalogue(reproduced.folder)


@pytest.fixture(scope="module")
def ids(catalogue: Catalogue) -> list[str]:
    return catalogue.products.table["product_id"].tolist()


def scores_for(catalogue: Catalogue, number: int, weights: Weights) -> np.ndarray:
    """The similarity of every product to one, computed part by part."""
    parts = catalogue.parts
    shares = weights.normalised().model_dump()
    of_parts = [share * getattr(parts, name) @ getattr(parts, name)[number] for name, share in shares.items()]
    return np.asarray(np.sum(of_parts, axis=0))


def check_scores(answer: Answer, catalogue: Catalogue, expected: np.ndarray) -> None:
    number_of = catalogue.products.number_of
    scores = [one.score for one in answer.similar]
    assert scores == pytest.approx([expected[number_of[one.product.product_id]] for one in answer.similar], abs=1e-4)
    assert scores == sorted(scores, reverse=True)


def ids_of(products: list[SimilarProduct]) -> list[str]:
    return [one.product.product_id for one in products]


def test_several_products_count_equally_and_others_half_as_much_against(
    recommender: Recommender, catalogue: Catalogue, ids: list[str]
) -> None:
    weights = recommender.settings.weights.product
    one, two, third = (scores_for(catalogue, number, weights) for number in (0, 1, 2))
    both = recommender.ask(Question(like=(ids[0], ids[1]), k=len(ids)))
    check_scores(both, catalogue, (one + two) / 2)
    assert not {ids[0], ids[1]} & set(ids_of(both.similar))
    without = recommender.ask(Question(like=(ids[0], ids[1]), unlike=(ids[2],), k=len(ids)))
    check_scores(without, catalogue, (one + two) / 2 - third / 2)
    groups = catalogue.products.groups
    numbers = [catalogue.products.number_of[product_id] for product_id in ids_of(without.similar)]
    assert groups[2] not in groups[numbers]
    assert all(one.probability is None for one in [*both.similar, *without.similar])
    own_weights = Weights(kind=1, text=0, title=0, path=0)
    looks = recommender.ask(Question(like=(ids[0],), k=len(ids), weights=own_weights))
    check_scores(looks, catalogue, scores_for(catalogue, 0, own_weights))


def test_words_draw_an_example_towards_products_that_have_them(
    recommender: Recommender, catalogue: Catalogue, ids: list[str], table: pd.DataFrame
) -> None:
    texts = [
        set(split_words(fold(f"{row.product_name} {row.product_description}")))
        for row in catalogue.products.table.itertuples()
    ]
    word = "red"
    having = {product_id for product_id, words in zip(ids, texts, strict=True) if word in words}
    assert 3 < len(having) < len(ids) / 2
    ranks_before = []
    ranks_after = []
    for product_id in [one for one in ids if one not in having][:10]:
        before = ids_of(recommender.ask(Question(like=(product_id,), k=len(ids))).similar)
        after = ids_of(recommender.ask(Question(like=(product_id,), words=word, k=len(ids))).similar)
        ranks_before += [before.index(one) for one in having if one in before]
        ranks_after += [after.index(one) for one in having if one in after]
        unwanted = recommender.ask(Question(like=(product_id,), words=f"-{word}", k=len(ids)))
        assert not having & set(ids_of(unwanted.similar))
        kept = [one for one in ids_of(unwanted.similar) if one in before]  # others stand in for one of their group
        assert kept == [one for one in before if one not in having]
    assert np.mean(ranks_after) < np.mean(ranks_before) / 2
    listed = recommender.products(recommender.find(f"-{word}", NO_FILTERS))
    assert {product.product_id for product in listed} == set(ids) - having


def test_a_photo_is_turned_and_cropped(recommender: Recommender, reproduced: Project, table: pd.DataFrame) -> None:
    name = f"{table['image_id'][0]}.jpg"
    content = photo_files(reproduced)[name]
    photo = Image.open(io.BytesIO(content)).convert("RGB")
    expected = recommender.ask(Question(photo=Photo(png(photo)), k=5))
    sideways = photo.transpose(Image.Transpose.ROTATE_90)  # counterclockwise
    assert recommender.ask(Question(photo=Photo(png(sideways), turn=90), k=5)) == expected
    canvas = Image.new("RGB", (2 * photo.width, 4 * photo.height), "navy")
    canvas.paste(photo, (photo.width, 2 * photo.height))
    crop = Crop(left=0.5, top=0.5, right=1, bottom=0.75)
    cropped = recommender.ask(Question(photo=Photo(png(canvas), crop=crop), k=5))
    assert ids_of(cropped.similar) == ids_of(expected.similar)
    whole = recommender.ask(Question(photo=Photo(content), k=5))
    part = recommender.ask(Question(photo=Photo(content, crop=Crop(left=0, top=0, right=1, bottom=0.9)), k=5))
    assert whole.same[0].same_photo
    assert not any(one.same_photo for one in part.same)


def png(photo: Image.Image) -> bytes:
    content = io.BytesIO()
    photo.save(content, "PNG")
    return content.getvalue()


def test_a_photo_goes_with_words_and_products(recommender: Recommender, ids: list[str]) -> None:
    photo = Photo((ROOT / "docs/example.jpg").read_bytes())
    alone = recommender.ask(Question(photo=photo, k=len(ids)))
    with_words = recommender.ask(Question(photo=photo, words="red", k=len(ids)))
    assert alone.visible == with_words.visible
    assert not with_words.same
    assert ids_of(alone.similar) != ids_of(with_words.similar)
    last = ids_of(alone.similar)[-1]
    with_last = recommender.ask(Question(photo=photo, like=(last,), k=len(ids)))
    assert last not in ids_of(with_last.similar)
    without_first = recommender.ask(Question(photo=photo, unlike=(ids_of(alone.similar)[0],), k=len(ids)))
    assert ids_of(alone.similar)[0] not in ids_of(without_first.similar)


def test_a_question_may_ask_for_a_score_and_for_diversity(recommender: Recommender, ids: list[str]) -> None:
    all_similar = recommender.ask(Question(like=(ids[0],), k=20)).similar
    least = all_similar[7].score
    assert recommender.ask(Question(like=(ids[0],), k=20, least_score=least)).similar == all_similar[:8]
    diverse = recommender.ask(Question(like=(ids[0],), k=20, diversity=0.6)).similar
    assert ids_of(diverse)[0] == ids_of(all_similar)[0]
    assert ids_of(diverse) != ids_of(all_similar)
    assert recommender.ask(Question(like=(ids[0],), k=20, diversity=0.0)).similar == all_similar


def test_a_product_that_is_named_twice_counts_once(recommender: Recommender, ids: list[str]) -> None:
    once = Question(like=(ids[0], ids[1]), unlike=(ids[2],), k=5)
    twice = Question(like=(ids[0], ids[1], ids[0]), unlike=(ids[2], ids[2]), k=5)
    assert recommender.ask(twice) == recommender.ask(once)
    assert recommender.ask(Question(like=(ids[0],) * 2, k=5)).similar[0].close is not None


@pytest.mark.parametrize(
    ("parameters", "status", "says"),
    [
        ({}, 422, "names nothing to be similar to"),
        ({"words": "  "}, 422, "names nothing to be similar to"),
        ({"words": "-red"}, 422, "names nothing to be similar to"),
        ({"unlike": "KNOWN"}, 422, "names nothing to be similar to"),
        ({"unlike": "KNOWN", "words": "sofa"}, 422, "need a product or a photo to be like"),
        ({"like": "KNOWN", "unlike": "KNOWN"}, 422, "cannot be liked and not liked at once"),
        ({"like": ["KNOWN", "nobody"]}, 404, "no product has the id 'nobody'"),
        ({"like": "KNOWN", "weights": "kind=0,text=0,title=0,path=0"}, 422, "all 0"),
        ({"like": "KNOWN", "weights": "kind=-1"}, 422, "such as kind=1,text=0.5."),
        ({"like": [f"x{number}" for number in range(21)]}, 422, "like"),
        ({"like": "KNOWN", "diversity": 1}, 422, "diversity"),
        ({"like": "KNOWN", "words": "x" * 201}, 422, "words"),
    ],
)
def test_impossible_questions_are_refused(
    client: TestClient, ids: list[str], parameters: dict[str, Any], status: int, says: str
) -> None:
    known = json.loads(json.dumps(parameters).replace("KNOWN", ids[0]))
    answer = client.get("/api/similar", params=known)
    assert (answer.status_code, says in answer.json()["detail"]) == (status, True)


def test_the_same_question_in_odd_words_is_answered(client: TestClient, ids: list[str]) -> None:
    for words in ("a", "the of and", "椅子", "red\x00\x1b[31m", "-", "--red", " ".join(["sofa"] * 40)):
        answer = client.get("/api/similar", params={"like": ids[0], "words": words, "k": 3})
        assert answer.status_code == 200, words
        assert len(answer.json()["similar"]) == 3


@pytest.mark.parametrize(
    "crop", ["0,0,1,1.5", "0.5,0,0.5,1", "0.9,0,0.1,1", "-1,0,1,1", "a,b,c,d", "0,0,1", "nan,0,1,1"]
)
def test_a_crop_outside_the_photo_is_refused(client: TestClient, crop: str) -> None:
    with pytest.raises(InvalidQuestionError, match="left,top,right,bottom"):
        parse_crop(crop)
    photo = {"photo": ("a.png", png(Image.new("RGB", (60, 40), "red")))}
    answer = client.post("/api/similar", params={"crop": crop}, files=photo)
    assert answer.status_code == 422
    assert "such as 0.25,0,0.75,0.5." in answer.json()["detail"]


@pytest.fixture
def from_database(
    reproduced: Project, catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Recommender]:
    url = str(tmp_path_factory.mktemp("qdrant") / "folder")
    client = qdrant.connect(url)
    qdrant_export.export(client, url, catalogue, qdrant.collection_name(fingerprints(reproduced.folder)))
    monkeypatch.setenv(qdrant.URL_VARIABLE, url)
    monkeypatch.setattr(qdrant, "connect", lambda _: client)
    yield Recommender(reproduced.folder)
    client.close()


def test_a_database_answers_them_likewise(recommender: Recommender, from_database: Recommender, ids: list[str]) -> None:
    photo = Photo((ROOT / "docs/example.jpg").read_bytes())
    for question in (
        Question(like=(ids[0], ids[5]), unlike=(ids[9],)),
        Question(like=(ids[3],), words="red -old"),
        Question(photo=photo, words="small", like=(ids[4],)),
        Question(words="red -chair"),
        Question(like=(ids[0],), words="-red", diversity=0.4),
    ):
        expected = recommender.ask(question)
        answer = from_database.ask(question)
        assert ids_of(answer.similar) == ids_of(expected.similar)
        assert [one.score for one in answer.similar] == pytest.approx([one.score for one in expected.similar], abs=1e-4)
