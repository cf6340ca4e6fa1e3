"""The protocol of a dump's source, and the registry of all sources.

To add a source, write a class with the methods of `Dump` in a new module of this package, and register it here.
"""

from collections.abc import Callable, Iterator
from typing import Annotated, Protocol

from pydantic import Field

from marketplace.common.params import Section, one_of
from marketplace.sources.ec2 import Ec2Dump
from marketplace.sources.local import LocalDump, LocalSettings
from marketplace.sources.mirror import Mirror
from marketplace.sources.photo_store import Stamp
from marketplace.sources.s3 import S3Dump, S3Settings
from marketplace.sources.sample.dump import SampleDump, SampleSettings
from marketplace.sources.ssh import Ec2Settings


class Dump(Protocol):
    """A marketplace's dump: two tables and a folder of photos, wherever they are."""

    def table(self, name: str) -> bytes:
        """Return the bytes of `products.csv` or `images.csv`."""

    def photo_names(self) -> list[str]:
        """Return the names of all files in the folder of photos, in any order."""

    def list_files(self) -> dict[str, Stamp]:
        """Return the stamps of the tables and of all photos, by path; empty for a generated dump.

        Nothing is transferred or retried. Raises MarketplaceError if the source cannot be listed.
        """

    def read_photos(self, names: list[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) of the named photos, in the order given."""


SOURCES: dict[str, Callable[["FetchSettings"], Dump]] = {
    "sample": lambda settings: SampleDump(settings.sample),
    "local": lambda settings: LocalDump(settings.local),
    "s3": lambda settings: Mirror(S3Dump(settings.s3)),
    "ec2": lambda settings: Mirror(Ec2Dump(settings.ec2)),
}


class FetchSettings(Section):
    """The source of the dump, the part of it to fetch, and the number of shards."""

    source: Annotated[str, one_of(SOURCES)]
    limit: Annotated[int, Field(ge=1)] | None
    shards: Annotated[int, Field(ge=1, le=999)]
    sample: SampleSettings
    local: LocalSettings
    s3: S3Settings
    ec2: Ec2Settings


def open_dump(settings: FetchSettings) -> Dump:
    """Open the dump that `fetch.source` names."""
    return SOURCES[settings.source](settings)
