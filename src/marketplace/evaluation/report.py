"""The evaluation on the test split: classifying categories, and finding similar products."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support, top_k_accuracy_score

from marketplace.common.files import replacing, write_json
from marketplace.embedding.outputs import pooled
from marketplace.evaluation.contact_sheets import first_of_each, mistakes_sheet, similar_sheet, worst_mistakes
from marketplace.evaluation.retrieval import CURVE, neighbours, recall_curve, retrieval_metrics
from marketplace.models import checkpoints


@dataclass(frozen=True)
class Evaluation:
    """The metrics, the tables behind them, and two sheets of photos."""

    metrics: dict[str, float | dict[str, float]]
    confusion: pd.DataFrame  # actual, predicted, images: a row for every pair of categories that occurs
    per_category: pd.DataFrame  # category, images, precision, recall, f1
    recall_at_k: pd.DataFrame  # k, tuned, untouched: same-product recall
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


def evaluate(
    tuned: checkpoints.Checkpoint,
    pretrained: checkpoints.Checkpoint,
    table: pd.DataFrame,
    embeddings: np.ndarray,
    images: np.ndarray,
) -> Evaluation:
    """Evaluate on the test split; `untouched` is the ImageNet network without any fine-tuning.

    `table` is the training data, `embeddings` `(N, d)` its vectors, `images` `(N, S, S, 3) uint8` full-sized.
    """
    test = np.flatnonzero(table["split"] == "test")
    labels = table["label"].to_numpy()[test]
    probabilities = category_probabilities(tuned, images)[test]
    predicted = probabilities.argmax(axis=1)

    names = tuned["categories"]
    every = np.arange(len(names))
    untouched = pooled([checkpoints.network_of(pretrained, n_categories=1)], images).numpy()
    classified = {
        "accuracy": accuracy_score(labels, predicted),
        "top3_accuracy": top3_accuracy(labels, probabilities),
        "macro_f1": f1_score(labels, predicted, labels=every, average="macro", zero_division=0),
    }
    found = neighbours(embeddings, table, test)
    found_untouched = neighbours(untouched, table, test)
    metrics: dict[str, float | dict[str, float]] = {
        **_rounded(classified | retrieval_metrics(found, table, test)),
        "untouched": _rounded(retrieval_metrics(found_untouched, table, test)),
    }
    curves = {"tuned": recall_curve(found, table, test), "untouched": recall_curve(found_untouched, table, test)}
    recall_at_k = pd.DataFrame({"k": range(1, CURVE + 1)} | curves).round(5).dropna()
    pairs = pd.DataFrame(
        {"actual": [names[label] for label in labels], "predicted": [names[label] for label in predicted]}
    )
    confusion = pairs.value_counts().rename("images").reset_index().sort_values(["actual", "predicted"])
    precision, recall, f1, images_of = precision_recall_fscore_support(labels, predicted, labels=every, zero_division=0)
    per_category = pd.DataFrame(
        {"category": names, "images": images_of, "precision": precision, "recall": recall, "f1": f1}
    )
    similar = similar_sheet(images, table, embeddings, first_of_each(table, n=6))
    mistakes = mistakes_sheet(images, table, worst_mistakes(table, test, probabilities), names)
    return Evaluation(metrics, confusion, per_category.round(4), recall_at_k, similar, mistakes)


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(float(value), 5) for name, value in values.items() if np.isfinite(value)}


@torch.inference_mode()
def category_probabilities(checkpoint: checkpoints.Checkpoint, images: np.ndarray) -> np.ndarray:
    """The network's softmax `(N, n_categories) float32` for images `(N, S, S, 3) uint8`."""
    network = checkpoints.network_of(checkpoint, len(checkpoint["categories"]))
    logits = network.cpu().head(pooled([network], images).cpu())
    probabilities: np.ndarray = logits.softmax(dim=1).numpy()
    return probabilities


def top3_accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Share of images whose category is among the three most probable; 1 if there are no more than three."""
    n_categories = probabilities.shape[1]
    if n_categories <= 3:
        return 1.0
    return float(top_k_accuracy_score(labels, probabilities, k=3, labels=np.arange(n_categories)))
