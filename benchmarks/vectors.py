"""The worth of each choice of training and of vector for retrieval, over several seeds, in one run.

    python benchmarks/vectors.py -S fetch.source=local -S fetch.local.path=../shared/listings [--seeds 3] [--json OUT]

Everything else is as in params.yaml. Queries are the test photos, the gallery is the whole catalogue without the query
and its copies.
"""

import json
import sys
from statistics import mean, stdev
from typing import Any

import numpy as np
import pandas as pd
from ablation import trained, with_seed
from torch import Tensor
from workspace import Workspace, parser, report, table, workspace

from marketplace.embedding.outputs import pooled
from marketplace.embedding.projection import ExtractSettings, fit_projection
from marketplace.evaluation.retrieval import neighbours, retrieval_metrics
from marketplace.models import checkpoints
from marketplace.models.checkpoints import Checkpoint
from marketplace.models.features import FeatureStore
from marketplace.models.network import Network
from marketplace.settings import load_settings
from marketplace.training.data import split_of, training_data
from marketplace.training.validation import validate

PLAIN: dict[str, Any] = {"vectors": "tuned", "mirrored": False, "power": 1.0, "dimensions": None, "whitening": 0.0}
TRAININGS: dict[str, dict[str, Any]] = {
    "cross-entropy": {"contrastive_weight": 0.0, "classifier": "linear"},
    "cross-entropy, cosine classifier": {"contrastive_weight": 0.0, "classifier": "cosine"},
    "+ contrastive": {"contrastive_weight": 0.5, "classifier": "linear"},
    "+ contrastive, cosine classifier": {"contrastive_weight": 0.5, "classifier": "cosine"},
}
VECTORS: dict[str, dict[str, Any]] = {
    "joined with untouched": {"vectors": "joined"},
    "mirrored": {"mirrored": True},
    "mirrored, PCA 256": {"mirrored": True, "dimensions": 256},
    "mirrored, PCA 256, whitening 0.25": {"mirrored": True, "dimensions": 256, "whitening": 0.25},
    "mirrored, PCA 256, whitening 0.5": {"mirrored": True, "dimensions": 256, "whitening": 0.5},
    "mirrored, PCA 256, whitening 1": {"mirrored": True, "dimensions": 256, "whitening": 1.0},
    "mirrored, square root, PCA 256, whitening 0.5": {
        "mirrored": True,
        "power": 0.5,
        "dimensions": 256,
        "whitening": 0.5,
    },
    "mirrored, PCA 128": {"mirrored": True, "dimensions": 128},
    "mirrored, PCA 64": {"mirrored": True, "dimensions": 64},
}
COLUMNS = {
    "same_product_recall_at_1": "recall@1",
    "same_product_recall_at_10": "recall@10",
    "category_precision_at_10": "root p@10",
    "leaf_precision_at_10": "leaf p@10",
    "leaf_map_at_r": "leaf mAP@R",
    "accuracy": "accuracy",
}


def main() -> None:
    """Parse the command line, run, print."""
    command = parser(__doc__)
    command.add_argument("--seeds", type=int, default=3, help="how many (default: 3)")
    options = command.parse_args()
    with workspace(options.set) as space:
        for stage in ("fetch", "clean", "resize_images", "pretrained"):
            space.run(stage)
        bench = Bench(space)
        results = {
            "untouched": [bench.vectors(None, PLAIN)],
            "untouched, mirrored": [bench.vectors(None, PLAIN | {"mirrored": True})],
        }
        for seed in range(options.seeds):
            for name, changes in TRAININGS.items():
                checkpoint = bench.train(changes, seed)
                results.setdefault(name, []).append(bench.measured(checkpoint, {}))
                print(name, json.dumps(results[name][-1]), file=sys.stderr, flush=True)
            for kind, vectors in VECTORS.items():  # of the last training
                results.setdefault(f"the last, {kind}", []).append(bench.measured(checkpoint, vectors))
    rows = [[name, *(spread(runs, column) for column in COLUMNS)] for name, runs in results.items()]
    report({"set": options.set, "results": results}, table(["", *COLUMNS.values()], rows), options.json)


class Bench:
    """The photos, the pretrained network, and training runs and vectors on them."""

    def __init__(self, space: Workspace) -> None:
        self._settings = load_settings(space.path("params.yaml")).train
        self._start: Checkpoint = checkpoints.load(space.path("models/pretrained.pt"))
        path = space.path("data/clean/training_data.parquet")
        self._table = pd.read_parquet(path)
        categories = json.loads(space.path("data/clean/categories.json").read_text())["decode"]
        self._data = training_data(space.path("data/resized/full.npy"), path, categories)
        self._test, self._train = split_of(self._table, "test"), split_of(self._table, "train")
        for mirrored in (False, True):  # stored once for all that follows
            every = np.arange(len(self._table))
            FeatureStore(self._network(None), self._data.images).features(every, mirrored=mirrored, room_gib=1e6)

    def train(self, changes: dict[str, Any], seed: int) -> Checkpoint:
        """The chosen epoch of a training run with other settings."""
        return trained(self._start, self._data, with_seed(self._settings.model_copy(update=changes), seed))

    def measured(self, checkpoint: Checkpoint, changes: dict[str, Any]) -> dict[str, float]:
        """Test accuracy of a network, and the retrieval figures of one kind of its vectors."""
        network = self._network(checkpoint)
        features = FeatureStore(network, self._data.images).features(np.arange(len(self._table)))
        _, accuracy = validate(network, features, self._test)
        return {**self.vectors(checkpoint, PLAIN | changes), "accuracy": accuracy}

    def vectors(self, checkpoint: Checkpoint | None, extract: dict[str, Any]) -> dict[str, float]:
        """The retrieval figures of vectors; of the untouched network if there is no checkpoint."""
        settings = ExtractSettings(**extract)
        chosen = [checkpoint, None] if settings.vectors == "joined" else [checkpoint]
        outputs: Tensor = pooled([self._network(one) for one in chosen], self._data.images, mirrored=settings.mirrored)
        vectors = fit_projection(outputs[self._train.rows], settings)(outputs).numpy()
        found = neighbours(vectors, self._table, self._test.rows)
        return retrieval_metrics(found, self._table, self._test.rows)

    def _network(self, checkpoint: Checkpoint | None) -> Network:
        return checkpoints.network_of(checkpoint or self._start, len(self._data.categories))


def spread(runs: list[dict[str, float]], column: str) -> str:
    """Mean ± standard deviation over the seeds."""
    values = [run[column] for run in runs if column in run]
    if not values:
        return ""
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
