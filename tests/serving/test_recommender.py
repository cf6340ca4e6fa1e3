"""Questions to a finished pipeline, in the library."""

import io
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from helpers.filters import example_filters, passes
from helpers.paths import ROOT
from helpers.photos import photo_files, png_of
from helpers.project import Project
from PIL import Image

from marketplace.photos.codec import decode
from marketplace.recommendation.catalogue import read_catalogue
from marketplace.recommendation.filters import Filters
from marketplace.recommendation.fingerprints import RECOMMENDATIONS, fingerprints
from marketplace.recommendation.index import write_index
from marketplace.recommendation.origin import origin_of
from marketplace.recommendation.products import products_of
from marketplace.recommendation.similarity import Weights
from marketplace.recommendation.table import write_recommendations
from marketplace.serving.answers import Answer, Order, UnknownProductError
from marketplace.serving.explanation import compute_heat
from marketplace.serving.photos import SIZES
from marketplace.serving.question import Photo, Question
from marketplace.serving.recommender import Recommender
from marketplace.serving.uploads import read_square
from marketplace.vectors.tables import read_embeddings
from marketplace.vectors.unit_length import to_unit_length


def ask_about(recommender: Recommender, content: bytes, k: int) -> Answer:
    return recommender.ask(Question(photo=Photo(content), k=k))


def test_the_index_answers_what_the_table_says(recommender: Recommender, reproduced: Project) -> None:
    listed = pd.read_parquet(reproduced.folder / "data/recommendations.parquet")
    for product_id, rows in list(listed.groupby("product_id"))[:20]:
        found = recommender.similar_to_product(str(product_id), k=10)
        assert [similar.product.product_id for similar in found] == rows["similar_product_id"].tolist()
        np.testing.assert_allclose([similar.score for similar in found], rows["score"], atol=1e-5)
        assert [similar.same_photo for similar in found] == rows["same_photo"].tolist()


def test_questions_do_not_read_the_tables_of_vectors(copy_of_reproduced: Project, recommender: Recommender) -> None:
    """They would take several times the memory of the indexes."""
    for name in ("data/embeddings.parquet", "data/text_embeddings.parquet"):
        (copy_of_reproduced.folder / name).unlink()
    without_tables = Recommender(copy_of_reproduced.folder)
    photo = Photo((ROOT / "docs/example.jpg").read_bytes())
    product_id = recommender.find("", Filters())[0]
    asked = recommender.products(np.array([product_id]))[0].product_id
    for question in (Question(like=(asked,), k=5), Question(words="red print", k=5), Question(photo=photo, k=5)):
        assert without_tables.ask(question) == recommender.ask(question)


@pytest.mark.parametrize("factory", ["HNSW16", "IVF4,Flat", "SQ8", "PCA32,IVF2,SQ8", "IVF4,SQ8,RFlat"])
def test_approximate_indexes_answer_under_filters_too(
    copy_of_reproduced: Project, table: pd.DataFrame, factory: str
) -> None:
    folder = copy_of_reproduced.folder
    catalogue = read_catalogue(folder)
    path = folder / "data/recommendations.parquet"
    origin = origin_of(path)
    write_index(folder / "models/similar.index", catalogue.parts.join(), factory)
    batches = pq.read_table(path).replace_schema_metadata().to_batches()
    write_recommendations(path, iter(batches), replace(origin, made_with=fingerprints(folder)))
    approximate = Recommender(folder)
    category = table["category"].iloc[0]
    found = approximate.similar_to_product(table["product_id"].iloc[0], 3, Filters(category=category))
    assert {similar.product.category.split(" / ")[0] for similar in found} == {category}


def test_a_photo_of_the_catalogue_finds_its_product_first(
    recommender: Recommender, reproduced: Project, table: pd.DataFrame
) -> None:
    for row in (0, 7, 30):
        found = ask_about(recommender, png_of(reproduced, row), k=3).same
        assert found[0].product.product_id in set(table.loc[table["sha256"] == table["sha256"][row], "product_id"])
        assert found[0].score > 0.99


def test_a_file_of_the_catalogue_is_recognised(
    recommender: Recommender, reproduced: Project, table: pd.DataFrame
) -> None:
    photos = photo_files(reproduced)
    answer = ask_about(recommender, photos[f"{table['image_id'][0]}.jpg"], k=5)
    assert answer.same[0].same_photo
    assert answer.same[0].product.product_id == table["product_id"][0]
    assert not any(similar.same_photo for similar in [*answer.same[1:], *answer.similar])
    assert not any(similar.same_photo for similar in ask_about(recommender, png_of(reproduced, 0), k=5).same)


