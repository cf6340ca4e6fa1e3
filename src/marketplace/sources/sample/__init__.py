"""A marketplace drawn on the spot: seeded, of any size, without a network, and as dirty as a real one.

`listings` makes up the tables and the plan of every photo, `drawing` paints one photo, `defects` spoils some of them.
"""

from collections.abc import Iterator

from marketplace.parallel import in_parallel
from marketplace.settings import SampleSettings
from marketplace.sources.sample.defects import Photo, photo_bytes, plant_defects
from marketplace.sources.sample.listings import make_listings

__all__ = ["SampleDump"]


class SampleDump:
    """The drawn dump of `fetch.sample`; `answers` says what must become of each planted defect."""

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
        """How a photo is made: what it shows, and in which encoding."""
        return self._plan.photos[name]

    def read_photos(self, names: list[str]) -> Iterator[tuple[str, bytes]]:
        """Draw the named photos, in the order given, on all cores."""
        photos = in_parallel(photo_bytes, [(self.photo(name),) for name in names])
        yield from zip(names, photos, strict=True)
