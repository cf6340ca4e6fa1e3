"""The page and its JSON API: browse the catalogue, and find what is similar to a product or to a photo."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, FastAPI, File, HTTPException, Query, Request, Response, UploadFile
from fastapi.responses import FileResponse, JSONResponse
from pydantic import AfterValidator, BaseModel
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from marketplace.common.errors import MarketplaceError
from marketplace.recommendation.filters import Filters
from marketplace.recommendation.products import Product
from marketplace.serving.guards import BoundedBodies, EncodedPaths, HeadAsGet, too_large
from marketplace.serving.recommender import BusyError, Recommender, SimilarProduct, UnknownProductError

WEB = Path(__file__).parent / "web"
ASSETS = {"app.js": "text/javascript", "style.css": "text/css", "icon.svg": "image/svg+xml"}
MAX_UPLOAD = 12 * 2**20  # bytes: more than any phone's photo
THUMBNAIL, PHOTO = 160, 512  # pixels a side
HEADERS = {
    # Nothing is loaded from elsewhere, and no script but our own runs, whatever a product's text contains.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class ProductList(BaseModel):
    """Some of the products that were asked for, and how many there are."""

    total: int
    products: list[Product]


class Catalogue(BaseModel):
    """The categories and locations to filter by."""

    categories: list[str]
    locations: list[str]


# Decoded after routing, so that an encoded slash is part of an id (see EncodedPaths).
Id = Annotated[str, AfterValidator(unquote)]
Filtered = Annotated[Filters, Depends()]
Count = Annotated[int, Query(ge=1, le=100)]


def application(recommender: Recommender, hosts: Sequence[str] = ("*",)) -> FastAPI:
    """The web application over a finished pipeline.

    `hosts` are the names that it answers to: a stranger's page cannot reach it under a name of its own, which it has
    the browser resolve to this machine.
    """
    app = FastAPI(title="Similar products", docs_url=None, redoc_url=None)
    app.add_middleware(GZipMiddleware, minimum_size=1024)
    app.add_middleware(EncodedPaths)
    app.add_middleware(HeadAsGet)
    app.add_middleware(BoundedBodies, most_bytes=MAX_UPLOAD)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    _add_guards(app)
    _add_page(app)
    _add_api(app, recommender)
    return app


def _add_guards(app: FastAPI) -> None:
    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        length = request.headers.get("content-length")
        if request.method == "POST" and (length is None or not length.isdecimal() or int(length) > MAX_UPLOAD):
            response: Response = JSONResponse({"detail": too_large(MAX_UPLOAD)}, status_code=413 if length else 411)
        else:
            response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    @app.exception_handler(UnknownProductError)
    def unknown(_: Request, error: UnknownProductError) -> JSONResponse:
        return JSONResponse({"detail": str(error), "nearest": error.nearest}, status_code=404)

    @app.exception_handler(BusyError)
    def busy(_: Request, error: BusyError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=503, headers={"Retry-After": "5"})

    @app.exception_handler(MarketplaceError)
    def refused(_: Request, error: MarketplaceError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=422)


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(WEB / "index.html")

    @app.get("/assets/{name}", include_in_schema=False)
    def asset(name: str) -> FileResponse:
        if name not in ASSETS:
            raise HTTPException(404, "there is no such file")
        return FileResponse(WEB / name, media_type=ASSETS[name])


def _add_api(app: FastAPI, recommender: Recommender) -> None:
    @app.get("/health")
    def health() -> dict[str, str]:
        """Answers once everything is loaded: until then, nothing listens."""
        return {"status": "ok"}

    @app.get("/api/catalogue")
    def catalogue() -> Catalogue:
        """The categories and locations to filter by."""
        return Catalogue(
            categories=recommender.filtered.known("category"), locations=recommender.filtered.known("location")
        )

    @app.get("/api/products")
    def products(
        filters: Filtered,
        words: Annotated[str, Query(max_length=200)] = "",
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Count = 48,
    ) -> ProductList:
        """Products, those closest to the words first; without words, all of them."""
        total, found = recommender.find(words, filters, offset=offset, limit=limit)
        return ProductList(total=total, products=found)

    @app.get("/api/products/{product_id}")
    def product(product_id: Id) -> Product:
        """One product."""
        return recommender.product(product_id)

    @app.get("/api/products/{product_id}/similar")
    def similar_to_product(product_id: Id, filters: Filtered, k: Count = 12) -> list[SimilarProduct]:
        """The products most similar to a product."""
        return recommender.similar_to_product(product_id, k, filters)

    @app.post("/api/similar")
    def similar_to_photo(
        photo: Annotated[UploadFile, File()], filters: Filtered, k: Count = 12
    ) -> list[SimilarProduct]:
        """The products most similar to a photo that is sent along."""
        return recommender.similar_to_photo(photo.file.read(MAX_UPLOAD), k, filters)

    @app.get("/api/photos/{image_id}", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
    def photo(request: Request, image_id: Id, large: bool = False) -> Response:
        """A photo, on a white square; 304 if the asker has it already."""
        size = PHOTO if large else THUMBNAIL
        try:
            headers = {"Cache-Control": "max-age=3600", "ETag": recommender.photo_tag(image_id, size)}
            if headers["ETag"] in request.headers.get("if-none-match", ""):
                return Response(status_code=304, headers=headers)
            content = recommender.photo(image_id, size)
        except KeyError:
            raise HTTPException(404, "there is no such photo") from None
        return Response(content, media_type="image/jpeg", headers=headers)