def test_a_photo_is_compared_by_the_words_that_it_lets_one_expect(
    recommender: Recommender, reproduced: Project, table: pd.DataFrame
) -> None:
    content = (ROOT / "docs/example.jpg").read_bytes()
    embedded = recommender._models.image(read_square(Photo(content), recommender._models.image.size)[None])
    catalogue = read_catalogue(reproduced.folder)
    parts = catalogue.parts
    settings = recommender.settings
    looks = (parts.kind @ embedded.kind[0] + parts.title @ embedded.title[0]) / 2
    nearest = np.argsort(-looks)[: settings.lookalikes.count]
    shares = np.exp((looks[nearest] - looks.max()) / settings.lookalikes.temperature)
    shares /= shares.sum()
    share = settings.lookalikes.share

    def blend(own: np.ndarray, others: np.ndarray) -> np.ndarray:
        return to_unit_length((1 - share) * own + share * to_unit_length(shares @ others[nearest]))

    expected_text = np.zeros(parts.text.shape[1])
    expected_text[: embedded.title.shape[1]] = embedded.title[0]
    expected_path = (1 - share) * embedded.path[0] + share * shares @ parts.path[nearest]
    weights = settings.weights.photo.normalised()
    scores = weights.kind * parts.kind @ embedded.kind[0]
    scores += weights.text * parts.text @ blend(expected_text, parts.text)
    scores += weights.title * parts.title @ blend(embedded.title[0], parts.title)
    scores += weights.path * parts.path @ expected_path
    number_of = catalogue.products.number_of
    answer = ask_about(recommender, content, k=8)
    for similar in answer.similar:
        assert similar.score == pytest.approx(scores[number_of[similar.product.product_id]], abs=1e-4)
    assert [one.score for one in answer.similar] == sorted((one.score for one in answer.similar), reverse=True)
    cosines = catalogue.vectors.identity @ embedded.identity[0]
    best = np.maximum.reduceat(cosines[catalogue.products.photos], catalogue.products.starts)
    cosine = origin_of(reproduced.folder / RECOMMENDATIONS).same_item_cosine
    assert [one.score for one in answer.same] == pytest.approx(
        sorted((best[number_of[one.product.product_id]] for one in answer.same), reverse=True), abs=1e-4
    )
    assert all(one.score >= cosine for one in answer.same)
    names = json.loads((reproduced.folder / "data/clean/categories.json").read_text())["decode"]
    likely = dict(zip(names, embedded.category[0].tolist(), strict=True))
    assert sum(likely.values()) == pytest.approx(1, abs=1e-4)
    assert [one.category for one in answer.visible] == sorted(likely, key=lambda name: -likely[name])[:3]


def test_filters_hold(recommender: Recommender, table: pd.DataFrame) -> None:
    query = table["product_id"].iloc[0]
    products = products_of(table)
    group_of = dict(zip(products.table["product_id"], products.groups.tolist(), strict=True))
    for filters in example_filters(products.table):
        found = recommender.similar_to_product(query, len(table), filters)
        ids = [similar.product.product_id for similar in found]
        allowed = set(products.table.loc[passes(products.table, filters), "product_id"]) - {query}
        assert set(ids) <= allowed
        groups = [group_of[product_id] for product_id in ids]
        assert sorted(groups) == sorted({group_of[product_id] for product_id in allowed})  # one of each


def test_words_find_names_by_spelling_and_meaning(recommender: Recommender, table: pd.DataFrame) -> None:
    name = table["product_name"].iloc[0]
    for words in (name, name.upper(), name.replace("e", "ee", 1)):
        found = recommender.products(recommender.find(words, Filters())[:5])
        assert found[0].name == name
    similar = recommender.ask(Question(words=name, k=5)).similar
    assert similar[0].product.name == name
    assert [one.score for one in similar] == sorted((one.score for one in similar), reverse=True)
    category = table["category"].iloc[-1]
    filtered = recommender.ask(Question(words=name, k=5, filters=Filters(category=category))).similar
    assert {one.product.category.split(" / ")[0] for one in filtered} == {category}


