"""The page and its JSON API: browse the catalogue, and find what is similar to a product or to a photo."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Depends, FastAPI, File, HTTPException, Query, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from pydantic import AfterValidator, BaseModel
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from marketplace.common.errors import MarketplaceError, UnavailableError
from marketplace.recommendation.filters import CONDITIONS, KIND_OF, Filters, Kind
from marketplace.recommendation.products import Product
from marketplace.serving.answers import BusyError, Heat, Order, Place, SimilarProduct, UnknownProductError
from marketplace.serving.comparison import Comparison, Lists
from marketplace.serving.explanation import Explanation
from marketplace.serving.guards import BoundedBodies, EncodedPaths, ForwardedPrefix, HeadAsGet, SafeHeaders
from marketplace.serving.photos import SIZES
from marketplace.serving.recommender import Recommender

WEB = Path(__file__).parent / "web"
SCRIPT = "text/javascript"
SCRIPTS = dict.fromkeys(("app.js", "api.js", "filters.js", "map.js", "view.js"), SCRIPT)
ASSETS = {**SCRIPTS, "style.css": "text/css", "icon.svg": "image/svg+xml"}
MAX_UPLOAD = 12 * 2**20  # bytes: more than any phone's photo


PROBLEMS = {
    400: "the request is malformed, or asks for a host that this server does not answer to",
    404: "there is no such thing",
    405: "nothing answers this method",
    408: "the rest of the request did not come",
    413: "the request is too large",
    422: "a parameter or the photo cannot be used",
    503: "too many photos are waiting: ask again after the seconds of Retry-After",
}


class Problem(BaseModel):
    """Why there is no answer, in words."""

    detail: str


class UnknownProduct(Problem):
    """There is no such product; these ids look like it."""

    nearest: list[str]


class ProductList(BaseModel):
    """Some of the products that were asked for, and how many there are."""

    total: int
    products: list[Product]
    categories: dict[str, int]  # root categories and how many products of each there are, whatever the category filter


class Opinion(BaseModel):
    """A thumb up (true) or down (false), or none."""

    good: bool | None


class Status(BaseModel):
    """A word on how the server is."""

    status: str


class FilterInput(BaseModel):
    """A filter, as the page asks for its value."""

    name: str  # of the parameter
    label: str
    help: str
    kind: Kind
    choices: list[str]  # of a filter of the kind `choice`


class CatalogueOptions(BaseModel):
    """The filters of the catalogue, and the revision that recommendations are compared with."""

    filters: list[FilterInput]
    compared: str | None


# Decoded after routing, so that an encoded slash is part of an id (see EncodedPaths).
Id = Annotated[str, AfterValidator(unquote)]
Filtered = Annotated[Filters, Depends()]
Side = Annotated[int, Query(ge=1, le=SIZES[-1])]  # pixels
Count = Annotated[int, Query(ge=1, le=100)]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of answers with these statuses."""
    return {status: {"model": Problem, "description": PROBLEMS[status]} for status in statuses}


UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": UnknownProduct, "description": "no product has that id"}}
PHOTO_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
    304: {"description": "the asker has it already"},
    **problems(404),
}


def application(
    recommender: Recommender, hosts: Sequence[str] = ("*",), comparison: Comparison | None = None
) -> FastAPI:
    """The web application over a finished pipeline.

    With a `comparison`, it also shows what another revision recommended.

    `hosts` are the names that it answers to: a stranger's page cannot reach it under a name of its own, which it has
    the browser resolve to this machine.
    """
    app = FastAPI(title="Similar products", docs_url=None, redoc_url=None, responses=problems(400, 405, 408, 413, 422))
    app.add_middleware(GZipMiddleware, minimum_size=1024)
    app.add_middleware(EncodedPaths)
    app.add_middleware(ForwardedPrefix)
    app.add_middleware(HeadAsGet)
    app.add_middleware(BoundedBodies, most_bytes=MAX_UPLOAD)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    app.add_middleware(SafeHeaders)
    _add_problems(app)
    _add_page(app)
    _add_api(app, recommender, comparison)
    _describe_parameters(app.openapi()["paths"])
    return app


@cache
def vega_script() -> str:
    """Vega-Lite with all that it needs, which draws the map; putting it together takes two seconds."""
    import vl_convert

    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return script


def in_words(problem: dict[str, Any]) -> str:
    """Describe a problem that pydantic found with a parameter, in a sentence."""
    name = problem["loc"][-1]
    if KIND_OF.get(name) == "amount":
        return f"{CONDITIONS[name].label}: enter an amount such as 12.50."
    return f"{name}: {problem['msg']}."


def _describe_parameters(paths: dict[str, dict[str, Any]]) -> None:
    """Complete OpenAPI's description: explain the filters, and allow no null, which an address cannot contain."""
    operations = [operation for path in paths.values() for operation in path.values()]
    for parameter in [parameter for operation in operations for parameter in operation.get("parameters", [])]:
        if parameter["name"] in CONDITIONS:
            parameter["description"] = CONDITIONS[parameter["name"]].help
        choices = parameter["schema"].get("anyOf")
        if choices:
            (schema,) = [choice for choice in choices if choice != {"type": "null"}]
            parameter["schema"] = {"title": parameter["schema"]["title"], **schema}


