"""The evaluation on the test split: classifying categories, and finding similar products."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.metrics import precision_recall_fscore_support

from marketplace.common.files import replacing, write_json
from marketplace.common.metrics import round_metrics
from marketplace.compute.arrays import Images
from marketplace.embedding.fitting import fit_projections
from marketplace.embedding.hubs import hub_bias
from marketplace.embedding.image_model import project
from marketplace.embedding.projection import ExtractSettings
from marketplace.evaluation.by_product import HeldOutProducts
from marketplace.evaluation.contact_sheets import first_test_images, mistakes_sheet, similar_sheet, worst_mistakes
from marketplace.evaluation.product_categories import predict_product_categories
from marketplace.evaluation.retrieval import (
    CURVE_LENGTH,
    Neighbours,
    find_neighbours,
    measure_retrieval,
    recall_curve,
    sample_queries,
)
from marketplace.evaluation.same_product import (
    PhotoPairs,
    choose_pairs,
    measure_same_product,
    rank_own_products,
    recall_from_ranks,
)
from marketplace.inference.features import FeatureStore
from marketplace.inference.outputs import network_outputs
from marketplace.inference.tail import Tail
from marketplace.inference.trunk import Trunk
from marketplace.relevance.shares_file import write_shares
from marketplace.relevance.uncertainty import Shares
from marketplace.vectors.inner_products import usable_unit_vectors
from marketplace.vectors.tables import PhotoPredictions, PhotoVectors

log = logging.getLogger(__name__)
LOGGED = (
    "accuracy",
    "product_accuracy",
    "same_product_recall_at_1",
    "same_product_recall_at_10",
    "leaf_precision_at_10",
)
COMPARED = (  # by reviews, product by product
    "accuracy",
    "product_accuracy",
    "same_product_recall_at_1",
    "same_product_recall_at_10",
    "category_precision_at_10",
    "leaf_precision_at_10",
)


@dataclass(frozen=True)
class Searches:
    """The results of searching with one network's vectors."""

    neighbours: Neighbours  # of the queries, which are photos of the catalogue
    ranks: np.ndarray  # (Q,) int, of other questions: see `rank_own_products`


@dataclass(frozen=True)
class Evaluation:
    """The metrics, the tables behind them, and two sheets of photos."""

    metrics: dict[str, float | dict[str, float]]
    intervals: dict[str, dict[str, float]]  # by metric of the fine-tuned network
    shares: dict[str, Shares]  # of the products of the test split, by metric
    product_ids: list[str]  # of these products, sorted
    confusion: pd.DataFrame  # actual, predicted, count (of photos): a row for each pair of categories that occurs
    product_confusion: pd.DataFrame  # the same for products, by all their photos and words
    per_category: pd.DataFrame  # category, images, precision, recall, f1
    recall_at_k: pd.DataFrame  # k, tuned, untouched, untouched_projected: same-product recall; tuned_leave_one_out
    similar: Image.Image  # some test photos and their nearest neighbours
    mistakes: Image.Image  # the test photos assigned to a wrong category with the greatest confidence

    def write(self, metrics: Path, folder: Path) -> None:
        """Write the metrics to `metrics`, the tables (as JSON lists of rows) and the sheets to `folder`."""
        for name in ("confusion", "product_confusion", "per_category", "recall_at_k"):
            write_json(folder / f"{name}.json", getattr(self, name).to_dict("records"))
        for name in ("similar", "mistakes"):
            with replacing(folder / f"{name}.jpg") as part:
                getattr(self, name).save(part, format="JPEG", quality=88)
        write_json(folder / "intervals.json", self.intervals)
        write_shares(folder / "by_product.json", self.product_ids, {name: self.shares[name] for name in COMPARED})
        write_json(metrics, self.metrics)
        logged = [f"{name} {self.metrics[name]:.3f}" for name in LOGGED if name in self.metrics]
        log.info("test split: %s", ", ".join(logged))