def test_the_correction_of_a_search_leaves_out_words_that_are_not_wanted(
    client: TestClient, table: pd.DataFrame
) -> None:
    word = max(table["product_name"].iloc[0].split(), key=len).lower()
    misspelt = word[:-2] + word[-1]
    for words in (misspelt, f"{misspelt} -zebra"):
        answer = client.get("/api/products", params={"words": words}).json()
        assert answer["corrected"] == client.get("/api/similar", params={"words": words}).json()["corrected"]
        assert answer["corrected"] == word


def test_without_words_the_whole_catalogue_is_listed(recommender: Recommender, table: pd.DataFrame) -> None:
    assert not len(recommender.find("zzqx wvvk", Filters()))
    listed = recommender.products(recommender.find(" ", Filters()))
    assert [product.product_id for product in listed] == sorted(table["product_id"].unique())


def test_search_finds_categories_places_and_ids(recommender: Recommender, table: pd.DataFrame) -> None:
    category, location = table["category"].iloc[0], table["location"].iloc[0]
    for words, column in ((category.upper(), "category"), (category[:-1], "category"), (location, "location")):
        found = recommender.products(recommender.find(words, Filters()))
        wanted = set(table.loc[table[column] == (category if column == "category" else location), "product_id"])
        assert wanted <= {product.product_id for product in found}, words
    product_id = table["product_id"].iloc[0]
    assert recommender.products(recommender.find(product_id, Filters()))[0].product_id == product_id


def test_prices_order_the_catalogue(recommender: Recommender) -> None:
    orders: list[tuple[Order, int]] = [("cheapest", 1), ("dearest", -1)]
    for order, sign in orders:
        prices = [one.price for one in recommender.products(recommender.find("", Filters(), order))]
        known = [sign * price for price in prices if price is not None]
        usual = [price for price in known if abs(price) < 10**6]
        assert known[: len(usual)] == sorted(usual) and len(usual) == len(known) - 1
        assert prices[len(known) :] == [None] * (len(prices) - len(known))


def test_heat_is_where_two_photos_show_the_same_thing() -> None:
    """One thing in different corners of two photos, beside things that only one of them shows."""
    things = np.eye(9, dtype=np.float32)
    maps = np.stack([things[[1, 2, 0, 3]], things[[4, 5, 6, 0]]]).reshape(2, 2, 2, 9)
    kinds = np.hstack([maps.mean(axis=(1, 2)), np.ones((2, 3), np.float32)])  # and categories, which have no place
    one, other = compute_heat(maps, kinds)
    assert one.tolist() == [[0, 0], [1, 0]]
    assert other.tolist() == [[0, 0], [0, 1]]


def test_heat_is_the_same_from_either_side(recommender: Recommender, client: TestClient, table: pd.DataFrame) -> None:
    query = table["product_id"].iloc[0]
    other = recommender.similar_to_product(query, 1)[0].product.product_id
    there, back = recommender.heat(query, other), recommender.heat(other, query)
    np.testing.assert_allclose(there.image, back.similar_image, atol=2e-3)
    np.testing.assert_allclose(there.similar_image, back.image, atol=2e-3)
    assert max(max(map(max, there.image)), max(map(max, there.similar_image))) == 1
    assert client.get(f"/api/products/{query}/similar/{other}/heat").json() == asdict(there)
    assert client.get(f"/api/products/{query}/similar/nothing/heat").status_code == 404


def test_an_explanation_adds_up_to_the_score(recommender: Recommender, table: pd.DataFrame) -> None:
    vectors = read_embeddings(recommender._root / "data/embeddings.parquet", table).kind
    row_of = {image_id: row for row, image_id in enumerate(table["image_id"])}
    for product_id in table["product_id"].unique()[:8]:
        for similar in recommender.similar_to_product(product_id, 3):
            why = recommender.explanation(product_id, similar.product.product_id)
            assert why.score == pytest.approx(similar.score, abs=1e-5)
            assert why.similar_image_id == similar.image_id
            assert why.image_id in recommender.product(product_id).image_ids
            cosine = vectors[row_of[why.image_id]] @ vectors[row_of[why.similar_image_id]]
            pairs = (
                product_kinds(vectors, table, product_id) @ product_kinds(vectors, table, similar.product.product_id).T
            )
            assert cosine == pytest.approx(pairs.max(), abs=1e-5)
            weights = [part.weight for part in why.parts.values()]
            assert sum(weights) == pytest.approx(1)
            other_weights = Weights(kind=1, text=0, title=0, path=0)
            looks = recommender.explanation(product_id, similar.product.product_id, other_weights)
            assert looks.score == pytest.approx(why.parts["kind"].similarity, abs=1e-5)
            texts = [recommender.product(one).name.casefold() for one in (product_id, similar.product.product_id)]
            asked = recommender.product(product_id).description.casefold()
            assert all(word in texts[0] or word in asked for word in why.words)


