"""The vectors of all photos and of all products' texts, and the models that give them."""

import functools
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from marketplace.compute.arrays import Images
from marketplace.embedding.hubs import hub_bias
from marketplace.embedding.image_model import ImageModel, Projections
from marketplace.embedding.paths import PathSpace, fit_path_space
from marketplace.embedding.projection import ExtractSettings, fit_projection
from marketplace.inference.outputs import Outputs, network_outputs
from marketplace.models import checkpoints
from marketplace.models.checkpoints import Checkpoint
from marketplace.texts.listing_text import product_texts
from marketplace.texts.text_model import TextModel, fit_text_model
from marketplace.vectors.tables import ExpectedTexts, PhotoVectors, TextVectors


@torch.no_grad()  # not inference_mode: the model is exported afterwards
def embed_photos(
    tuned: Checkpoint,
    table: pd.DataFrame,
    images: Images,
    path_space: PathSpace,
    title_dimensions: int,
    settings: ExtractSettings,
) -> tuple[ImageModel, PhotoVectors, ExpectedTexts]:
    """Fit the projections to the training photos; return the image model, and the vectors of all photos.

    `table` is the training data, `images` `(N, S, S, 3) uint8` are full-sized.
    """
    network = checkpoints.network_of(tuned, len(tuned["categories"]))
    outputs = network_outputs(network, images, mirrored=settings.mirrored)
    projections = fit_projections(outputs, table, settings)
    paths = path_space.vectors(tuned["leaves"] or tuned["categories"])
    model = ImageModel(
        network.cpu(),
        projections,
        torch.from_numpy(paths),
        title_dimensions,
        mirrored=settings.mirrored,
        leaf_temperature=settings.leaf_temperature,
    )
    vectors = model.vectors(outputs)
    identity = vectors.identity.numpy()
    bias = hub_bias(
        identity, table["sha256"].to_numpy(), neighbours=settings.hub_neighbours, weight=settings.hub_weight
    )
    return (
        model,
        PhotoVectors(identity=identity, kind=vectors.kind.numpy(), hub_bias=bias),
        ExpectedTexts(title=vectors.title.numpy(), path=vectors.path.numpy()),
    )


def fit_projections(outputs: Outputs, table: pd.DataFrame, settings: ExtractSettings) -> Projections:
    """Fit the projections of a network's outputs to the training photos."""
    train = np.flatnonzero(table["split"] == "train")
    products, _ = pd.factorize(table["product_id"].iloc[train])
    fit = functools.partial(fit_projection, products=torch.from_numpy(products), shrinkage=settings.shrinkage)
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
    model: Path, table: pd.DataFrame, path_space: PathSpace, settings: ExtractSettings
) -> tuple[list[str], TextVectors]:
    """Fit the text model to the products of the training split; return all product ids, sorted, and their vectors.

    A product's text is its title and its description.
    """
    products = table.drop_duplicates("product_id").sort_values("product_id")
    texts = product_texts(products)
    in_training = (products["split"] == "train").to_numpy()
    fit_text_model(
        model,
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
