"""The routes of the JSON API that compare the recommendations of another revision with the current ones."""

from functools import partial
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query
from pydantic import BaseModel

from marketplace.recommendation.filters import Filters
from marketplace.recommendation.products import Product
from marketplace.serving.comparison import ComparedLists, ListChange, RevisionComparison
from marketplace.serving.feedback import Verdict
from marketplace.serving.preferences import Better, Preferences
from marketplace.serving.recommender import Recommender
from marketplace.serving.schema import MAX_ID_LENGTH, Count, FilterParameters, Offset, PathId
from marketplace.serving.schema import problem_responses as problems
from marketplace.serving.threads import Threads


class Comparison(BaseModel):
    """How the recommendations of another revision compare with the current ones."""

    revision: str
    products: int  # with recommendations in both revisions
    changed: int  # of these, the products whose lists differ
    preferences: Preferences
    summary: str  # of the preferences, in a sentence; empty without verdicts


class ChangedProduct(BaseModel):
    """A product whose list changed."""

    product: Product
    change: float  # from 0 to 1: 1 - rank-biased overlap
    new: int  # products in the list
    gone: int
    better: Better | None  # the verdict on the lists; null: not judged


class ChangedProducts(BaseModel):
    """Some of the products whose lists changed, and how many there are."""

    total: int
    products: list[ChangedProduct]


class BetterList(BaseModel):
    """Which list is better: the current one, the one before, or neither."""

    better: Better


class NextProduct(BaseModel):
    """A product whose two lists are to be judged; null if all are."""

    product_id: str | None


def add_comparison_routes(
    app: FastAPI, recommender: Recommender, comparison: RevisionComparison | None, writer: Threads
) -> None:
    """Add these routes to an application; without a comparison, all of them answer 404.

    `writer` is the only thread that writes ratings.
    """
    _add_overviews(app, recommender, comparison)
    _add_judging(app, recommender, comparison, writer)


def _add_overviews(app: FastAPI, recommender: Recommender, comparison: RevisionComparison | None) -> None:
    @app.get("/api/compared", responses=problems(404, 503))
    def compared() -> Comparison:
        """The other revision, how many lists changed, and which lists people find better."""
        pair = _require(comparison)
        preferences = Preferences.count(_verdicts(recommender, pair).values())
        return Comparison(
            revision=pair.revision,
            products=pair.n_products,
            changed=len(pair.changes),
            preferences=preferences,
            summary=preferences.describe(pair.revision) if preferences.n else "",
        )

    @app.get("/api/compared/products", responses=problems(404, 503))
    def changed_products(filters: FilterParameters, offset: Offset = 0, limit: Count = 48) -> ChangedProducts:
        """The products whose lists changed, by rank-biased overlap; those that changed most come first."""
        pair = _require(comparison)
        verdicts = _verdicts(recommender, pair)
        changes = _passing(pair.changes, recommender, filters)
        products = [
            ChangedProduct(
                product=recommender.product(change.product_id),
                change=round(change.change, 4),
                new=change.new,
                gone=change.gone,
                better=verdicts.get(change.product_id),
            )
            for change in changes[offset : offset + limit]
        ]
        return ChangedProducts(total=len(changes), products=products)


def _add_judging(
    app: FastAPI, recommender: Recommender, comparison: RevisionComparison | None, writer: Threads
) -> None:
    @app.get("/api/compared/next", responses=problems(404, 503))
    def next_product(after: Annotated[str | None, Query(max_length=MAX_ID_LENGTH)] = None) -> NextProduct:
        """The next product whose two lists are to be judged, in random order; `after` is the product before it."""
        pair = _require(comparison)
        return NextProduct(product_id=pair.next_to_judge(_verdicts(recommender, pair), after))

    @app.get("/api/products/{product_id}/compared", responses=problems(404, 503))
    def compared_lists(product_id: PathId) -> ComparedLists:
        """The recommendations of another revision and the current ones; 404 unless the server compares revisions."""
        pair = _require(comparison)
        whole_id = recommender.product(product_id).product_id
        better = _verdicts(recommender, pair).get(whole_id)
        return pair.compare(whole_id, recommender.product_or_none, better)

    @app.put("/api/products/{product_id}/compared/better", responses=problems(404, 503), status_code=204)
    async def judge_lists(product_id: PathId, verdict: BetterList) -> None:
        """Store which of the two lists of a product is better, in place of an earlier verdict."""
        pair = _require(comparison)
        stored = Verdict(
            product_id=recommender.product(product_id).product_id,
            tables=pair.tables,
            revision=pair.revision,
            better=verdict.better,
        )
        await writer.run(partial(recommender.feedback.give_verdict, stored))


def _require(comparison: RevisionComparison | None) -> RevisionComparison:
    if comparison is None:
        raise HTTPException(404, "this server compares no revisions: marketplace serve --compare REVISION")
    return comparison


def _passing(changes: list[ListChange], recommender: Recommender, filters: Filters) -> list[ListChange]:
    """Return the changes of products that are in the catalogue and pass the filters."""
    passing = recommender.table.passing(filters)
    ids = recommender.ids
    return [change for change in changes if change.product_id in ids and passing[ids.number(change.product_id)]]


def _verdicts(recommender: Recommender, comparison: RevisionComparison) -> dict[str, Better]:
    """Return the verdicts on the lists of these two revisions, by product id."""
    verdicts = recommender.feedback.verdicts()
    return {verdict.product_id: verdict.better for verdict in verdicts if verdict.tables == comparison.tables}
