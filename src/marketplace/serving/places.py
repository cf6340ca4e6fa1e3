"""The map of the catalogue, as the page shows it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from marketplace.catalogue_map.places import read_map
from marketplace.recommendation.fingerprints import TABLES
from marketplace.recommendation.products import Products
from marketplace.serving.answers import MapLegend, Place
from marketplace.serving.map_labels import label_groups


def read_places(root: Path, fingerprints: Mapping[str, str], products: Products) -> dict[int, Place]:
    """Return the places on the map of the pipeline in `root` by the numbers of products.

    Raises MarketplaceError if the map is missing, damaged or was made with other tables than `fingerprints` says.
    """
    places = {}
    for product_id, x, y in read_map(root, {name: fingerprints[name] for name in TABLES}).itertuples(index=False):
        number = products.number_of[product_id]
        product = products.product(number)
        places[number] = Place(
            product_id=product_id,
            name=product.name,
            category=str(products.categories[number]),
            price=product.price,
            currency=product.currency,
            location=product.location,
            image_id=product.image_ids[0],
            x=round(x, 4),
            y=round(y, 4),
        )
    return places


def describe_map(places: Mapping[int, Place], products: Products) -> MapLegend:
    """Return the categories and the groups on a map. `places` are by the numbers of products."""
    points = np.array([[place.x, place.y] for place in places.values()]).reshape(-1, 2)
    paths = products.table["category_path"].iloc[list(places)].tolist()
    categories = products.table["category"].value_counts()
    return MapLegend(
        categories=sorted(categories.index, key=lambda category: (-categories[category], category)),
        labels=label_groups(points, paths),
    )
