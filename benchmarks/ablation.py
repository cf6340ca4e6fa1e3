"""Measure the worth of each choice of training, of vectors and of words, over several seeds.

    python benchmarks/ablation.py -S fetch.source=local -S fetch.local.path=../shared/market
        [--split val] [--seeds 3] [--only NAME] [--json OUT]

Choose on the validation split (--split val), report the test split (the default). Rows of training start from the
defaults in params.yaml; rows of vectors and words use the first seed's default network. In photo metrics, the gallery
of a query is the whole catalogue except the query and its copies. Words are judged by ten recommended products. Seconds
are for the epochs; the frozen layers' features are stored beforehand.
"""

import json
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from reference_loop import EPOCHS, PARAMS
from torch.optim.swa_utils import update_bn
from workspace import Workspace, make_parser, report, table, workspace

from marketplace.embedding.extraction import embed_photos, embed_texts
from marketplace.evaluation.report import category_probabilities
from marketplace.evaluation.retrieval import find_neighbours, retrieval_metrics
from marketplace.evaluation.same_product import choose_pairs, rank_own_products, same_product_metrics
from marketplace.inference.features import FeatureStore
from marketplace.inference.outputs import network_outputs
from marketplace.models import checkpoints
from marketplace.models.backbones import StateDict
from marketplace.models.checkpoints import Checkpoint
from marketplace.recommendation.metrics import recommendation_metrics
from marketplace.recommendation.products import products_of
from marketplace.recommendation.ranking import with_words
from marketplace.recommendation.table import recommendations
from marketplace.settings import load_settings
from marketplace.training.data import read_training_data, select_split
from marketplace.training.trainer import Trainer
from marketplace.vectors.tables import PhotoVectors
from marketplace.vectors.unit_length import to_unit_length

Metrics = dict[str, float]


@dataclass(frozen=True)
class Training:
    """A way to train: changes to the section `train`, and epochs on small and on full-sized images.

    With `last` above 1, the weights of the tail and the head are averaged over the last full-sized epochs. With `tuned`
    below 1, the tail is a weighted mean of the fine-tuned (`tuned`) and the untouched weights (arXiv:2109.01903).
    """

    changes: dict[str, Any] = field(default_factory=dict)
    small: int = 6
    full: int = 4
    last: int = 1
    tuned: float = 1.0


TRAININGS = {
    "defaults": Training(),
    "the loop's settings": Training(changes=PARAMS, small=0, full=EPOCHS),
    "full-sized images alone, 4 epochs": Training(small=0),
    "full-sized images alone, 5 epochs": Training(small=0, full=5),
    "full-sized images alone, 10 epochs": Training(small=0, full=10),
    "6 small, then 3 full": Training(full=3),
    "cross-entropy alone": Training(changes={"contrastive_weight": 0.0}),
    "contrastive weight 1": Training(changes={"contrastive_weight": 1.0}),
    "contrastive weight 2": Training(changes={"contrastive_weight": 2.0}),
    "no leaf categories": Training(changes={"leaf_weight": 0.0}),
    "leaf categories, weight 2": Training(changes={"leaf_weight": 2.0}),
    "batches of 64": Training(changes={"batch_size": 64}),
    "averaged over the last 2 epochs": Training(last=2),
    "averaged with the untouched tail, 0.75 tuned": Training(tuned=0.75),
    "averaged with the untouched tail, 0.5 tuned": Training(tuned=0.5),
}
VECTOR_SETTINGS: dict[str, dict[str, Any]] = {
    "no learned whitening (a PCA)": {"shrinkage": 1.0},
    "shrinkage 0.1": {"shrinkage": 0.1},
    "kind vectors of 256 dimensions": {"kind_dimensions": 256},
    "kind vectors without categories": {"category_weight": 0.0},
    "no power": {"power": 1.0},
    "not mirrored": {"mirrored": False},
    "no details": {"detail_weight": 0.0},
    "details, weight 0.35": {"detail_weight": 0.35},
}
WORD_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
PHOTO_COLUMNS = {
    "same_product_recall_at_1": "recall@1",
    "same_product_recall_at_10": "recall@10",
    "leave_one_out_recall_at_1": "leave-one-out recall@1",
    "category_precision_at_10": "root p@10",
    "leaf_precision_at_10": "leaf p@10",
    "accuracy": "accuracy",
    "seconds": "seconds",
}
WORD_COLUMNS = {"category_precision": "root p@10", "leaf_precision": "leaf p@10"}


