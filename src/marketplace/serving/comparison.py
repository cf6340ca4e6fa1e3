"""The recommendations of two revisions side by side: which ones stayed, moved, are new or are gone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from marketplace.common.errors import MarketplaceError
from marketplace.recommendation.products import Product

Fate = Literal["stayed", "moved", "new", "gone"]
Recommendations = Mapping[str, Sequence[str]]  # the ids recommended for each product id, best first


@dataclass(frozen=True)
class ComparedProduct:
    """A product that one of the revisions recommends."""

    product_id: str
    product: Product | None  # None: it is no longer in the catalogue
    fate: Fate
    places_up: int  # since the other revision; negative if it fell, 0 if it is new or gone


@dataclass(frozen=True)
class ComparedLists:
    """A product's recommendations before and now."""

    revision: str  # the name of the revision before
    before: list[ComparedProduct]
    now: list[ComparedProduct]


class RevisionComparison:
    """Compares the recommendations of another revision with the recommendations of the working tree."""

    def __init__(self, revision: str, before: Recommendations, now: Recommendations) -> None:
        self.revision = revision
        self._before = before
        self._now = now

    @classmethod
    def read(cls, root: Path, name: str) -> "RevisionComparison":
        """Compare with a commit, branch or experiment. Raises MarketplaceError if its results are not on this machine.

        `root` is the pipeline's folder.
        """
        from marketplace.review.recommendations import recommendations_of
        from marketplace.review.revisions import WORKSPACE, Revision

        revision = Revision.of(root, name)
        before = recommendations_of(revision)
        now = recommendations_of(Revision.of(root, WORKSPACE))
        if before is None or now is None:
            missing = name if before is None else "this working tree"
            raise MarketplaceError(
                f"the recommendations of {missing} are not in DVC's cache: `dvc fetch recommend` downloads them, "
                "`dvc repro` computes them."
            )
        return cls(revision.label, before, now)

    def compare(self, product_id: str, product_of: Callable[[str], Product | None]) -> ComparedLists:
        """Compare the lists of a product. `product_of` returns a product by its id, or None if there is none."""
        before = list(self._before.get(product_id, []))
        now = list(self._now.get(product_id, []))
        return ComparedLists(
            revision=self.revision,
            before=[_compare(before, now, listed_id, product_of(listed_id)) for listed_id in before],
            now=[_compare(before, now, listed_id, product_of(listed_id)) for listed_id in now],
        )


def _compare(before: list[str], now: list[str], product_id: str, product: Product | None) -> ComparedProduct:
    """Say what became of a product that is in at least one of two lists."""
    fate: Fate
    places_up = 0
    if product_id not in now:
        fate = "gone"
    elif product_id not in before:
        fate = "new"
    else:
        places_up = before.index(product_id) - now.index(product_id)
        fate = "moved" if places_up else "stayed"
    return ComparedProduct(product_id=product_id, product=product, fate=fate, places_up=places_up)