def _add_problems(app: FastAPI) -> None:
    @app.exception_handler(UnknownProductError)
    def unknown(_: Request, error: UnknownProductError) -> JSONResponse:
        return JSONResponse({"detail": str(error), "nearest": error.nearest}, status_code=404)

    @app.exception_handler(UnavailableError)
    def busy(_: Request, error: UnavailableError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=503, headers={"Retry-After": "5"})

    @app.exception_handler(MarketplaceError)
    def refused(_: Request, error: MarketplaceError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=422)

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"detail": " ".join(map(in_words, error.errors()))}, status_code=422)


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(WEB / "index.html")

    @app.get("/assets/vega.js", include_in_schema=False)
    def vega() -> Response:
        return Response(vega_script(), media_type=SCRIPT, headers={"Cache-Control": "max-age=86400"})

    @app.get("/assets/{name}", include_in_schema=False)
    def asset(name: str) -> FileResponse:
        if name not in ASSETS:
            raise HTTPException(404, "there is no such file")
        return FileResponse(WEB / name, media_type=ASSETS[name])


def _add_api(app: FastAPI, recommender: Recommender, comparison: Comparison | None) -> None:
    @app.get("/health")
    def health() -> Status:
        """The server runs."""
        return Status(status="ok")

    @app.get("/ready", responses=problems(503))
    def ready() -> Status:
        """The server can take questions about photos now; 503 if too many are waiting."""
        if recommender.busy:
            raise BusyError("too many photos are waiting.")
        return Status(status="ready")

    @app.get("/api/catalogue")
    def catalogue() -> CatalogueOptions:
        """The filters of the catalogue, and the revision that recommendations are compared with."""
        return CatalogueOptions(
            filters=[
                FilterInput(
                    name=name,
                    label=condition.label,
                    help=condition.help,
                    kind=KIND_OF[name],
                    choices=recommender.filtered.choices(name),
                )
                for name, condition in CONDITIONS.items()
            ],
            compared=comparison.revision if comparison else None,
        )

    @app.get("/api/products")
    def products(
        filters: Filtered,
        words: Annotated[str, Query(max_length=200)] = "",
        order: Order = "relevance",
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Count = 48,
    ) -> ProductList:
        """Products, those closest to the words first; without words, all of them."""
        found = recommender.find(words, filters, order)
        of_any = found if filters.category is None else recommender.find(words, replace(filters, category=None))
        return ProductList(
            total=len(found),
            products=recommender.products(found[offset : offset + limit]),
            categories=recommender.filtered.counts("category", of_any),
        )

    @app.get("/api/map")
    def places(filters: Filtered) -> list[Place]:
        """The places of products on the map of the catalogue, from -1 to 1: like beside like."""
        return recommender.places(filters)

    @app.get("/api/products/{product_id}", responses=UNKNOWN)
    def product(product_id: Id) -> Product:
        """One product."""
        return recommender.product(product_id)

    @app.get("/api/products/{product_id}/similar", responses=UNKNOWN)
    def similar_to_product(product_id: Id, filters: Filtered, k: Count = 12) -> list[SimilarProduct]:
        """The products most similar to a product."""
        return recommender.similar_to_product(product_id, k, filters)

    @app.get("/api/products/{product_id}/compared", responses=problems(404))
    def compared(product_id: Id) -> Lists:
        """What another revision recommended and what is recommended now; 404 unless the server compares."""
        if comparison is None:
            raise HTTPException(404, "this server compares no revisions: marketplace serve --compare REVISION")
        return comparison.lists(recommender.product(product_id).product_id, recommender.product_or_none)

    @app.get("/api/products/{product_id}/similar/{other_id}", responses=UNKNOWN)
    def explanation(product_id: Id, other_id: Id) -> Explanation:
        """Why one product is similar to another: the photos that matched, both similarities, the words in common."""
        return recommender.explanation(product_id, other_id)

    @app.get("/api/products/{product_id}/similar/{other_id}/heat", responses=UNKNOWN | problems(503))
    def heat(product_id: Id, other_id: Id) -> Heat:
        """Where the two photos that matched are alike."""
        return recommender.heat(product_id, other_id)

    @app.put("/api/products/{product_id}/similar/{other_id}/feedback", responses=UNKNOWN, status_code=204)
    def feedback(product_id: Id, other_id: Id, opinion: Opinion) -> None:
        """Keep a thumb up or down on a recommendation, or take it back."""
        recommender.give_feedback(product_id, other_id, opinion.good)

    @app.get("/api/products/{product_id}/feedback", responses=UNKNOWN)
    def feedback_on(product_id: Id) -> dict[str, bool]:
        """The products that got a thumb as recommendations for this one: true is up."""
        return recommender.feedback_on(product_id)

    @app.post("/api/similar", responses=problems(503))
    def similar_to_photo(
        photo: Annotated[UploadFile, File()], filters: Filtered, k: Count = 12
    ) -> list[SimilarProduct]:
        """The products most similar to a photo that is sent along."""
        return recommender.similar_to_photo(photo.file.read(MAX_UPLOAD), k, filters)

    @app.get("/api/photos/{image_id}", response_class=Response, responses=PHOTO_ANSWERS)
    def photo(request: Request, image_id: Id, size: Side = SIZES[0]) -> Response:
        """A photo whose longer side has at least `size` pixels, if it is that large; 304 if the asker has it."""
        try:
            headers = {"Cache-Control": "max-age=3600", "ETag": recommender.photos.tag(image_id, size)}
            if headers["ETag"] in request.headers.get("if-none-match", ""):
                return Response(status_code=304, headers=headers)
            content = recommender.photos.jpeg(image_id, size)
        except KeyError:
            raise HTTPException(404, "there is no such photo") from None
        return Response(content, media_type="image/jpeg", headers=headers)
