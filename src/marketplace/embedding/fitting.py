"""What is fitted to the training split: the projections of a network's outputs, the text model, the category paths."""

import functools
from pathlib import Path

import numpy as np
import pandas as pd

from marketplace.compute.arrays import Images
from marketplace.compute.scratch import take_rows
from marketplace.embedding.graphs import Heads
from marketplace.embedding.image_model import ImageModel
from marketplace.embedding.paths import PathSpace, fit_path_space
from marketplace.embedding.projection import ExtractSettings, Projections, fit_projection
from marketplace.inference.features import FeatureStore
from marketplace.inference.outputs import Outputs, network_outputs
from marketplace.inference.tail import Tail
from marketplace.inference.trunk import Trunk
from marketplace.texts.listing_text import product_texts
from marketplace.texts.text_model import fit_text_model


def fit_image_model(
    trunk: Trunk,
    tail: Tail,
    table: pd.DataFrame,
    images: Images,
    path_space: PathSpace,
    title_dimensions: int,
    settings: ExtractSettings,
) -> ImageModel:
    """Fit the projections to the training photos, and return them with their network.

    `table` is the training data, `images` `(N, S, S, 3) uint8` are full-sized.
    """
    outputs = network_outputs(FeatureStore(trunk, images), tail, mirrored=settings.mirrored)
    heads = Heads(
        classifiers=tail.classifiers(),
        projections=fit_projections(outputs, table, settings),
        paths=path_space.vectors(tail.checkpoint["leaves"] or tail.checkpoint["categories"]),
        title_dimensions=title_dimensions,
        leaf_temperature=settings.leaf_temperature,
    )
    return ImageModel(trunk=trunk, tail=tail, heads=heads, mirrored=settings.mirrored)


def fit_projections(outputs: Outputs, table: pd.DataFrame, settings: ExtractSettings) -> Projections:
    """Fit the projections of a network's outputs to the training photos."""
    train = np.flatnonzero(table["split"] == "train")
    products, _ = pd.factorize(table["product_id"].iloc[train])
    fit = functools.partial(fit_projection, products=products, shrinkage=settings.shrinkage)
    identity = fit(take_rows(outputs.embeddings, train), power=settings.power)
    return Projections(
        identity=identity,
        detail=fit(take_rows(outputs.details, train), power=settings.detail_power),
        kind=identity.cut(settings.kind_dimensions),
        detail_weight=settings.detail_weight,
        category_weight=settings.category_weight,
    )


def fit_paths(table: pd.DataFrame) -> PathSpace:
    """Find the directions for the category paths of the training split."""
    products = table.drop_duplicates("product_id")
    return fit_path_space(products["category_path"][products["split"] == "train"].tolist())


def fit_texts(text_model: Path, sentence_model: Path, table: pd.DataFrame, settings: ExtractSettings) -> None:
    """Fit the text model to the titles and descriptions of the training split's products, and write it."""
    products = table.drop_duplicates("product_id").sort_values("product_id")
    in_training = (products["split"] == "train").to_numpy()
    fit_text_model(
        text_model,
        sentence_model,
        product_texts(products)[in_training].tolist(),
        max_tokens=settings.max_tokens,
        meaning_weight=settings.meaning_weight,
    )
