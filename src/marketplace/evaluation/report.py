"""The evaluation on the test split: classifying categories, and finding similar products."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support, top_k_accuracy_score

from marketplace.common.files import replacing, write_json
from marketplace.compute.arrays import Images
from marketplace.embedding.extraction import fit_projections
from marketplace.embedding.projection import ExtractSettings
from marketplace.evaluation.contact_sheets import first_of_each, mistakes_sheet, similar_sheet, worst_mistakes
from marketplace.evaluation.retrieval import CURVE, asked, neighbours, normalised, recall_curve, retrieval_metrics
from marketplace.inference.outputs import network_outputs
from marketplace.models import checkpoints
from marketplace.vectors.tables import PhotoVectors, hub_bias

log = logging.getLogger(__name__)
SHOWN = ("accuracy", "same_product_recall_at_1", "same_product_recall_at_10", "leaf_precision_at_10")


@dataclass(frozen=True)
class Evaluation:
    """The metrics, the tables behind them, and two sheets of photos."""

    metrics: dict[str, float | dict[str, float]]
    confusion: pd.DataFrame  # actual, predicted, images: a row for every pair of categories that occurs
    per_category: pd.DataFrame  # category, images, precision, recall, f1
    recall_at_k: pd.DataFrame  # k, tuned, untouched, untouched_projected: same-product recall
    similar: Image.Image  # some test photos and their nearest neighbours
    mistakes: Image.Image  # the test photos that were most surely taken for another category

    def write(self, metrics: Path, folder: Path) -> None:
        """Write the metrics to `metrics`, the tables (as JSON lists of rows) and the sheets to `folder`."""
        for name in ("confusion", "per_category", "recall_at_k"):
            write_json(folder / f"{name}.json", getattr(self, name).to_dict("records"))
        for name in ("similar", "mistakes"):
            with replacing(folder / f"{name}.jpg") as part:
                getattr(self, name).save(part, format="JPEG", quality=88)
        write_json(metrics, self.metrics)
        shown = {name: self.metrics[name] for name in SHOWN if name in self.metrics}
        log.info("test split: %s", ", ".join(f"{name} {value:.3f}" for name, value in shown.items()))


def evaluate(
    tuned: checkpoints.Checkpoint,
    pretrained: checkpoints.Checkpoint,
    table: pd.DataFrame,
    vectors: PhotoVectors,
    images: Images,
    settings: ExtractSettings,
) -> Evaluation:
    """Evaluate on the test split, beside the ImageNet network without any fine-tuning.

    `untouched` is that network as it is, `untouched_projected` has the projections of `extract` fitted for it alone.
    `table` is the training data, `vectors` are its photos', `images` `(N, S, S, 3) uint8` are full-sized.
    """
    test = np.flatnonzero(table["split"] == "test")
    names = _categories(tuned, table)
    labels, every = table["category"].map(names.index).to_numpy()[test], np.arange(len(names))
    known = category_probabilities(tuned, images, mirrored=settings.mirrored)[test]
    probabilities = np.pad(known, ((0, 0), (0, len(names) - known.shape[1])))
    predicted = probabilities.argmax(axis=1)
    queries = asked(test)
    found = {
        "tuned": neighbours(vectors, table, queries),
        **{name: neighbours(other, table, queries) for name, other in _untouched(pretrained, table, images, settings)},
    }
    classified = {
        "accuracy": accuracy_score(labels, predicted),
        "top3_accuracy": top3_accuracy(labels, probabilities),
        "macro_f1": f1_score(labels, predicted, labels=every, average="macro", zero_division=0),
    }
    metrics: dict[str, float | dict[str, float]] = {
        **_rounded(classified | retrieval_metrics(found["tuned"], table, queries)),
        **{name: _rounded(retrieval_metrics(found[name], table, queries)) for name in found if name != "tuned"},
    }
    curves = {name: recall_curve(ranked, table, queries) for name, ranked in found.items()}
    recall_at_k = pd.DataFrame({"k": range(1, CURVE + 1)} | curves).round(5).dropna()
    pairs = pd.DataFrame(
        {"actual": [names[label] for label in labels], "predicted": [names[label] for label in predicted]}
    )
    confusion = pairs.value_counts().rename("images").reset_index().sort_values(["actual", "predicted"])
    precision, recall, f1, images_of = precision_recall_fscore_support(labels, predicted, labels=every, zero_division=0)
    per_category = pd.DataFrame(
        {"category": names, "images": images_of, "precision": precision, "recall": recall, "f1": f1}
    )
    similar = similar_sheet(images, table, vectors.kind, first_of_each(table, n=6))
    mistakes = mistakes_sheet(images, table, worst_mistakes(table, test, probabilities), names)
    return Evaluation(metrics, confusion, per_category.round(4), recall_at_k, similar, mistakes)


def _categories(tuned: checkpoints.Checkpoint, table: pd.DataFrame) -> list[str]:
    """The categories that the network knows, then those that came later: their photos all count as mistakes."""
    known = tuned["categories"]
    new = sorted(set(table["category"]) - set(known))
    if new:
        log.warning("the model was trained before there were %s: their photos count as mistakes", ", ".join(new))
    return [*known, *new]


@torch.inference_mode()
def _untouched(
    pretrained: checkpoints.Checkpoint, table: pd.DataFrame, images: Images, settings: ExtractSettings
) -> Iterator[tuple[str, PhotoVectors]]:
    """The vectors of the untouched network: as it is, and with the projections fitted for it."""
    network = checkpoints.network_of(pretrained, n_categories=1)
    plain = normalised(network_outputs(network, images).embeddings.numpy())
    yield "untouched", PhotoVectors(plain, plain, np.zeros(len(plain), np.float32))
    outputs = network_outputs(network, images, mirrored=settings.mirrored)
    identity, kind = (vectors.numpy() for vectors in fit_projections(outputs, table, settings)(outputs))
    bias = hub_bias(identity, table["sha256"].to_numpy())
    yield "untouched_projected", PhotoVectors(identity=identity, kind=kind, hub_bias=bias)


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(float(value), 5) for name, value in values.items() if np.isfinite(value)}


@torch.inference_mode()
def category_probabilities(checkpoint: checkpoints.Checkpoint, images: Images, *, mirrored: bool = False) -> np.ndarray:
    """The network's softmax `(N, n_categories) float32` for images `(N, S, S, 3) uint8`.

    `mirrored`: of embeddings that are averaged with those of the mirror image, as `extract` does.
    """
    network = checkpoints.network_of(checkpoint, len(checkpoint["categories"]))
    embeddings = network_outputs(network, images, mirrored=mirrored).embeddings
    logits = network.cpu().head(embeddings)
    probabilities: np.ndarray = logits.softmax(dim=1).numpy()
    return probabilities


def top3_accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Share of images whose category is among the three most probable; 1 if there are no more than three."""
    n_categories = probabilities.shape[1]
    if n_categories <= 3:
        return 1.0
    return float(top_k_accuracy_score(labels, probabilities, k=3, labels=np.arange(n_categories)))