def main() -> None:
    """Parse the command line, measure, print the results."""
    parser = make_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds (default: 3)")
    parser.add_argument("--split", choices=("val", "test"), default="test", help="(default: test)")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this row of training, and the defaults")
    options = parser.parse_args()
    with workspace(options.set) as space:
        space.run("fetch", "clean", "resize_images", "pretrained")
        bench = Bench(space, options.split)
        photos = {name: [metrics] for name, metrics in bench.measure_untouched().items()}
        words: dict[str, list[Metrics]] = {}
        for seed in range(options.seeds):
            for name, training in TRAININGS.items():
                if options.only and name not in ("defaults", *options.only):
                    continue
                checkpoint, seconds = bench.train(training, seed)
                metrics = bench.measure(checkpoint, {}) | {"seconds": seconds}
                photos.setdefault(name, []).append(metrics)
                print(name, json.dumps(metrics), file=sys.stderr, flush=True)
                if name == "defaults" and seed == 0:
                    for change, settings in VECTOR_SETTINGS.items():
                        photos[f"… {change}"] = [bench.measure(checkpoint, settings)]
                    photos["… no hub correction"] = [bench.measure(checkpoint, {}, hub_correction=False)]
                    words = bench.measure_words(checkpoint, space.path("text_model"))
    tables = [
        table(["photos", *PHOTO_COLUMNS.values()], format_rows(photos, PHOTO_COLUMNS)),
        table(["weight of words", *WORD_COLUMNS.values()], format_rows(words, WORD_COLUMNS)),
    ]
    report({"set": options.set, "photos": photos, "words": words}, "\n\n".join(tables), options.json)


