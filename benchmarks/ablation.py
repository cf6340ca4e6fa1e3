"""The worth of each choice of training, of vectors and of words, over several seeds, in one run.

    python benchmarks/ablation.py -S fetch.source=local -S fetch.local.path=../shared/market
        [--split val] [--seeds 3] [--only NAME] [--json OUT]

Choose on the validation split (--split val), report the test split (the default). Rows of training start from the
defaults in params.yaml; rows of vectors and words use the first seed's default network. Photo metrics have the whole
catalogue as gallery, without the query and its copies; words are judged by ten recommended products. Seconds are those
of the epochs: the frozen layers' features are stored beforehand.
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
from workspace import Workspace, parser, report, table, workspace

from marketplace.embedding.extraction import embed_photos, embed_texts
from marketplace.evaluation.report import category_probabilities
from marketplace.evaluation.retrieval import find_neighbours, retrieval_metrics
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
from marketplace.training.data import split_of, training_data
from marketplace.training.trainer import Trainer
from marketplace.vectors.tables import PhotoVectors
from marketplace.vectors.unit_length import to_unit_length

Metrics = dict[str, float]


@dataclass(frozen=True)
class Run:
    """A way to train: changes to the section `train`, and epochs on small and on full-sized images.

    With `last` above 1, the tail's and the head's weights are the mean over the last full-sized epochs; with `tuned`
    below 1, the tail's are that share of the fine-tuned ones, the rest the untouched ones (arXiv:2109.01903).
    """

    changes: dict[str, Any] = field(default_factory=dict)
    small: int = 6
    full: int = 4
    last: int = 1
    tuned: float = 1.0


RUNS = {
    "defaults": Run(),
    "the loop's settings": Run(PARAMS, small=0, full=EPOCHS),
    "full-sized images alone, 4 epochs": Run(small=0),
    "full-sized images alone, 5 epochs": Run(small=0, full=5),
    "full-sized images alone, 10 epochs": Run(small=0, full=10),
    "6 small, then 3 full": Run(full=3),
    "cross-entropy alone": Run({"contrastive_weight": 0.0}),
    "contrastive weight 1": Run({"contrastive_weight": 1.0}),
    "contrastive weight 2": Run({"contrastive_weight": 2.0}),
    "no leaf categories": Run({"leaf_weight": 0.0}),
    "leaf categories, weight 2": Run({"leaf_weight": 2.0}),
    "batches of 64": Run({"batch_size": 64}),
    "averaged over the last 2 epochs": Run(last=2),
    "averaged with the untouched tail, 0.75 tuned": Run(tuned=0.75),
    "averaged with the untouched tail, 0.5 tuned": Run(tuned=0.5),
}
VECTORS: dict[str, dict[str, Any]] = {
    "no learned whitening (a PCA)": {"shrinkage": 1.0},
    "shrinkage 0.1": {"shrinkage": 0.1},
    "kind vectors of 256 dimensions": {"kind_dimensions": 256},
    "kind vectors without categories": {"category_weight": 0.0},
    "no power": {"power": 1.0},
    "not mirrored": {"mirrored": False},
    "no details": {"detail_weight": 0.0},
    "details, weight 0.35": {"detail_weight": 0.35},
}
WORDS = (0.0, 0.25, 0.5, 0.75, 1.0)
PHOTO_COLUMNS = {
    "same_product_recall_at_1": "recall@1",
    "same_product_recall_at_10": "recall@10",
    "category_precision_at_10": "root p@10",
    "leaf_precision_at_10": "leaf p@10",
    "accuracy": "accuracy",
    "seconds": "seconds",
}
WORD_COLUMNS = {"category_precision": "root p@10", "leaf_precision": "leaf p@10"}


def main() -> None:
    """Parse the command line, run, print."""
    command = parser(__doc__)
    command.add_argument("--seeds", type=int, default=3, help="how many (default: 3)")
    command.add_argument("--split", choices=("val", "test"), default="test", help="(default: test)")
    command.add_argument("--only", action="append", metavar="NAME", help="only this row of training, and the defaults")
    options = command.parse_args()
    with workspace(options.set) as space:
        for stage in ("fetch", "clean", "resize_images", "pretrained"):
            space.run(stage)
        bench = Bench(space, options.split)
        photos: dict[str, list[Metrics]] = {name: [metrics] for name, metrics in bench.untouched().items()}
        words: dict[str, list[Metrics]] = {}
        for seed in range(options.seeds):
            for name, run in RUNS.items():
                if options.only and name not in ("defaults", *options.only):
                    continue
                checkpoint, seconds = bench.train(run, seed)
                photos.setdefault(name, []).append(bench.measured(checkpoint, {}) | {"seconds": seconds})
                print(name, json.dumps(photos[name][-1]), file=sys.stderr, flush=True)
                if name == "defaults" and seed == 0:
                    photos |= {f"… {kind}": [bench.measured(checkpoint, how)] for kind, how in VECTORS.items()}
                    photos["… no hub correction"] = [bench.measured(checkpoint, {}, hubs=False)]
                    words = bench.with_words(checkpoint, space.path("text_model"))
    tables = [
        table(["photos", *PHOTO_COLUMNS.values()], rows_of(photos, PHOTO_COLUMNS)),
        table(["weight of words", *WORD_COLUMNS.values()], rows_of(words, WORD_COLUMNS)),
    ]
    report({"set": options.set, "photos": photos, "words": words}, "\n\n".join(tables), options.json)


class Bench:
    """The images, the pretrained network, and what is measured on a split."""

    def __init__(self, space: Workspace, split: str) -> None:
        self._settings = load_settings(space.path("params.yaml"))
        self._start: Checkpoint = checkpoints.load(space.path("models/pretrained.pt"))
        path = space.path("data/clean/training_data.parquet")
        self._table, self._split = pd.read_parquet(path), split
        categories = json.loads(space.path("data/clean/categories.json").read_text())["decode"]
        self._small, self._full = (
            training_data(space.path(f"data/resized/{size}"), path, categories) for size in ("small", "full")
        )
        for data in (self._small, self._full):
            both_views = self._settings.train.model_copy(update={"flip_probability": 0.5})
            Trainer(self._start, data, both_views, 1).begin()  # stores the features

    def train(self, run: Run, seed: int) -> tuple[Checkpoint, float]:
        """The chosen epoch of a training run, and the seconds of its epochs."""
        settings = self._settings.train.model_copy(update={**run.changes, "seed": seed})
        start, seconds = self._start, 0.0
        for data, epochs in ((self._small, run.small), (self._full, run.full)):
            if epochs:
                states: list[StateDict] = []
                trainer = Trainer(start, data, settings, epochs)
                trainer.begin()
                started = time.perf_counter()
                while not trainer.done:
                    trainer.next_epoch()
                    states.append(checkpoints.state_of(trainer.network))
                seconds += time.perf_counter() - started
                assert trainer.best is not None
                start = trainer.best
        if run.last > 1 or run.tuned < 1:
            start = self._averaged(start, states[-run.last :], run.tuned)
        return start, seconds

    def _averaged(self, checkpoint: Checkpoint, states: list[StateDict], tuned: float) -> Checkpoint:
        """A checkpoint with averaged weights; BatchNorm's statistics are taken again, since they do not average."""
        means = {name: torch.stack([state[name] for state in states]).to(torch.float64).mean(0) for name in states[0]}
        untouched = self._start["state_dict"]
        for name in means:
            if name.startswith("tail."):
                means[name] = tuned * means[name] + (1 - tuned) * untouched[name]
        mean = {name: value.to(states[0][name].dtype) for name, value in means.items()}
        network = checkpoints.network_of({**checkpoint, "state_dict": mean}, len(checkpoint["categories"]))
        features = FeatureStore(network, self._full.images).features()
        train = self._full.train.rows
        update_bn((features(rows) for rows in np.array_split(train, len(train) // 256 + 1)), network.tail)
        return {**checkpoint, "state_dict": checkpoints.state_of(network)}

    def measured(self, checkpoint: Checkpoint, how: dict[str, Any], *, hubs: bool = True) -> Metrics:
        """Accuracy of a network, and the retrieval metrics of its vectors with other settings of `extract`."""
        split = split_of(self._table, self._split)
        probabilities = category_probabilities(checkpoint, self._full.images, mirrored=self._settings.extract.mirrored)
        accuracy = float((probabilities[split.rows].argmax(axis=1) == split.labels.numpy()).mean())
        vectors = self._vectors(checkpoint, how)
        if not hubs:
            vectors = replace(vectors, hub_bias=np.zeros_like(vectors.hub_bias))
        return {**self._retrieval(vectors), "accuracy": accuracy}

    def untouched(self) -> dict[str, Metrics]:
        """The retrieval metrics of the network before training, as it is and with projections fitted for it."""
        network = checkpoints.network_of(self._start, n_categories=1)
        plain = to_unit_length(network_outputs(network, self._full.images).embeddings.numpy())
        none = np.zeros(len(plain), np.float32)
        before = {**self._start, "categories": ["none"]}
        projected = self._vectors(before, {"category_weight": 0.0})  # type: ignore[arg-type]
        without_details = self._vectors(before, {"category_weight": 0.0, "detail_weight": 0.0})  # type: ignore[arg-type]
        without_hubs = replace(projected, hub_bias=none)
        return {
            "untouched": self._retrieval(PhotoVectors(plain, plain, none)),
            "untouched, whitened like ours, no hub correction": self._retrieval(without_hubs),
            "untouched, whitened like ours, no details": self._retrieval(without_details),
            "untouched, whitened like ours": self._retrieval(projected),
        }

    def with_words(self, checkpoint: Checkpoint, model: Path) -> dict[str, list[Metrics]]:
        """Precision of ten recommendations for each weight of words."""
        products = products_of(self._table)
        kinds = self._vectors(checkpoint, {}).kind
        _, texts = embed_texts(model, self._table)
        texts_of_photos = texts[products.product_of_row]
        judged = products  # by the products that it takes for those of the test split
        if self._split != "test":
            splits = products.table["split"].replace({"test": "held out", self._split: "test"})
            judged = replace(products, table=products.table.assign(split=splits))
        results = {}
        for words in WORDS:
            batches = recommendations(products, with_words(kinds, texts_of_photos, words), self._settings.recommend)
            results[f"{words:g}"] = [recommendation_metrics(judged, pa.Table.from_batches(batches).to_pandas())]
        return results

    def _vectors(self, checkpoint: Checkpoint, how: dict[str, Any]) -> PhotoVectors:
        settings = self._settings.extract.model_copy(update=how)
        with torch.no_grad():
            return embed_photos(checkpoint, self._table, self._full.images, settings)[1]

    def _retrieval(self, vectors: PhotoVectors) -> Metrics:
        rows = split_of(self._table, self._split).rows
        return retrieval_metrics(find_neighbours(vectors, self._table, rows), self._table, rows)


def rows_of(results: dict[str, list[Metrics]], columns: dict[str, str]) -> list[list[str]]:
    """A row per choice: mean ± standard deviation over its runs."""
    return [[name, *(spread(runs, column) for column in columns)] for name, runs in results.items()]


def spread(runs: list[Metrics], column: str) -> str:
    """Mean ± standard deviation; seconds are rounded."""
    values = [run[column] for run in runs if column in run]
    if not values:
        return ""
    if column == "seconds":
        return f"{mean(values):.0f}"
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
