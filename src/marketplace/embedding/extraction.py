"""The vectors of all photos and of all products' texts, by models that were fitted before."""

import pandas as pd

from marketplace.compute.arrays import Images
from marketplace.embedding.heads_model import HeadsModel
from marketplace.embedding.hubs import hub_bias
from marketplace.embedding.paths import PathSpace
from marketplace.embedding.projection import ExtractSettings
from marketplace.inference.features import FeatureStore
from marketplace.inference.outputs import network_outputs
from marketplace.inference.tail import Tail
from marketplace.inference.trunk import Trunk
from marketplace.texts.listing_text import product_texts
from marketplace.texts.text_model import TextModel
from marketplace.vectors.tables import PhotoPredictions, PhotoVectors, TextVectors


def embed_photos(
    trunk: Trunk, tail: Tail, heads: HeadsModel, table: pd.DataFrame, images: Images, settings: ExtractSettings
) -> tuple[PhotoVectors, PhotoPredictions]:
    """Return the vectors of all photos, and the network's predictions for them.

    `table` is the training data, `images` `(N, S, S, 3) uint8` are full-sized.
    """
    vectors = heads(network_outputs(FeatureStore(trunk, images), tail, mirrored=heads.mirrored))
    bias = hub_bias(
        vectors.identity, table["sha256"].to_numpy(), neighbours=settings.hub_neighbours, weight=settings.hub_weight
    )
    return (
        PhotoVectors(identity=vectors.identity, kind=vectors.kind, hub_bias=bias),
        PhotoPredictions(
            title=vectors.title,
            path=vectors.path,
            category=vectors.category,
            categories=tail.checkpoint["categories"],
        ),
    )


def embed_texts(text_model: TextModel, path_space: PathSpace, table: pd.DataFrame) -> tuple[list[str], TextVectors]:
    """Return all product ids, sorted, and the vectors of their products' words and category paths.

    A product's text is its title and its description.
    """
    products = table.drop_duplicates("product_id").sort_values("product_id")
    return products["product_id"].tolist(), TextVectors(
        text=text_model.embed_catalogue(product_texts(products).tolist()),
        title=text_model.embed_titles(products["product_name"].tolist()),
        path=path_space.vectors(products["category_path"].tolist()),
    )
