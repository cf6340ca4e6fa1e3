"""Sentence models from a package and from folders, as people export them."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import quantize_dynamic
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from marketplace.common.errors import MarketplaceError
from marketplace.pretrained.sentence_model import INSTALLED, write_sentence_model
from marketplace.texts.sentence_model import open_sentence_model

WORDS = ["[UNK]", "[PAD]", "rotes", "Sofa", "Tisch", "und"]
TABLE = np.random.default_rng(0).normal(size=(len(WORDS), 4)).astype(np.float32)  # a vector for each word
MEAN = "last_hidden_state = Gather (table, input_ids)"
# Two layers, and a mask that counts: what is added to all tokens is a sum over the tokens that are no padding.
ATTENTION = """
    words = Gather (table, input_ids)
    mixed = MatMul (words, square)
    weights = Cast <to = 1> (attention_mask)
    rows = Unsqueeze <axes = [1]> (weights)
    sums = MatMul (rows, mixed)
    last_hidden_state = Add (words, sums)
"""


def save_network(
    path: Path,
    nodes: str = MEAN,
    *,
    inputs: str = "int64[N,L] input_ids, int64[N,L] attention_mask, int64[N,L] token_type_ids",
    outputs: str = "float[N,L,4] last_hidden_state",
    opset: int = 11,
) -> None:
    """Save a network as ONNX's text form describes it, with the constants `table` and `square`."""
    header = f'<ir_version: 7, opset_import: ["": {opset}]>'
    model = onnx.parser.parse_model(f"{header} network ({inputs}) => ({outputs}) {{ {nodes} }}")
    for name, value in (("table", TABLE), ("square", TABLE[:4])):
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


