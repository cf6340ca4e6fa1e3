"""The text model: meaning and spelling, for any words, and without this repository."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from textwrap import dedent

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from marketplace.common.errors import MarketplaceError
from marketplace.texts.listing_text import MAX_CHARACTERS, plain_text
from marketplace.texts.sentence_model import open_sentence_model
from marketplace.texts.text_model import TextModel, fit_text_model

TITLES = [
    "Oak coffee table",
    "Wooden side table, solid oak",
    "Mountain bike 26 inch",
    "Road bicycle, carbon frame",
    "Samsung Galaxy S21 phone",
    "Samsung Galaxy S20 128GB",
    "Baby pushchair and car seat",
    "Child's pram",
]

LISTINGS = [*TITLES, "", "the and of", *(" ".join(["lamp", "shade", "oak"][: 1 + n % 3] * n) for n in range(1, 40, 3))]


@pytest.fixture(scope="module")
def folder(sentence_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text") / "text_model"
    fit_text_model(folder, sentence_model, TITLES, max_tokens=64, meaning_weight=0.75)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> TextModel:
    return TextModel(folder)


def best_title(model: TextModel, words: str) -> str:
    return TITLES[int((model(TITLES) @ model([words])[0]).argmax())]


@pytest.mark.parametrize(
    ("words", "title"),
    [
        ("bicycle with a light frame", "Road bicycle, carbon frame"),
        ("pushbike for hills", "Mountain bike 26 inch"),
        ("samsng galxy s21", "Samsung Galaxy S21 phone"),
        ("cofee tables", "Oak coffee table"),
    ],
)
def test_words_find_titles_by_meaning_and_by_spelling(model: TextModel, words: str, title: str) -> None:
    assert best_title(model, words) == title


@pytest.mark.parametrize(
    "text", ["sofa", "стол из дуба", "🛋️", "<b>Oak</b>&nbsp;table", "x" * 100_000, "the and of", "\x00\x01 table"]
)
def test_any_text_has_a_vector_of_length_1(model: TextModel, text: str) -> None:
    (vector,) = model([text])
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_no_words_are_similar_to_nothing(model: TextModel) -> None:
    vectors = model(["", "  ", "Oak coffee table"])
    assert not vectors[:2].any()


def test_a_vector_does_not_depend_on_the_other_texts(
    model: TextModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARKETPLACE_CACHE", str(tmp_path))
    alone = np.vstack([model([text]) for text in LISTINGS])
    np.testing.assert_array_equal(model(LISTINGS), alone)
    np.testing.assert_allclose(model.embed_catalogue(LISTINGS), alone, atol=5e-3)  # the layers' outputs may be rounded


@hypothesis_settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stored=st.sets(st.sampled_from(LISTINGS), min_size=1), order=st.permutations(LISTINGS))
def test_vectors_of_a_catalogue_do_not_depend_on_which_were_stored(
    model: TextModel, stored: set[str], order: list[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setenv("MARKETPLACE_CACHE", f"{folder}/one")
        expected = dict(zip(order, model.embed_catalogue(order), strict=True))
        patch.setenv("MARKETPLACE_CACHE", f"{folder}/other")
        model.embed_catalogue(sorted(stored))
        again = model.embed_catalogue(LISTINGS)
        np.testing.assert_array_equal(again, [expected[text] for text in LISTINGS])


def test_only_new_texts_are_computed(
    model: TextModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MARKETPLACE_CACHE", str(tmp_path))
    caplog.set_level("INFO", "marketplace")
    model.embed_catalogue([*TITLES, TITLES[0]])
    model.embed_catalogue([*TITLES, "Garden gnome"])
    assert "texts: 8 of 8 are new" in caplog.text
    assert "texts: 1 of 9 are new" in caplog.text


def test_a_catalogue_without_any_title_still_gives_a_model(sentence_model: Path, tmp_path: Path) -> None:
    fit_text_model(tmp_path / "text_model", sentence_model, ["", ""], max_tokens=64, meaning_weight=0.75)
    model = TextModel(tmp_path / "text_model")
    assert np.linalg.norm(model(["oak table"])) == pytest.approx(1, abs=1e-5)
    assert not model([""]).any()


def test_the_similarity_of_two_texts_is_a_weighted_mean_of_meaning_and_spelling(
    sentence_model: Path, tmp_path: Path
) -> None:
    similarities = {}
    for weight in (0.0, 0.6, 1.0):
        folder = tmp_path / str(weight)
        fit_text_model(folder, sentence_model, TITLES, max_tokens=64, meaning_weight=weight)
        vectors = TextModel(folder)(TITLES)
        similarities[weight] = vectors @ vectors.T
    expected = 0.6 * similarities[1.0] + 0.4 * similarities[0.0]
    np.testing.assert_allclose(similarities[0.6], expected, atol=1e-5)


def test_the_meaning_of_a_text_is_taken_from_its_first_tokens(sentence_model: Path, tmp_path: Path) -> None:
    fit_text_model(tmp_path / "text_model", sentence_model, TITLES, max_tokens=5, meaning_weight=1.0)
    model = TextModel(tmp_path / "text_model")
    short, long, longest = model(["oak coffee table", "oak coffee table sofa", "oak coffee table for two"])
    np.testing.assert_allclose(long, short, atol=1e-5)  # [CLS] and [SEP] count
    np.testing.assert_allclose(longest, short, atol=1e-5)
    tokenizer = Tokenizer.from_file(str(tmp_path / "text_model" / "tokenizer.json"))
    assert tokenizer.encode("oak coffee table sofa").tokens[:5] == ["[CLS]", "oak", "coffee", "table", "[SEP]"]


@pytest.mark.parametrize(
    "text",
    ["Ｏａｋ ｃｏｆｆｅｅ ｔａｂｌｅ", "𝓞𝓪𝓴 𝓬𝓸𝓯𝓯𝓮𝓮 𝓽𝓪𝓫𝓵𝓮", "<style>p {}</style><p>Oak cof\u00adfee table</p>"],
)
def test_the_same_words_in_other_letters_or_with_markup_have_the_same_vector(model: TextModel, text: str) -> None:
    np.testing.assert_allclose(model([text]), model(["Oak coffee table"]), atol=1e-5)


def test_html_and_length_are_cut_before_anything_is_compared() -> None:
    assert plain_text("<p>Oak &amp; pine<br/>table</p>") == "Oak & pine table"
    assert plain_text("table < 2 m") == "table < 2 m"
    assert plain_text("a < b and c > d") == "a < b and c > d"
    assert len(plain_text("word " * 100_000)) <= MAX_CHARACTERS


def test_the_sentence_model_runs_without_this_repository(folder: Path, model: TextModel) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    session = onnxruntime.InferenceSession(str(folder / "sentence.onnx"))
    pram, stroller, table = (
        session.run(None, {"ids": np.array([tokenizer.encode(text).ids])})[0][0]
        for text in ("Child's pram", "stroller for a toddler", "oak table")
    )
    assert pram @ stroller > pram @ table + 0.1  # without a word in common
    assert not [path for path in folder.iterdir() if path.suffix in {".pkl", ".joblib", ".pt"}]


def test_texts_need_no_pytorch(tmp_path: Path) -> None:
    code = f"""
        import sys
        from pathlib import Path
        from marketplace.pretrained.sentence_model import INSTALLED, write_sentence_model
        from marketplace.texts.text_model import TextModel, fit_text_model
        write_sentence_model(Path("sentence_model"), INSTALLED)
        fit_text_model(Path("text_model"), Path("sentence_model"), {TITLES}, max_tokens=64, meaning_weight=0.75)
        assert TextModel(Path("text_model"))(["oak table"]).any()
        print({{"torch", "transformers", "onnxscript"}} & set(sys.modules))
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)], cwd=tmp_path, text=True, capture_output=True, check=True
    )
    assert done.stdout == "set()\n"


def test_a_damaged_sentence_model_is_an_error_of_one_sentence(sentence_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sentence_model"
    shutil.copytree(sentence_model, folder)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(MarketplaceError, match=rf"{folder} cannot be read .*: delete {folder}, then run `dvc repro`"):
        open_sentence_model(folder, max_tokens=64)


def test_a_damaged_model_is_an_error_of_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MarketplaceError, match=r"cannot be read .*: delete .*, then run `dvc repro`"):
        TextModel(tmp_path)
