"""The JSON API. Its routes about similar products are in similarity_routes.py."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Literal

from fastapi import FastAPI, HTTPException, Query, Request, Response
from pydantic import BaseModel

from marketplace.recommendation.filters import CONDITIONS, KIND_OF, Kind
from marketplace.recommendation.products import Product
from marketplace.serving.answers import MapLegend, Order, Place
from marketplace.serving.comparison import RevisionComparison
from marketplace.serving.judging import JudgingTask
from marketplace.serving.photos import SIZES
from marketplace.serving.recommender import Recommender
from marketplace.serving.schema import (
    RATED,
    UNKNOWN_PRODUCT,
    Count,
    FilterParameters,
    Offset,
    PathId,
    Responses,
    Words,
    problem_responses,
)
from marketplace.serving.similarity_routes import add_similarity_routes
from marketplace.serving.suggestions import Suggestion
from marketplace.serving.threads import Threads


class ProductList(BaseModel):
    """Some of the matching products, and how many there are."""

    total: int
    corrected: str | None  # the words as the catalogue spells them, if no listing has them as they are
    products: list[Product]
    categories: dict[str, int]  # matching products in each root category, whatever the category filter


class Opinion(BaseModel):
    """A thumb up (true) or down (false), or none."""

    good: bool | None


class Judgement(BaseModel):
    """A grade: 2, the same kind of thing and a real alternative; 1, related and tolerable; 0, not similar."""

    grade: Literal[0, 1, 2]


class Status(BaseModel):
    """Server status."""

    status: str


class FilterInput(BaseModel):
    """A filter, as the page shows it."""

    name: str  # of the parameter
    label: str
    help: str
    kind: Kind
    choices: list[str]  # for the kind `choice`


class CatalogueOptions(BaseModel):
    """The filters, and the revision that recommendations are compared with."""

    filters: list[FilterInput]
    compared: str | None


PhotoSize = Annotated[int, Query(ge=1, le=SIZES[-1])]  # pixels of the longer side
PHOTO: Responses = {
    200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
    304: {"description": "the client already has it"},
    **problem_responses(404),
}


def add_routes(app: FastAPI, recommender: Recommender, comparison: RevisionComparison | None, writer: Threads) -> None:
    """Add the routes of the API to an application. `writer` is the only thread that writes ratings."""
    _add_status_routes(app, recommender)
    _add_catalogue_routes(app, recommender, comparison)
    add_similarity_routes(app, recommender)
    _add_feedback_routes(app, recommender, writer)
    _add_judging_routes(app, recommender, writer)


def _add_status_routes(app: FastAPI, recommender: Recommender) -> None:
    @app.get("/health")
    async def health() -> Status:  # in the event loop: threads may all be busy
        """Whether the server runs."""
        return Status(status="ok")

    readiness = Threads(1)  # a database that does not answer must not take the threads of the page

    @app.get("/ready", responses=problem_responses(503))
    async def ready() -> Status:
        """Whether every kind of question can be answered; 503 while models are read or the queue of photos is full."""
        await readiness.run(recommender.check_ready)
        return Status(status="ready")


def _add_catalogue_routes(app: FastAPI, recommender: Recommender, comparison: RevisionComparison | None) -> None:
    @app.get("/api/catalogue")
    def catalogue() -> CatalogueOptions:
        """The filters, and the revision that recommendations are compared with."""
        filters = [
            FilterInput(
                name=name,
                label=condition.label,
                help=condition.help,
                kind=KIND_OF[name],
                choices=recommender.table.choices(name),
            )
            for name, condition in CONDITIONS.items()
        ]
        return CatalogueOptions(filters=filters, compared=comparison.revision if comparison else None)

    @app.get("/api/products")
    def products(
        filters: FilterParameters,
        words: Words = "",
        order: Order = "relevance",
        offset: Offset = 0,
        limit: Count = 48,
    ) -> ProductList:
        """The products that match the words, the best match first; without words, all products."""
        numbers = recommender.find(words, filters, order)
        in_any_category = numbers
        if filters.category is not None:
            in_any_category = recommender.find(words, replace(filters, category=None))
        return ProductList(
            total=len(numbers),
            corrected=recommender.search.correct(words) if words.strip() else None,
            products=recommender.products(numbers[offset : offset + limit]),
            categories=recommender.table.counts("category", in_any_category),
        )

    @app.get("/api/suggestions")
    def suggestions(words: Words) -> list[Suggestion]:
        """Searches that words may be the beginning of: categories, places and titles."""
        return recommender.search.suggest(words)

    @app.get("/api/map")
    def places(filters: FilterParameters) -> list[Place]:
        """The places of products on the map, from -1 to 1; similar products are near each other."""
        return recommender.places(filters)

    @app.get("/api/map/legend")
    def map_legend() -> MapLegend:
        """The categories and the names of groups on the map, whatever the filters."""
        return recommender.map_legend

    @app.get("/api/products/{product_id}", responses=UNKNOWN_PRODUCT)
    def product(product_id: PathId) -> Product:
        """A product."""
        return recommender.product(product_id)

    @app.get("/api/photos/{image_id}", response_class=Response, responses=PHOTO)
    def photo(request: Request, image_id: PathId, size: PhotoSize = SIZES[0]) -> Response:
        """A photo whose longer side has at least `size` pixels, if the original has; 304 if the client has it."""
        try:
            headers = {"Cache-Control": "max-age=3600", "ETag": recommender.photos.tag(image_id, size)}
            if headers["ETag"] in request.headers.get("if-none-match", ""):
                return Response(status_code=304, headers=headers)
            content = recommender.photos.jpeg(image_id, size)
        except KeyError:
            raise HTTPException(404, "there is no such photo") from None
        return Response(content, media_type="image/jpeg", headers=headers)


def _add_feedback_routes(app: FastAPI, recommender: Recommender, writer: Threads) -> None:
    @app.put("/api/products/{product_id}/similar/{other_id}/feedback", responses=RATED, status_code=204)
    async def feedback(product_id: PathId, other_id: PathId, opinion: Opinion) -> None:
        """Store a thumb up or down on a recommendation, or remove it."""
        await writer.run(partial(recommender.give_feedback, product_id, other_id, opinion.good))

    @app.get("/api/products/{product_id}/feedback", responses=UNKNOWN_PRODUCT | problem_responses(503))
    def feedback_on(product_id: PathId) -> dict[str, bool]:
        """The thumbs on the recommendations for a product, by product id: true is up."""
        return recommender.feedback_on(product_id)


def _add_judging_routes(app: FastAPI, recommender: Recommender, writer: Threads) -> None:
    @app.get("/api/judging", responses=problem_responses(503))
    def next_task() -> JudgingTask | None:
        """The next product to judge, with candidates in random order; null if every product is judged."""
        return recommender.judging.next_task()

    @app.put("/api/products/{product_id}/similar/{other_id}/judgement", responses=RATED, status_code=204)
    async def judge(product_id: PathId, other_id: PathId, judgement: Judgement) -> None:
        """Store the grade of a product as a candidate for another."""
        await writer.run(partial(recommender.give_grade, product_id, other_id, judgement.grade))
