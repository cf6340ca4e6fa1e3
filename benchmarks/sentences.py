"""Compare sentence models by judged relevance and by speed, and print a Markdown table.

    python benchmarks/sentences.py -S fetch.source=local -S fetch.local.path=../shared/market
        --judgements FILE --searches FILE [--model FOLDER …] [--json OUT]

A model is what model.sentence_model takes; that of params.yaml comes first. The network for photos is trained once,
with its titles. The quality of each question is of the candidates that people judged, and differences from the first
model have a 95 % interval over questions. Milliseconds are of the catalogue's texts in batches, and of one title at a
time.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from workspace import Workspace, make_parser, report, table, workspace

from marketplace.common.files import sha256_of
from marketplace.embedding.extraction import embed_texts
from marketplace.embedding.fitting import fit_paths, fit_texts
from marketplace.pretrained.sentence_model import write_sentence_model
from marketplace.recommendation.catalogue import Catalogue
from marketplace.recommendation.judged import read_judged_pairs
from marketplace.recommendation.products import products_of
from marketplace.relevance.judgements import JUDGEMENTS, SEARCHES
from marketplace.relevance.metrics import Judge
from marketplace.relevance.uncertainty import bootstrap_interval
from marketplace.settings import Settings, load_settings
from marketplace.texts.listing_text import plain_text, product_texts
from marketplace.texts.sentence_files import NETWORK
from marketplace.texts.sentence_model import open_sentence_model
from marketplace.texts.text_model import TextModel
from marketplace.vectors.tables import PhotoPredictions, PhotoVectors, read_embeddings, read_predictions

STAGES = ("fetch", "clean", "resize_images", "pretrained", "train_small", "train_full", "fit", "extract")
TEXTS, TITLES = 1000, 200  # of which the time is measured
ROUNDS = 3
METRICS = ("good_at_6", "ndcg_at_8")
SPLITS = ("val", "test")


def main() -> None:
    """Parse the command line, measure, print the results."""
    parser = make_parser(__doc__)
    parser.add_argument("--judgements", type=Path, metavar="FILE", required=True, help="judged pairs of products")
    parser.add_argument("--searches", type=Path, metavar="FILE", required=True, help="judged results of searches")
    parser.add_argument("--model", action="append", default=[], metavar="FOLDER", help="another sentence model")
    options = parser.parse_args()
    with workspace(options.set) as space:
        shutil.copyfile(options.judgements, space.path(JUDGEMENTS))
        shutil.copyfile(options.searches, space.path(SEARCHES))
        space.run(*STAGES)
        bench = Bench(space)
        names = [bench.settings.model.sentence_model, *options.model]
        models = {name: bench.measure(name) for name in names}
    results = {"set": options.set, "models": compare(models)}
    report(results, format_results(results["models"]), options.json)


class Bench:
    """The vectors of the photos and the texts of a catalogue."""

    def __init__(self, space: Workspace) -> None:
        import pandas as pd

        self._space = space
        self.settings: Settings = load_settings(space.path("params.yaml"))
        self._table = pd.read_parquet(space.path("data/clean/training_data.parquet"))
        path = space.path("data/embeddings.parquet")
        self._vectors: PhotoVectors = read_embeddings(path, self._table)
        self._expected: PhotoPredictions = read_predictions(path)

    def measure(self, name: str) -> dict[str, Any]:
        """Return the size and speed of a model, and the quality of each judged question."""
        folder = self._space.path("measured/sentence_model")
        write_sentence_model(folder, name)
        return {
            "megabytes": (folder / NETWORK).stat().st_size / 1e6,
            **self._time(folder),
            "quality": self._judge(folder),
        }

    def _time(self, folder: Path) -> dict[str, float]:
        products = self._table.drop_duplicates("product_id").sample(TEXTS, replace=False, random_state=0)
        texts = [plain_text(text) for text in product_texts(products)]
        titles = [plain_text(title) for title in products["product_name"].head(TITLES)]
        model = open_sentence_model(folder, max_tokens=self.settings.extract.max_tokens)
        model(titles[:1])
        rounds = []
        for _ in range(ROUNDS):
            with empty_cache():
                started = time.perf_counter()
                model.embed_catalogue(texts)
                embedded = time.perf_counter()
            model(titles)
            answered = time.perf_counter()
            rounds.append((embedded - started, answered - embedded))
        in_batches, alone = (median(seconds) for seconds in zip(*rounds, strict=True))
        return {"ms_in_batches": 1000 * in_batches / len(set(texts)), "ms_alone": 1000 * alone / len(titles)}

    def _judge(self, folder: Path) -> dict[str, dict[str, list[float]]]:
        text_model = folder.with_name("text_model")
        fit_texts(text_model, folder, self._table, self.settings.extract)
        _, texts = embed_texts(TextModel(text_model), fit_paths(self._table), self._table)
        catalogue = Catalogue(photos=self._table, products=products_of(self._table), vectors=self._vectors, texts=texts)
        embed_words = TextModel(text_model, sha256_of(text_model)).embed_words
        pairs_of_kind = read_judged_pairs(
            self._space.path(""), catalogue, self._expected, self.settings.recommend, lambda: embed_words
        )
        quality: dict[str, Any] = {}
        for kind, pairs in pairs_of_kind.items():
            scores = pairs.scores(getattr(self.settings.recommend.weights, kind))
            for split in SPLITS:
                chosen = pairs.splits == split
                of_split = Judge(pairs.judgements.select(chosen)).measure(scores[chosen])
                quality[f"{kind}, {split}"] = {metric: getattr(of_split, metric).tolist() for metric in METRICS}
        return quality


@contextmanager
def empty_cache() -> Iterator[None]:
    """Have texts embedded that an earlier run or model has stored."""
    before = os.environ["MARKETPLACE_CACHE"]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MARKETPLACE_CACHE"] = folder
        try:
            yield
        finally:
            os.environ["MARKETPLACE_CACHE"] = before


def compare(models: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Replace the quality of each question by its mean, and by the difference from the first model's."""
    first = next(iter(models.values()))["quality"]
    compared = {}
    for name, model in models.items():
        quality: dict[str, Any] = {}
        for questions, metrics in model["quality"].items():
            for metric, values in metrics.items():
                difference = np.array(values) - np.array(first[questions][metric])
                low, high = bootstrap_interval(difference)
                quality.setdefault(questions, {})[metric] = {
                    "mean": float(np.nanmean(values)),
                    "difference": float(np.nanmean(difference)),
                    "low": low,
                    "high": high,
                }
        compared[name] = {**model, "quality": quality}
    return compared


def format_results(models: dict[str, dict[str, Any]]) -> str:
    """Format a table of sizes and speeds, and one of judged quality."""
    speeds = [
        [Path(name).name, *(f"{model[key]:.1f}" for key in ("megabytes", "ms_in_batches", "ms_alone"))]
        for name, model in models.items()
    ]
    first = next(iter(models))
    qualities = [
        [f"{Path(name).name}: {questions}", *(_format_quality(value, name == first) for value in metrics.values())]
        for name, model in models.items()
        for questions, metrics in model["quality"].items()
    ]
    columns = ["model", "MB", "ms a text, in batches", "ms a title, alone"]
    return f"{table(columns, speeds)}\n\n{table(['questions', 'good@6', 'nDCG@8'], qualities)}"


def _format_quality(value: dict[str, float], is_first: bool) -> str:
    difference = f" ({value['difference']:+.3f}, {value['low']:+.3f} to {value['high']:+.3f})"
    return f"{value['mean']:.3f}{'' if is_first else difference}"


if __name__ == "__main__":
    main()