def evaluate(
    trunk: Trunk,
    untouched: Tail,
    table: pd.DataFrame,
    vectors: PhotoVectors,
    predictions: PhotoPredictions,
    texts: np.ndarray,
    images: Images,
    settings: ExtractSettings,
) -> Evaluation:
    """Evaluate the fine-tuned network on the test split, next to the ImageNet network without fine-tuning.

    The latter is `trunk` and `untouched`: once as it is, and once with its own projections, fitted as in `extract`.
    `table` is the training data, `vectors` and `predictions` belong to its photos, `texts` `(P, t)` to its products,
    sorted by id, and `images` `(N, S, S, 3) uint8` are full-sized.
    """
    test = np.flatnonzero(table["split"] == "test")
    categories = _list_categories(predictions.categories, table)
    labels = table["category"].map(categories.index).to_numpy()[test]
    probabilities = predictions.category[test]
    n_new = len(categories) - probabilities.shape[1]
    probabilities = np.pad(probabilities, ((0, 0), (0, n_new)))
    predicted = probabilities.argmax(axis=1)

    products = predict_product_categories(table, probabilities, texts, categories)

    queries = sample_queries(test)
    pairs = choose_pairs(table, "test")
    searches = {"tuned": _search(vectors, table, queries, pairs, settings)}
    uncorrected = settings.model_copy(update={"hub_weight": 0.0})
    plain, projected = _embed_untouched(trunk, untouched, table, images, settings)
    searches["untouched"] = _search(plain, table, queries, pairs, uncorrected)
    searches["untouched_projected"] = _search(projected, table, queries, pairs, settings)

    held_out = HeldOutProducts(table)
    hits = {
        "accuracy": (predicted == labels).astype(float),
        "top3_accuracy": is_in_top3(labels, probabilities).astype(float),
    }
    retrieval = {name: _measure(search, table, queries, pairs, held_out) for name, search in searches.items()}
    shares = held_out.share_photos(hits, test) | held_out.share_products(products.measure())
    shares |= retrieval.pop("tuned")
    macro_f1 = held_out.measure_macro_f1(labels, predicted, test, len(categories))
    return Evaluation(
        metrics={
            **round_metrics({name: share.mean() for name, share in shares.items()}),
            "macro_f1": macro_f1["mean"],
            **{
                name: round_metrics({metric: share.mean() for metric, share in others.items()})
                for name, others in retrieval.items()
            },
        },
        intervals={name: share.summarise() for name, share in shares.items()} | {"macro_f1": macro_f1},
        shares=shares,
        product_ids=held_out.ids,
        confusion=_confusion(labels, predicted, categories),
        product_confusion=_confusion(products.actual, products.by_both, categories),
        per_category=_per_category(labels, predicted, categories),
        recall_at_k=_recall_at_k(searches, table, queries),
        similar=similar_sheet(images, table, vectors.kind, first_test_images(table, n=6)),
        mistakes=mistakes_sheet(images, table, worst_mistakes(table, test, probabilities), categories),
    )


def _search(
    vectors: PhotoVectors, table: pd.DataFrame, queries: np.ndarray, pairs: PhotoPairs, settings: ExtractSettings
) -> Searches:
    ranks = rank_own_products(
        vectors.identity,
        table["sha256"].to_numpy(),
        pairs,
        hub_neighbours=settings.hub_neighbours,
        hub_weight=settings.hub_weight,
    )
    return Searches(neighbours=find_neighbours(vectors, table, queries), ranks=ranks)


def _measure(
    search: Searches, table: pd.DataFrame, queries: np.ndarray, pairs: PhotoPairs, products: HeldOutProducts
) -> dict[str, Shares]:
    """Return the metrics of searching with one network's vectors."""
    same_product = products.share_photos(measure_same_product(search.ranks), pairs.questions)
    return same_product | products.share_photos(measure_retrieval(search.neighbours, table, queries), queries)


def _confusion(labels: np.ndarray, predicted: np.ndarray, categories: list[str]) -> pd.DataFrame:
    actual = [categories[label] for label in labels]
    assigned = [categories[label] for label in predicted]
    pairs = pd.DataFrame({"actual": actual, "predicted": assigned})
    return pairs.value_counts().rename("count").reset_index().sort_values(["actual", "predicted"])


def _per_category(labels: np.ndarray, predicted: np.ndarray, categories: list[str]) -> pd.DataFrame:
    precision, recall, f1, images = precision_recall_fscore_support(
        labels, predicted, labels=np.arange(len(categories)), zero_division=0
    )
    columns = {"category": categories, "images": images, "precision": precision, "recall": recall, "f1": f1}
    return pd.DataFrame(columns).round(4)


def _recall_at_k(searches: dict[str, Searches], table: pd.DataFrame, queries: np.ndarray) -> pd.DataFrame:
    places = range(1, CURVE_LENGTH + 1)
    columns: dict[str, object] = {"k": places}
    for name, search in searches.items():
        columns[name] = [recall_from_ranks(search.ranks, k) for k in places]
    columns["tuned_leave_one_out"] = recall_curve(searches["tuned"].neighbours, table, queries)
    return pd.DataFrame(columns).round(5).dropna()


def _list_categories(known: list[str], table: pd.DataFrame) -> list[str]:
    """List the categories that the network knows, then newer ones: photos in those all count as errors."""
    new = sorted(set(table["category"]) - set(known))
    if new:
        log.warning(
            "the model was trained before there were %s: photos in new categories count as errors", ", ".join(new)
        )
    return [*known, *new]


def _embed_untouched(
    trunk: Trunk, untouched: Tail, table: pd.DataFrame, images: Images, settings: ExtractSettings
) -> tuple[PhotoVectors, PhotoVectors]:
    """Return the vectors of the untouched network: as it is, and with projections fitted for it."""
    store = FeatureStore(trunk, images)
    unit = usable_unit_vectors(network_outputs(store, untouched).embeddings)
    plain = PhotoVectors(identity=unit, kind=unit, hub_bias=np.zeros(len(unit), np.float32))
    outputs = network_outputs(store, untouched, mirrored=settings.mirrored)
    identity, kind = project(fit_projections(outputs, table, settings), outputs)
    bias = hub_bias(
        identity, table["sha256"].to_numpy(), neighbours=settings.hub_neighbours, weight=settings.hub_weight
    )
    return plain, PhotoVectors(identity=identity, kind=kind, hub_bias=bias)


def is_in_top3(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return whether each image's category is among the three most probable: `(T,) bool`."""
    order = np.argsort(probabilities, axis=1, kind="stable")[:, ::-1]
    return np.any(order[:, :3] == labels[:, None], axis=1)
