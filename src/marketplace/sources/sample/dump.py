"""The drawn marketplace as a dump."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from marketplace.common.params import Section
from marketplace.compute.parallel import in_parallel
from marketplace.sources.sample.defects import Photo, photo_bytes, plant_defects
from marketplace.sources.sample.listings import make_listings


class SampleSettings(Section):
    """The marketplace to draw: how large, which one, how dirty."""

    products: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)]
    defect_rate: Annotated[float, Field(ge=0, le=0.05)]


class SampleDump:
    """The drawn dump of `fetch.sample`; `answers` says what must happen to each planted defect."""

    def __init__(self, settings: SampleSettings) -> None:
        listings = make_listings(settings.products, settings.seed)
        self._plan = plant_defects(listings, settings.defect_rate, settings.seed)
        self.answers = self._plan.answers

    def table(self, name: str) -> bytes:
        """The bytes of `products.csv` or `images.csv`."""
        return {"products.csv": self._plan.products_csv, "images.csv": self._plan.images_csv}[name]()

    def photo_names(self) -> list[str]:
        """The names of all files in the folder of photos."""
        return list(self._plan.photos)

    def photo(self, name: str) -> Photo:
        """The recipe of a photo: what it shows, and in which encoding."""
        return self._plan.photos[name]

    def read_photos(self, names: list[str]) -> Iterator[tuple[str, bytes]]:
        """Draw the named photos, in the order given, on all cores."""
        photos = in_parallel(photo_bytes, [(self.photo(name),) for name in names])
        yield from zip(names, photos, strict=True)
