"""The map of the catalogue, as the page shows it."""

from collections.abc import Mapping
from pathlib import Path

from marketplace.catalogue_map.places import read_map
from marketplace.recommendation.fingerprints import TABLES
from marketplace.recommendation.products import Products
from marketplace.serving.answers import Place


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
            image_id=product.image_ids[0],
            x=round(x, 4),
            y=round(y, 4),
        )
    return places
