"""Measure the worth of each choice of training, of vectors and of ranking, over several seeds.

    python benchmarks/ablation.py -S fetch.source=local -S fetch.local.path=../shared/market
        --judgements FILE [--split val] [--seeds 3] [--only NAME] [--json OUT]

Choose on the validation split (--split val), report the test split (the default). Rows of training start from the
defaults in params.yaml; rows of vectors and of ranking use the first seed's default network. FILE holds people's
judgements, as data/judgements.csv does: good@6 and nDCG@8 are of the products of the split that it judges, asked about
by one photo or as a product. In the other photo metrics, the gallery of a query is the whole catalogue except the query
and its copies. Seconds are for the epochs; the frozen layers' features are stored beforehand.
"""

import json
import shutil
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pandas as pd
from figures import format_runs
from networks import open_tail, open_trunk
from reference_loop import EPOCHS, PARAMS
from workspace import ROOT, Workspace, make_parser, report, table, workspace

from marketplace.embedding.extraction import embed_photos, embed_texts
from marketplace.embedding.fitting import fit_image_model, fit_paths, fit_texts
from marketplace.evaluation.retrieval import find_neighbours, measure_retrieval
from marketplace.evaluation.same_product import choose_pairs, measure_same_product, rank_own_products
from marketplace.inference.features import FeatureStore
from marketplace.inference.outputs import network_outputs
from marketplace.inference.tail import Tail
from marketplace.inference.trunk import Trunk
from marketplace.models import checkpoints
from marketplace.models.checkpoints import Checkpoint
from marketplace.recommendation.catalogue import Catalogue
from marketplace.recommendation.judged import JudgedPairs, Kind, read_judged_pairs
from marketplace.recommendation.products import products_of
from marketplace.recommendation.questions import EmbedWords
from marketplace.recommendation.similarity import Weights
from marketplace.relevance.judgements import JUDGEMENTS, SEARCHES
from marketplace.relevance.metrics import Judge
from marketplace.relevance.uncertainty import mean as mean_of_known
from marketplace.settings import load_settings
from marketplace.texts.text_model import TextModel
from marketplace.training.data import TrainingData, read_training_data, select_split
from marketplace.training.trainer import Trainer
from marketplace.vectors.tables import PhotoPredictions, PhotoVectors
from marketplace.vectors.unit_length import to_unit_length

Metrics = dict[str, float]


@dataclass(frozen=True)
class Training:
    """A way to train: changes to the section `train`, and epochs on small and on full-sized images."""

    changes: dict[str, Any] = field(default_factory=dict)
    small: int = 6
    full: int = 4


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
    "bfloat16": Training(changes={"precision": "bfloat16"}),
    "no titles": Training(changes={"title_weight": 0.0}),
    "titles, weight 1": Training(changes={"title_weight": 1.0}),
    "titles, weight 4": Training(changes={"title_weight": 4.0}),
    "titles, weight 8": Training(changes={"title_weight": 8.0}),
    "12 small, then 4 full": Training(small=12),
    "titles, InfoNCE": Training(changes={"title_target_temperature": 0.005}),
    "6 small, then 8 full": Training(full=8),
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
RANKINGS: dict[str, tuple[Kind, Weights]] = {
    "product: kind": ("product", Weights(kind=1, text=0, title=0, path=0)),
    "product: kind and text": ("product", Weights(kind=0.5, text=0.5, title=0, path=0)),
    "product: more text": ("product", Weights(kind=0.3, text=0.7, title=0, path=0)),
    "product: and title": ("product", Weights(kind=0.3, text=0.49, title=0.21, path=0)),
    "product: and path": ("product", Weights(kind=0.24, text=0.392, title=0.168, path=0.2)),
    "photo: kind": ("photo", Weights(kind=1, text=0, title=0, path=0)),
    "photo: expected title": ("photo", Weights(kind=0, text=0, title=1, path=0)),
    "photo: expected title with whole texts": ("photo", Weights(kind=0, text=1, title=0, path=0)),
    "photo: expected path": ("photo", Weights(kind=0, text=0, title=0, path=1)),
}
PHOTO_COLUMNS = {
    "photo_good_at_6": "photo good@6",
    "photo_ndcg_at_8": "photo nDCG@8",
    "product_good_at_6": "product good@6",
    "product_ndcg_at_8": "product nDCG@8",
    "same_product_recall_at_1": "recall@1",
    "same_product_recall_at_10": "recall@10",
    "leave_one_out_recall_at_1": "leave-one-out recall@1",
    "category_precision_at_10": "root p@10",
    "leaf_precision_at_10": "leaf p@10",
    "accuracy": "accuracy",
    "seconds": "seconds",
}
RANKING_COLUMNS = {"good_at_6": "good@6", "ndcg_at_8": "nDCG@8"}