def product_kinds(vectors: np.ndarray, table: pd.DataFrame, product_id: str) -> np.ndarray:
    return vectors[np.flatnonzero(table["product_id"] == product_id)]


def test_a_question_may_bring_its_own_weights(recommender: Recommender, table: pd.DataFrame) -> None:
    query = table["product_id"].iloc[0]
    parts = read_catalogue(recommender._root).parts
    number = sorted(table["product_id"].unique()).index(query)
    expected = parts.title @ parts.title[number]
    similar = recommender.similar_to_product(query, 5, weights=Weights(kind=0, text=0, title=3, path=0))
    ids = sorted(table["product_id"].unique())
    for answer in similar:
        assert answer.score == pytest.approx(expected[ids.index(answer.product.product_id)], abs=1e-5)
        assert answer.probability is None
    expected[number] = -1
    assert similar[0].score == pytest.approx(expected.max(), abs=1e-5)


def test_probabilities_and_close_matches_are_those_of_the_table(recommender: Recommender, table: pd.DataFrame) -> None:
    recommended = pd.read_parquet(recommender._root / RECOMMENDATIONS)
    for product_id in table["product_id"].unique()[:5]:
        rows = recommended[recommended["product_id"] == product_id]
        similar = recommender.similar_to_product(product_id, 10)
        np.testing.assert_allclose(
            [np.nan if answer.probability is None else answer.probability for answer in similar],
            rows["probability"].astype(float),
            atol=1e-3,
        )
        assert [answer.close for answer in similar] == rows["close"].tolist()


def test_photos_keep_their_shape_and_come_in_sizes(
    recommender: Recommender, reproduced: Project, table: pd.DataFrame
) -> None:
    files = photo_files(reproduced)
    for row in range(0, len(table), 17):
        original = decode(files[table["file"].iloc[row]])
        for size in (100, 320):
            shown = Image.open(io.BytesIO(recommender.photos.jpeg(table["image_id"].iloc[row], size)))
            longer = min(max(original.size), next(one for one in SIZES if one >= size))
            assert max(shown.size) == longer
            assert shown.width / shown.height == pytest.approx(original.width / original.height, rel=0.02)


def test_an_unknown_product_brings_the_nearest_ids(recommender: Recommender, table: pd.DataFrame) -> None:
    known = table["product_id"].iloc[0]
    with pytest.raises(UnknownProductError, match=known) as raised:
        recommender.product(known[:-1] + "x")
    assert raised.value.nearest[0] == known


def test_questions_wait_for_models_that_are_still_being_read(reproduced: Project, recommender: Recommender) -> None:
    words_question = Question(words="red", k=5)
    photo_question = Question(photo=Photo(png_of(reproduced, 0)), k=5)
    fresh = Recommender(reproduced.folder)
    fresh.load()
    with ThreadPoolExecutor(8) as threads:
        loading = threads.submit(fresh.load_models)
        words = [threads.submit(fresh.ask, words_question) for _ in range(3)]
        photos = [threads.submit(fresh.ask, photo_question) for _ in range(3)]
        loading.result()
    assert [asked.result() for asked in words] == [recommender.ask(words_question)] * 3
    assert [asked.result() for asked in photos] == [recommender.ask(photo_question)] * 3


def test_the_lines_of_the_docs_embed_a_photo_without_this_package(
    reproduced: Project, table: pd.DataFrame, tmp_path: Path
) -> None:
    (lines,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/PAGE.md").read_text(), re.DOTALL)
    (tmp_path / "models").symlink_to(reproduced.folder / "models")
    vectors = np.stack(pd.read_parquet(reproduced.folder / "data/embeddings.parquet")["identity"])
    photos = photo_files(reproduced)
    for row in (0, 50):
        (tmp_path / "photo.jpg").write_bytes(photos[f"{table['image_id'][row]}.jpg"])
        script = f"{lines}\nassert 'marketplace' not in __import__('sys').modules\nprint(*identity[0])"
        done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, text=True, capture_output=True, check=True)
        vector = np.array(done.stdout.split(), dtype=np.float32)
        assert vector @ vectors[row] > 0.98
