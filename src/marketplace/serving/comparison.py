"""The recommendations of two revisions side by side: what stayed, what moved, what is new and what is gone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from marketplace.common.errors import MarketplaceError
from marketplace.recommendation.products import Product

Similar = Mapping[str, Sequence[str]]  # product id -> the ids of its recommended products


@dataclass(frozen=True)
class Compared:
    """A recommendation of one of the revisions."""

    product_id: str
    product: Product | None  # None: the catalogue no longer has it
    fate: Literal["stayed", "moved", "new", "gone"]
    by: int  # places up (more than 0) or down since the other revision; 0 for what is new or gone


@dataclass(frozen=True)
class Lists:
    """A product's recommendations before and now."""

    revision: str  # the name of the one before
    before: list[Compared]
    now: list[Compared]


class Comparison:
    """Compares the recommendations of another revision with those of the working tree."""

    def __init__(self, revision: str, before: Similar, now: Similar) -> None:
        self.revision, self._before, self._now = revision, before, now

    @classmethod
    def of(cls, root: Path, name: str) -> "Comparison":
        """The comparison with a commit, branch or experiment. Raises MarketplaceError if its results are not here."""
        from marketplace.review.recommendations import recommendations_of
        from marketplace.review.revisions import WORKSPACE, Revision

        revisions = [Revision.of(root, one) for one in (name, WORKSPACE)]
        before, now = (recommendations_of(revision) for revision in revisions)
        if before is None or now is None:
            lacking = name if before is None else "this working tree"
            raise MarketplaceError(
                f"the recommendations of {lacking} are not in DVC's cache: `dvc fetch recommend` gets them there, or "
                "`dvc repro` makes them."
            )
        return cls(revisions[0].label, before, now)

    def lists(self, product_id: str, product_of: Callable[[str], Product | None]) -> Lists:
        """Both lists of a product; `product_of` gives a product by its id, or None if there is no such product."""
        before, now = (table.get(product_id, []) for table in (self._before, self._now))
        return Lists(
            self.revision,
            [Compared(other, product_of(other), *_fate(before, now, other, "gone")) for other in before],
            [Compared(other, product_of(other), *_fate(before, now, other, "new")) for other in now],
        )


def _fate(
    before: Sequence[str], now: Sequence[str], other: str, alone: Literal["new", "gone"]
) -> tuple[Literal["stayed", "moved", "new", "gone"], int]:
    if other not in before or other not in now:
        return alone, 0
    by = list(before).index(other) - list(now).index(other)
    return ("moved" if by else "stayed"), by