def save_tokenizer(folder: Path, words: list[str] = WORDS) -> None:
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with a model."""
    save_network(tmp_path / "source/model.onnx")
    save_tokenizer(tmp_path / "source")
    return tmp_path / "source"


def embed(source: Path, *texts: str) -> np.ndarray:
    """The vectors that the pipeline gives texts with the model of a folder."""
    folder = source.with_name("written")
    write_sentence_model(folder, str(source))
    return open_sentence_model(folder, max_tokens=16)(list(texts))


def mean(*words: str) -> np.ndarray:
    total = TABLE[[WORDS.index(word) for word in words]].sum(axis=0)
    return total / np.linalg.norm(total)


def test_the_tokens_of_a_text_are_averaged_without_its_padding(source: Path) -> None:
    vectors = embed(source, "rotes Sofa", "Tisch", "rotes Sofa und Tisch")
    np.testing.assert_allclose(vectors[0], mean("rotes", "Sofa"), atol=1e-6)
    np.testing.assert_allclose(vectors[1], mean("Tisch"), atol=1e-6)
    np.testing.assert_allclose(vectors[2], mean("rotes", "Sofa", "und", "Tisch"), atol=1e-6)


@pytest.mark.parametrize("opset", [9, 11, 13, 17, 21])
@pytest.mark.parametrize(
    "inputs",
    [
        "int64[N,L] input_ids, int64[N,L] attention_mask",
        "int32[N,L] attention_mask, int32[N,L] input_ids, int32[N,L] token_type_ids",
    ],
)
def test_exports_of_all_times_are_read(source: Path, inputs: str, opset: int) -> None:
    save_network(source / "model.onnx", inputs=inputs, opset=opset)
    np.testing.assert_allclose(embed(source, "rotes Sofa"), [mean("rotes", "Sofa")], atol=1e-6)


def test_a_network_that_pools_itself_is_left_to_do_so(source: Path) -> None:
    nodes = """
        token_embeddings = Gather (table, input_ids)
        first = Constant <value_int = 0> ()
        sentence_embedding = Gather <axis = 1> (token_embeddings, first)
    """
    outputs = "float[N,L,4] token_embeddings, float[N,4] sentence_embedding"
    save_network(source / "model.onnx", nodes, outputs=outputs, opset=13)
    np.testing.assert_allclose(embed(source, "rotes Sofa", "Tisch"), [mean("rotes"), mean("Tisch")], atol=1e-6)


def test_half_precision_is_read(source: Path) -> None:
    nodes = f"words = Gather (table, input_ids) last_hidden_state = Cast <to = {onnx.TensorProto.FLOAT16}> (words)"
    save_network(source / "model.onnx", nodes, outputs="float16[N,L,4] last_hidden_state")
    vectors = embed(source, "rotes Sofa")
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, [mean("rotes", "Sofa")], atol=1e-3)


def test_the_folder_may_be_one_of_sentence_transformers(source: Path) -> None:
    (source / "model.onnx").unlink()
    save_network(source / "onnx/model.onnx")
    modes = {"word_embedding_dimension": 4, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (source / "1_Pooling").mkdir()
    (source / "1_Pooling/config.json").write_text(json.dumps(modes))
    np.testing.assert_allclose(embed(source, "rotes Sofa", "Tisch"), [mean("rotes"), mean("Tisch")], atol=1e-6)


def test_the_padding_of_the_tokenizer_counts(source: Path) -> None:
    """In vocabularies of XLM-R, 0 begins a text and 1 is padding."""
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.enable_padding(pad_id=WORDS.index("und"), length=128)
    tokenizer.save(str(source / "tokenizer.json"))
    np.testing.assert_allclose(
        embed(source, "rotes Sofa und", "Tisch"), [mean("rotes", "Sofa"), mean("Tisch")], atol=1e-6
    )


Break = Callable[[Path], object]


def save_last_token(folder: Path) -> None:
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text('{"pooling_mode_lasttoken": true}')


def save_quantized(folder: Path) -> None:
    save_network(folder / "plain.onnx", ATTENTION, opset=11)
    quantize_dynamic(folder / "plain.onnx", folder / "model.onnx", op_types_to_quantize=["MatMul"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda folder: folder.rename(folder.with_name("away")), f"it is neither a folder nor {INSTALLED}"),
        (lambda folder: (folder / "model.onnx").unlink(), "there is no model.onnx or onnx/model.onnx in the folder"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "there is no tokenizer.json in the folder"),
        (lambda folder: (folder / "model.onnx").write_bytes(b"no network"), "Error parsing message"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "."),
        (lambda folder: save_tokenizer(folder, ["[UNK]", "Sofa"]), "has no padding, nor a token [PAD] or <pad>"),
        (
            lambda folder: save_network(folder / "model.onnx", inputs="int64[N,L] input_ids"),
            "it takes input_ids, where a sentence model takes input_ids, attention_mask and perhaps token_type_ids",
        ),
        (
            lambda folder: save_network(
                folder / "model.onnx", "logits = Gather (table, input_ids)", outputs="float[N,L,4] logits"
            ),
            "it gives logits, where a sentence model gives sentence_embedding or last_hidden_state or token_embeddings",
        ),
        (lambda folder: save_network(folder / "model.onnx", opset=8), "its ONNX opset is 8"),
        (save_last_token, "1_Pooling/config.json asks for pooling_mode_lasttoken, and known are"),
        (save_quantized, "its DynamicQuantizeLinear makes the vector of a text depend on the others of a batch"),
        (
            lambda folder: save_network(folder / "model.onnx", ATTENTION.replace("(attention_mask)", "(input_ids)")),
            "it does not leave out the padding of a text",
        ),
        (
            lambda folder: save_network(folder / "model.onnx", "last_hidden_state = Attention (table, input_ids)"),
            "OpenVINO cannot run it (-- Conversion is failed for: Attention",
        ),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_with_the_reason(source: Path, change: Break, reason: str) -> None:
    change(source)
    folder = source.with_name("written")
    with pytest.raises(
        MarketplaceError, match=re.escape(f"model.sentence_model = '{source}' cannot be used: ")
    ) as error:
        write_sentence_model(folder, str(source))
    assert reason in str(error.value)
    assert not folder.exists()


def test_a_mask_that_counts_is_used(source: Path) -> None:
    save_network(source / "model.onnx", ATTENTION, opset=11)
    together = embed(source, "rotes Sofa", "rotes Sofa und Tisch")
    np.testing.assert_allclose(together[:1], embed(source, "rotes Sofa"), atol=1e-6)


def test_the_installed_model_knows_that_a_pushchair_is_a_pram(tmp_path: Path) -> None:
    write_sentence_model(tmp_path / "model", INSTALLED)
    model = open_sentence_model(tmp_path / "model", max_tokens=64)
    pram, stroller, table = model(["Child's pram", "stroller for a toddler", "oak table"])
    assert pram @ stroller > pram @ table + 0.1
    tokenizer = Tokenizer.from_file(str(tmp_path / "model/tokenizer.json"))
    assert tokenizer.encode("Café TABLES").tokens == ["[CLS]", "cafe", "tables", "[SEP]"]
    assert tokenizer.encode("oak coffee table").ids == [101, 6116, 4157, 2795, 102]


def test_the_same_model_is_written_as_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_sentence_model(tmp_path / name, INSTALLED)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes()
