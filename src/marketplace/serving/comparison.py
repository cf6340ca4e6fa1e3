"""The recommendations of two revisions side by side: how much each list changed, and the fate of each product."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from marketplace.common.errors import MarketplaceError
from marketplace.recommendation.products import Product
from marketplace.serving.judging import hash_text
from marketplace.serving.preferences import Better, ComparedTables

Fate = Literal["stayed", "moved", "new", "gone"]
Recommendations = Mapping[str, Sequence[str]]  # the ids recommended for each product id, best first
PERSISTENCE = 0.9  # of the reader of a list, who goes on to the next place with this probability


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
    now_first: bool  # whether `now` is to be shown first to whoever judges them: at random, but always the same
    better: Better | None  # the verdict on them; None: not judged


@dataclass(frozen=True)
class ListChange:
    """How much the list of a product changed, from 0 (not at all) to 1 (no product stayed); see `rank_change`."""

    product_id: str
    change: float
    new: int  # products
    gone: int


class RevisionComparison:
    """Compares the recommendations of another revision with the recommendations of the working tree.

    Products that only one of them has recommendations for are left out.
    """

    def __init__(self, revision: str, before: Recommendations, now: Recommendations, tables: ComparedTables) -> None:
        self.revision = revision
        self.tables = tables
        self._before = before
        self._now = now

    @classmethod
    def read(cls, root: Path, name: str) -> "RevisionComparison":
        """Compare with a commit, branch or experiment. Raises MarketplaceError if its results are not on this machine.

        `root` is the pipeline's folder.
        """
        from marketplace.review.recommendations import hash_of_recommendations, recommendations_of
        from marketplace.review.revisions import WORKSPACE, Revision

        revision = Revision.of(root, name)
        before = recommendations_of(revision)
        workspace = Revision.of(root, WORKSPACE)
        now = recommendations_of(workspace)
        if before is None or now is None:
            missing = name if before is None else "this working tree"
            raise MarketplaceError(
                f"the recommendations of {missing} are not in DVC's cache: `dvc fetch recommend` downloads them, "
                "`dvc repro` computes them."
            )
        tables = ComparedTables(
            before=hash_of_recommendations(revision) or "", now=hash_of_recommendations(workspace) or ""
        )
        return cls(revision.label, before, now, tables)

    @cached_property
    def n_products(self) -> int:
        """The number of products that both revisions have recommendations for."""
        return len(self._before.keys() & self._now.keys())

    @cached_property
    def changes(self) -> list[ListChange]:
        """The lists that changed, those that changed most first."""
        changes = []
        for product_id in self._before.keys() & self._now.keys():
            before = self._before[product_id]
            now = self._now[product_id]
            if list(before) == list(now):
                continue
            stayed = len(set(before) & set(now))
            change = ListChange(
                product_id=product_id,
                change=rank_change(before, now),
                new=len(now) - stayed,
                gone=len(before) - stayed,
            )
            changes.append(change)
        return sorted(changes, key=lambda change: (-change.change, change.product_id))

    def next_to_judge(self, verdicts: Mapping[str, Better], after: str | None = None) -> str | None:
        """Return the next product after `after` whose list changed and that has no verdict; None if there is none.

        The order is random, but always the same: verdicts on the first hundred say something about all changed lists.
        """
        left = [change.product_id for change in self.changes if change.product_id not in verdicts]
        start = hash_text(after) if after else b""
        return min(left, key=lambda product_id: (hash_text(product_id) <= start, hash_text(product_id)), default=None)

    def compare(
        self, product_id: str, product_of: Callable[[str], Product | None], better: Better | None = None
    ) -> ComparedLists:
        """Compare the lists of a product, on which there may be a verdict.

        `product_of` returns a product by its id, or None if there is none.
        """
        before = list(self._before.get(product_id, []))
        now = list(self._now.get(product_id, []))
        return ComparedLists(
            revision=self.revision,
            before=[_compare(before, now, listed_id, product_of(listed_id)) for listed_id in before],
            now=[_compare(before, now, listed_id, product_of(listed_id)) for listed_id in now],
            now_first=hash_text(f"first {product_id}")[0] % 2 == 0,
            better=better,
        )


def rank_change(before: Sequence[str], now: Sequence[str]) -> float:
    """Return how much a list changed, from 0 (the same products in the same order) to 1 (no product in common).

    This is 1 - rank-biased overlap (Webber, Moffat & Zobel, 2010) of the lists as far as they go. The overlap to a
    depth d, the share of the first d products that both lists have, has the weight PERSISTENCE^(d - 1): the
    probability that somebody reads that far. So a change at the top counts most.

    >>> [round(rank_change("abcd", other), 2) for other in ("abcd", "abdc", "bacd", "abxy", "wxyz")]
    [0.0, 0.08, 0.29, 0.18, 1.0]
    """
    overlap = 0.0
    total = 0.0
    seen_before: set[str] = set()
    seen_now: set[str] = set()
    for depth in range(1, max(len(before), len(now)) + 1):
        seen_before.update(before[depth - 1 : depth])
        seen_now.update(now[depth - 1 : depth])
        weight = PERSISTENCE ** (depth - 1)
        overlap += weight * len(seen_before & seen_now) / depth
        total += weight
    return 1 - overlap / total if total else 0.0


def _compare(before: list[str], now: list[str], product_id: str, product: Product | None) -> ComparedProduct:
    """Return the fate of a product that is in at least one of two lists."""
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