def main() -> None:
    """Parse the command line, measure, print the results."""
    parser = make_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds (default: 3)")
    parser.add_argument("--split", choices=("val", "test"), default="test", help="(default: test)")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this row of training, and the defaults")
    parser.add_argument("--judgements", type=Path, metavar="FILE", required=True, help="judged pairs of products")
    options = parser.parse_args()
    with workspace(options.set) as space:
        shutil.copyfile(options.judgements, space.path(JUDGEMENTS))
        shutil.copyfile(ROOT / SEARCHES, space.path(SEARCHES))
        space.run("fetch", "clean", "resize_images", "pretrained")
        bench = Bench(space, options.split)
        photos = {name: [metrics] for name, metrics in bench.measure_untouched().items()}
        rankings: dict[str, list[Metrics]] = {}
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
                    rankings = bench.measure_rankings(checkpoint)
    tables = [
        table(["photos", *PHOTO_COLUMNS.values()], format_rows(photos, PHOTO_COLUMNS)),
        table(["question: what counts", *RANKING_COLUMNS.values()], format_rows(rankings, RANKING_COLUMNS)),
    ]
    report({"set": options.set, "photos": photos, "rankings": rankings}, "\n\n".join(tables), options.json)


class Bench:
    """The images, the pretrained network, and measurements on a split."""

    def __init__(self, space: Workspace, split: str) -> None:
        self._settings = load_settings(space.path("params.yaml"))
        pretrained = space.path("models/pretrained.pt")
        self._pretrained: Checkpoint = checkpoints.load(pretrained)
        path = space.path("data/clean/training_data.parquet")
        self._table = pd.read_parquet(path)
        self._split = split
        self._root = space.path("")
        self._path_space = fit_paths(self._table)
        sentence_model = space.path("models/sentence_model")
        text_model = space.path("text_model")
        fit_texts(text_model, sentence_model, self._table, self._settings.extract)
        _, self._texts = embed_texts(TextModel(text_model), self._path_space, self._table)
        categories = json.loads(space.path("data/clean/categories.json").read_text())["decode"]
        self._small, self._full = (
            read_training_data(space.path(f"data/resized/{size}"), path, categories, sentence_model=sentence_model)
            for size in ("small", "full")
        )
        both_views = self._settings.train.model_copy(update={"flip_probability": 0.5})
        self._trunks = {
            data.images.shape[1]: open_trunk(pretrained, data.images.shape[1], self._root)
            for data in (self._small, self._full)
        }
        for data in (self._small, self._full):
            Trainer(self._pretrained, self._trunk(data), data, both_views, epochs=1)  # stores the features

    def _trunk(self, data: TrainingData) -> Trunk:
        return self._trunks[data.images.shape[1]]

    def train(self, training: Training, seed: int) -> tuple[Checkpoint, float]:
        """Train; return the chosen epoch, and the seconds of the epochs."""
        settings = self._settings.train.model_copy(update={**training.changes, "seed": seed})
        checkpoint = self._pretrained
        seconds = 0.0
        for data, epochs in ((self._small, training.small), (self._full, training.full)):
            if not epochs:
                continue
            trainer = Trainer(checkpoint, self._trunk(data), data, settings, epochs)
            started = time.perf_counter()
            while not trainer.is_done:
                trainer.train_epoch()
            seconds += time.perf_counter() - started
            assert trainer.best is not None
            checkpoint = trainer.best
        return checkpoint, seconds

    def measure(self, checkpoint: Checkpoint, changes: dict[str, Any], *, hub_correction: bool = True) -> Metrics:
        """Return a network's accuracy, and the retrieval metrics of its vectors with changed settings of `extract`."""
        split = select_split(self._table, self._split)
        vectors, predictions = self._embed(self._export(checkpoint), changes)
        accuracy = float((predictions.category[split.rows].argmax(axis=1) == split.labels.numpy()).mean())
        if not hub_correction:
            vectors = without_hub_bias(vectors)
        metrics = self._retrieval_metrics(vectors, hub_correction=hub_correction) | {"accuracy": accuracy}
        judged = self._read_judged(vectors, predictions)
        weights = self._settings.recommend.weights
        kinds: dict[Kind, Weights] = {"photo": weights.photo, "product": weights.product}
        for kind, own_weights in kinds.items():
            quality = self._judge(judged[kind], own_weights)
            metrics |= {f"{kind}_{name}": value for name, value in quality.items()}
        return metrics

    def measure_untouched(self) -> dict[str, Metrics]:
        """Return the retrieval metrics of the pretrained network, as it is and with projections fitted for it."""
        tail = self._export(self._pretrained)
        store = FeatureStore(self._trunk(self._full), self._full.images)
        plain = to_unit_length(network_outputs(store, tail).embeddings)
        unprojected = PhotoVectors(identity=plain, kind=plain, hub_bias=np.zeros(len(plain), np.float32))
        with_a_category: Any = {**self._pretrained, "categories": ["none"]}
        tail = self._export(with_a_category)
        whitened, _ = self._embed(tail, {"category_weight": 0.0})
        without_details, _ = self._embed(tail, {"category_weight": 0.0, "detail_weight": 0.0})
        return {
            "untouched": self._retrieval_metrics(unprojected, hub_correction=False),
            "untouched, whitened like ours, no hub correction": self._retrieval_metrics(
                without_hub_bias(whitened), hub_correction=False
            ),
            "untouched, whitened like ours, no details": self._retrieval_metrics(without_details),
            "untouched, whitened like ours": self._retrieval_metrics(whitened),
        }

    def measure_rankings(self, checkpoint: Checkpoint) -> dict[str, list[Metrics]]:
        """Return the judged quality of each of RANKINGS."""
        judged = self._read_judged(*self._embed(self._export(checkpoint), {}))
        return {name: [self._judge(judged[kind], weights)] for name, (kind, weights) in RANKINGS.items()}

    def _read_judged(self, vectors: PhotoVectors, predictions: PhotoPredictions) -> dict[Kind, JudgedPairs]:
        catalogue = Catalogue(photos=self._table, products=products_of(self._table), vectors=vectors, texts=self._texts)
        return read_judged_pairs(self._root, catalogue, predictions, self._settings.recommend, _no_searches)

    def _judge(self, pairs: JudgedPairs, weights: Weights) -> Metrics:
        in_split = pairs.splits == self._split
        quality = Judge(pairs.judgements.select(in_split)).measure(pairs.scores(weights)[in_split])
        return {
            "good_at_6": mean_of_known(quality.good_at_6),
            "ndcg_at_8": mean_of_known(quality.ndcg_at_8),
        }

    def _export(self, checkpoint: Checkpoint) -> Tail:
        return open_tail(checkpoint, self._full.images.shape[1], self._root)

    def _embed(self, tail: Tail, changes: dict[str, Any]) -> tuple[PhotoVectors, PhotoPredictions]:
        trunk = self._trunk(self._full)
        images = self._full.images
        settings = self._settings.extract.model_copy(update=changes)
        title_dimensions = self._texts.title.shape[1]
        model = fit_image_model(trunk, tail, self._table, images, self._path_space, title_dimensions, settings)
        return embed_photos(trunk, tail, model.heads_model(), self._table, images, settings)

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
        values = measure_same_product(ranks) | measure_retrieval(neighbours, self._table, rows)
        return {name: mean_of_known(of_questions) for name, of_questions in values.items()}


def _no_searches() -> EmbedWords:
    raise AssertionError("searches are not measured here")


def without_hub_bias(vectors: PhotoVectors) -> PhotoVectors:
    """Return the same vectors without hub correction."""
    return replace(vectors, hub_bias=np.zeros_like(vectors.hub_bias))


def format_rows(results: dict[str, list[Metrics]], columns: dict[str, str]) -> list[list[str]]:
    """Format a row for each choice."""
    return [[name, *(format_metric(runs, column) for column in columns)] for name, runs in results.items()]


def format_metric(runs: list[Metrics], column: str) -> str:
    """Format the mean ± standard deviation over runs; seconds are rounded."""
    if column != "seconds":
        return format_runs(runs, column)
    seconds = [run[column] for run in runs if column in run]
    return f"{mean(seconds):.0f}" if seconds else ""


if __name__ == "__main__":
    main()
