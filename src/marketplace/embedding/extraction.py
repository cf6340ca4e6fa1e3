"""The vectors of all photos and of all products' texts, and the models that make them."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from marketplace.common.texts import display_name
from marketplace.embedding.image_model import ImageModel
from marketplace.embedding.outputs import pooled
from marketplace.embedding.projection import ExtractSettings, Projection, fit_projection
from marketplace.embedding.text_model import TextModel, fit_text_model
from marketplace.embedding.vectors import PhotoVectors, hub_bias
from marketplace.models import checkpoints
from marketplace.models.checkpoints import Checkpoint


@torch.no_grad()  # not inference_mode: the model is exported afterwards
def embed_photos(
    tuned: Checkpoint, table: pd.DataFrame, images: np.ndarray, settings: ExtractSettings
) -> tuple[ImageModel, PhotoVectors]:
    """Fit the projections to the training photos: the image model, and the vectors of all photos.

    `table` is the training data, `images` `(N, S, S, 3) uint8` are full-sized.
    """
    network = checkpoints.network_of(tuned, len(tuned["categories"]))
    outputs = pooled(network, images, mirrored=settings.mirrored)
    product, kind = fit_projections(outputs, table, settings)
    weight = settings.category_weight
    model = ImageModel(network.cpu(), product, kind, mirrored=settings.mirrored, category_weight=weight)
    products, kinds = (vectors.numpy() for vectors in model.vectors(outputs))
    return model, PhotoVectors(products, kinds, hub_bias(products, table["sha256"].to_numpy()))


def fit_projections(outputs: Tensor, table: pd.DataFrame, settings: ExtractSettings) -> tuple[Projection, Projection]:
    """The projections to product and to kind vectors, fitted to the outputs `(N, D)` of the training photos."""
    train = np.flatnonzero(table["split"] == "train")
    vectors = outputs[train]
    products = torch.from_numpy(pd.factorize(table["product_id"].iloc[train])[0])
    power, shrinkage = settings.power, settings.shrinkage
    product = fit_projection(vectors, products, power=power, shrinkage=shrinkage)
    return product, fit_projection(
        vectors, products, power=power, shrinkage=shrinkage, dimensions=settings.kind_dimensions
    )


def embed_texts(model: Path, table: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """Fit the text model to the products of the training split; all product ids, sorted, and the vectors `(P, t)`.

    A product's text is its title and its description.
    """
    products = table.drop_duplicates("product_id").sort_values("product_id")
    texts = product_texts(products)
    fit_text_model(model, texts[(products["split"] == "train").to_numpy()].tolist())
    return products["product_id"].tolist(), TextModel(model)(texts.tolist())


def product_texts(products: pd.DataFrame) -> "pd.Series[str]":
    """Title and description of each product; a description that many products share is left out."""
    titles = products["product_name"].map(display_name)
    descriptions = products["product_description"]
    shared = descriptions.map(descriptions.value_counts()) > max(1, len(products) // 100)
    return (titles + " " + descriptions.where(~shared, "")).str.strip()