class Bench:
    """The images, the pretrained network, and measurements on a split."""

    def __init__(self, space: Workspace, split: str) -> None:
        self._settings = load_settings(space.path("params.yaml"))
        self._pretrained: Checkpoint = checkpoints.load(space.path("models/pretrained.pt"))
        path = space.path("data/clean/training_data.parquet")
        self._table = pd.read_parquet(path)
        self._split = split
        categories = json.loads(space.path("data/clean/categories.json").read_text())["decode"]
        self._small = read_training_data(space.path("data/resized/small"), path, categories, with_titles=True)
        self._full = read_training_data(space.path("data/resized/full"), path, categories, with_titles=True)
        both_views = self._settings.train.model_copy(update={"flip_probability": 0.5})
        for data in (self._small, self._full):
            Trainer(self._pretrained, data, both_views, epochs=1)  # stores the features

    def train(self, training: Training, seed: int) -> tuple[Checkpoint, float]:
        """Train; return the chosen epoch, and the seconds of the epochs."""
        settings = self._settings.train.model_copy(update={**training.changes, "seed": seed})
        checkpoint = self._pretrained
        seconds = 0.0
        states: list[StateDict] = []
        for data, epochs in ((self._small, training.small), (self._full, training.full)):
            if not epochs:
                continue
            states.clear()
            trainer = Trainer(checkpoint, data, settings, epochs)
            started = time.perf_counter()
            while not trainer.is_done:
                trainer.train_epoch()
                states.append(checkpoints.copy_state(trainer.network))
            seconds += time.perf_counter() - started
            assert trainer.best is not None
            checkpoint = trainer.best
        if training.last > 1 or training.tuned < 1:
            checkpoint = self._average(checkpoint, states[-training.last :], training.tuned)
        return checkpoint, seconds

    def _average(self, checkpoint: Checkpoint, states: list[StateDict], tuned: float) -> Checkpoint:
        """Average the weights of a checkpoint; BatchNorm's statistics do not average, and are computed again."""
        means = {name: torch.stack([state[name] for state in states]).to(torch.float64).mean(0) for name in states[0]}
        untouched = self._pretrained["state_dict"]
        for name in means:
            if name.startswith("tail."):
                means[name] = tuned * means[name] + (1 - tuned) * untouched[name]
        state = {name: value.to(states[0][name].dtype) for name, value in means.items()}
        network = checkpoints.network_of({**checkpoint, "state_dict": state}, len(checkpoint["categories"]))
        features = FeatureStore(network, self._full.images).features()
        rows = self._full.train.rows
        batches = np.array_split(rows, len(rows) // 256 + 1)
        update_bn((features(batch) for batch in batches), network.tail)
        return {**checkpoint, "state_dict": checkpoints.copy_state(network)}

    def measure(self, checkpoint: Checkpoint, changes: dict[str, Any], *, hub_correction: bool = True) -> Metrics:
        """Return a network's accuracy, and the retrieval metrics of its vectors with changed settings of `extract`."""
        split = select_split(self._table, self._split)
        probabilities = category_probabilities(checkpoint, self._full.images, mirrored=self._settings.extract.mirrored)
        accuracy = float((probabilities[split.rows].argmax(axis=1) == split.labels.numpy()).mean())
        vectors = self._embed(checkpoint, changes)
        if not hub_correction:
            vectors = without_hub_bias(vectors)
        return {**self._retrieval_metrics(vectors, hub_correction=hub_correction), "accuracy": accuracy}

    def measure_untouched(self) -> dict[str, Metrics]:
        """Return the retrieval metrics of the pretrained network, as it is and with projections fitted for it."""
        network = checkpoints.network_of(self._pretrained, n_categories=1)
        plain = to_unit_length(network_outputs(network, self._full.images).embeddings.numpy())
        unprojected = PhotoVectors(identity=plain, kind=plain, hub_bias=np.zeros(len(plain), np.float32))
        checkpoint: Any = {**self._pretrained, "categories": ["none"]}
        whitened = self._embed(checkpoint, {"category_weight": 0.0})
        without_details = self._embed(checkpoint, {"category_weight": 0.0, "detail_weight": 0.0})
        return {
            "untouched": self._retrieval_metrics(unprojected, hub_correction=False),
            "untouched, whitened like ours, no hub correction": self._retrieval_metrics(
                without_hub_bias(whitened), hub_correction=False
            ),
            "untouched, whitened like ours, no details": self._retrieval_metrics(without_details),
            "untouched, whitened like ours": self._retrieval_metrics(whitened),
        }

    def measure_words(self, checkpoint: Checkpoint, text_model: Path) -> dict[str, list[Metrics]]:
        """Return the precision of ten recommendations for each weight of words."""
        products = products_of(self._table)
        kinds = self._embed(checkpoint, {}).kind
        _, texts = embed_texts(text_model, self._table, self._settings.extract)
        texts_of_photos = texts[products.product_of_row]
        judged = products
        if self._split != "test":
            # The metrics are measured on products of the test split: let this split take its place.
            splits = products.table["split"].replace({"test": "held out", self._split: "test"})
            judged = replace(products, table=products.table.assign(split=splits))
        results = {}
        for words in WORD_WEIGHTS:
            vectors = with_words(kinds, texts_of_photos, words)
            batches = recommendations(products, vectors, self._settings.recommend)
            recommended = pa.Table.from_batches(batches).to_pandas()
            results[f"{words:g}"] = [recommendation_metrics(judged, recommended)]
        return results

    def _embed(self, checkpoint: Checkpoint, changes: dict[str, Any]) -> PhotoVectors:
        settings = self._settings.extract.model_copy(update=changes)
        with torch.no_grad():
            return embed_photos(checkpoint, self._table, self._full.images, settings)[1]

    def _retrieval_metrics(self, vectors: PhotoVectors, *, hub_correction: bool = True) -> Metrics:
        settings = self._settings.extract
        ranks = rank_own_products(
            vectors.identity,
            self._table["sha256"].to_numpy(),
            choose_pairs(self._table, self._split),
            hub_neighbours=settings.hub_neighbours,
            hub_weight=settings.hub_weight if hub_correction else 0.0,
        )
        rows = select_split(self._table, self._split).rows
        neighbours = find_neighbours(vectors, self._table, rows)
        return same_product_metrics(ranks) | retrieval_metrics(neighbours, self._table, rows)


def without_hub_bias(vectors: PhotoVectors) -> PhotoVectors:
    """Return the same vectors without hub correction."""
    return replace(vectors, hub_bias=np.zeros_like(vectors.hub_bias))


def format_rows(results: dict[str, list[Metrics]], columns: dict[str, str]) -> list[list[str]]:
    """Format a row for each choice."""
    return [[name, *(format_metric(runs, column) for column in columns)] for name, runs in results.items()]


def format_metric(runs: list[Metrics], column: str) -> str:
    """Format the mean ± standard deviation over runs; seconds are rounded."""
    values = [run[column] for run in runs if column in run]
    if not values:
        return ""
    if column == "seconds":
        return f"{mean(values):.0f}"
    spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{mean(values):.3f}{spread}"


if __name__ == "__main__":
    main()
