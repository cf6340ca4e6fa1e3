"""The vectors of all photos and of all products' texts, and the models that give them."""

import functools
from pathlib import Path

import numpy as np
import pandas as pd

from marketplace.compute.arrays import Images
from marketplace.embedding.graphs import Heads
from marketplace.embedding.hubs import hub_bias
from marketplace.embedding.image_model import ImageModel
from marketplace.embedding.paths import PathSpace, fit_path_space
from marketplace.embedding.projection import ExtractSettings, Projections, fit_projection
from marketplace.inference.features import FeatureStore
from marketplace.inference.outputs import Outputs, network_outputs
from marketplace.inference.tail import Tail
from marketplace.inference.trunk import Trunk
from marketplace.texts.listing_text import product_texts
from marketplace.texts.text_model import TextModel, fit_text_model
from marketplace.vectors.tables import PhotoPredictions, PhotoVectors, TextVectors


def embed_photos(
    trunk: Trunk,
    tail: Tail,
    table: pd.DataFrame,
    images: Images,
    path_space: PathSpace,
    title_dimensions: int,
    settings: ExtractSettings,
) -> tuple[ImageModel, PhotoVectors, PhotoPredictions]:
    """Fit the projections to the training photos; return the image model, and the vectors of all photos.

    `table` is the training data, `images` `(N, S, S, 3) uint8` are full-sized.
    """
    outputs = network_outputs(FeatureStore(trunk, images), tail, mirrored=settings.mirrored)
    categories = tail.checkpoint["categories"]
    heads = Heads(
        classifiers=tail.classifiers(),
        projections=fit_projections(outputs, table, settings),
        paths=path_space.vectors(tail.checkpoint["leaves"] or categories),
        title_dimensions=title_dimensions,
        leaf_temperature=settings.leaf_temperature,
    )
    model = ImageModel(trunk=trunk, tail=tail, heads=heads, mirrored=settings.mirrored)
    vectors = model.vectors(outputs)
    bias = hub_bias(
        vectors.identity, table["sha256"].to_numpy(), neighbours=settings.hub_neighbours, weight=settings.hub_weight
    )
    return (
        model,
        PhotoVectors(identity=vectors.identity, kind=vectors.kind, hub_bias=bias),
        PhotoPredictions(title=vectors.title, path=vectors.path, category=vectors.category, categories=categories),
    )


def fit_projections(outputs: Outputs, table: pd.DataFrame, settings: ExtractSettings) -> Projections:
    """Fit the projections of a network's outputs to the training photos."""
    train = np.flatnonzero(table["split"] == "train")
    products, _ = pd.factorize(table["product_id"].iloc[train])
    fit = functools.partial(fit_projection, products=products, shrinkage=settings.shrinkage)
    embeddings = outputs.embeddings[train]
    details = outputs.details[train]
    return Projections(
        identity=fit(embeddings, power=settings.power),
        detail=fit(details, power=settings.detail_power),
        kind=fit(embeddings, power=settings.power, dimensions=settings.kind_dimensions),
        detail_weight=settings.detail_weight,
        category_weight=settings.category_weight,
    )


def fit_paths(table: pd.DataFrame) -> PathSpace:
    """Find the directions for the category paths of the training split."""
    products = table.drop_duplicates("product_id")
    return fit_path_space(products["category_path"][products["split"] == "train"].tolist())


def embed_texts(
    model: Path, sentence_model: Path, table: pd.DataFrame, path_space: PathSpace, settings: ExtractSettings
) -> tuple[list[str], TextVectors]:
    """Fit the text model to the products of the training split; return all product ids, sorted, and their vectors.

    A product's text is its title and its description.
    """
    products = table.drop_duplicates("product_id").sort_values("product_id")
    texts = product_texts(products)
    in_training = (products["split"] == "train").to_numpy()
    fit_text_model(
        model,
        sentence_model,
        texts[in_training].tolist(),
        max_tokens=settings.max_tokens,
        meaning_weight=settings.meaning_weight,
    )
    text_model = TextModel(model)
    return products["product_id"].tolist(), TextVectors(
        text=text_model.embed_catalogue(texts.tolist()),
        title=text_model.embed_titles(products["product_name"].tolist()),
        path=path_space.vectors(products["category_path"].tolist()),
    )
