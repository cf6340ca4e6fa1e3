"""Where a dump comes from. A source is a class of one file here; `open_dump` is the only place that knows them all."""

from collections.abc import Callable, Iterator
from typing import Protocol

from marketplace.settings import FetchSettings
from marketplace.sources.ec2 import Ec2Dump
from marketplace.sources.local import LocalDump
from marketplace.sources.mirror import Mirror
from marketplace.sources.s3 import S3Dump
from marketplace.sources.sample import SampleDump


class Dump(Protocol):
    """A marketplace's dump: two tables and a folder of photos, wherever they lie."""

    def table(self, name: str) -> bytes:
        """The bytes of `products.csv` or `images.csv`."""

    def photo_names(self) -> list[str]:
        """The names of all files in the folder of photos, in any order."""

    def read_photos(self, names: list[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) of the named photos, in the order given."""


_SOURCES: dict[str, Callable[[FetchSettings], Dump]] = {
    "sample": lambda settings: SampleDump(settings.sample),
    "local": lambda settings: LocalDump(settings.local),
    "s3": lambda settings: Mirror(S3Dump(settings.s3)),
    "ec2": lambda settings: Mirror(Ec2Dump(settings.ec2)),
}


def open_dump(settings: FetchSettings) -> Dump:
    """The dump that `fetch.source` names."""
    return _SOURCES[settings.source](settings)
