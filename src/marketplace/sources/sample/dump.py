"""The made-up marketplace as a dump."""

from collections.abc import Iterator
from typing import Annotated

import pandas as pd
from pydantic import Field

from marketplace.common.params import Section
from marketplace.compute.parallel import run_in_parallel
from marketplace.sources.photo_store import Stamp
from marketplace.sources.sample.defects import Answer, Photo, plant_defects, render_photo
from marketplace.sources.sample.listings import make_listings


class SampleSettings(Section):
    """The size, the seed and the share of defects of the marketplace to make up."""

    products: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)]
    defect_rate: Annotated[float, Field(ge=0, le=0.05)]


class SampleDump:
    """The dump of `fetch.sample`; `answers` has the right outcome of each planted defect."""

    def __init__(self, settings: SampleSettings) -> None:
        listings = make_listings(settings.products, settings.seed)
        self._plan = plant_defects(listings, settings.defect_rate, settings.seed)
        self.answers = pd.DataFrame(self._plan.answers, columns=Answer._fields, dtype=str)

    def table(self, name: str) -> bytes:
        """Return the bytes of `products.csv` or `images.csv`."""
        return self._plan.products_csv() if name == "products.csv" else self._plan.images_csv()

    def photo_names(self) -> list[str]:
        """Return the names of all files in the folder of photos."""
        return list(self._plan.photos)

    def list_files(self) -> dict[str, Stamp]:
        """Return nothing: this dump changes with `fetch.sample` alone."""
        return {}

    def photo(self, name: str) -> Photo:
        """Return the recipe of a photo: its product, and its encoding."""
        return self._plan.photos[name]

    def read_photos(self, names: list[str]) -> Iterator[tuple[str, bytes]]:
        """Draw the named photos, in the order given, on all cores."""
        photos = run_in_parallel(render_photo, [(self.photo(name),) for name in names])
        yield from zip(names, photos, strict=True)
