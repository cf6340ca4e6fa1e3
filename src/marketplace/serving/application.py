"""The web application: the page, its API, and the middleware around both."""

import logging
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Match, Route

from marketplace.common.errors import MarketplaceError, UnavailableError
from marketplace.recommendation.filters import CONDITIONS, KIND_OF
from marketplace.serving.addresses import AbsoluteForm, EncodedPaths, Prefix, RelativeRedirects
from marketplace.serving.answers import InvalidQuestionError, UnknownProductError
from marketplace.serving.api import add_routes
from marketplace.serving.comparison import RevisionComparison
from marketplace.serving.comparison_routes import add_comparison_routes
from marketplace.serving.guards import HeadAsGet, LimitedRequests, SafeHeaders
from marketplace.serving.recommender import Recommender
from marketplace.serving.schema import FORMATS, problem_responses
from marketplace.serving.similarity_routes import MAX_UPLOAD_BYTES
from marketplace.serving.threads import Threads

log = logging.getLogger(__name__)

WEB = Path(__file__).parent / "web"
SCRIPT = "text/javascript"
ASSET_TYPES = {".js": SCRIPT, ".css": "text/css", ".svg": "image/svg+xml"}  # by suffix; no other file is served
METHODS = ("GET", "HEAD", "POST", "PUT")
RETRY = {"Retry-After": "5"}  # seconds
FAILED = "the server cannot answer this: its log says why."


def create_application(
    recommender: Recommender,
    hosts: Sequence[str] = ("*",),
    comparison: RevisionComparison | None = None,
    *,
    prefix: str = "",
    origins: Sequence[str] = (),
) -> FastAPI:
    """Create the web application over a finished pipeline.

    It answers only to the names `hosts`. Otherwise a foreign page could reach it under a name of its own that resolves
    to this machine. With a `comparison`, it also shows the recommendations of another revision. `prefix` is the path
    under which a proxy serves it, `origins` are the other sites whose pages may ask it.
    """
    responses = problem_responses(400, 405, 408, 413, 422)
    app = FastAPI(title="Similar products", docs_url=None, redoc_url=None, responses=responses)
    # The last one is outermost.
    app.add_middleware(GZipMiddleware, minimum_size=1024)
    app.add_middleware(RelativeRedirects)
    app.add_middleware(EncodedPaths)
    app.add_middleware(Prefix, prefix=prefix)
    app.add_middleware(HeadAsGet)
    app.add_middleware(LimitedRequests, max_bytes=MAX_UPLOAD_BYTES)
    if origins:
        app.add_middleware(CORSMiddleware, allow_origins=origins, allow_methods=METHODS, expose_headers=["Retry-After"])
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    app.add_middleware(AbsoluteForm)
    app.add_middleware(SafeHeaders)
    _add_error_handlers(app)
    _add_page(app)
    writer = Threads(1)  # of the file of ratings: SQLite lets one write at a time
    add_routes(app, recommender, comparison, writer)
    add_comparison_routes(app, recommender, comparison, writer)
    _describe_parameters(app.openapi()["paths"])
    return app


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(UnknownProductError)
    def handle_unknown_product(_: Request, error: UnknownProductError) -> JSONResponse:
        return JSONResponse({"detail": str(error), "nearest": error.nearest}, status_code=404)

    @app.exception_handler(InvalidQuestionError)
    def handle_mistake(_: Request, error: InvalidQuestionError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=422)

    @app.exception_handler(UnavailableError)
    def handle_unavailable(_: Request, error: UnavailableError) -> JSONResponse:
        if error.public != str(error):
            log.warning("%s", error)
        return JSONResponse({"detail": error.public}, status_code=503, headers=RETRY)

    @app.exception_handler(MarketplaceError)
    def handle_failure(_: Request, error: MarketplaceError) -> JSONResponse:
        log.error("%s", error)  # it names files of the server
        return JSONResponse({"detail": FAILED}, status_code=503, headers=RETRY)

    @app.exception_handler(405)
    def handle_wrong_method(request: Request, error: HTTPException) -> JSONResponse:
        headers = {"Allow": methods_at(app, request)}
        return JSONResponse({"detail": error.detail}, status_code=405, headers=headers)

    @app.exception_handler(RequestValidationError)
    def handle_invalid_parameters(_: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"detail": " ".join(map(describe_problem, error.errors()))}, status_code=422)


def methods_at(app: FastAPI, request: Request) -> str:
    """Return the methods that any route allows at the address of a request, as the header Allow lists them.

    Starlette itself names only the methods of the first route with that address.
    """
    routes = [route for route in app.routes if isinstance(route, Route)]
    allowed = [route.methods or set() for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return ", ".join(sorted(set().union(*allowed)))


def describe_problem(problem: dict[str, Any]) -> str:
    """Describe a problem that pydantic found with a parameter, in a sentence."""
    name = next(part for part in reversed(problem["loc"]) if isinstance(part, str))  # numbers are places in a list
    if KIND_OF.get(name) == "amount":
        return f"{CONDITIONS[name].label}: enter an amount such as 12.50."
    if problem["type"] == "string_pattern_mismatch" and name in FORMATS:
        return f"{name}: write {FORMATS[name]}."
    return f"{name}: {problem['msg']}."


def _add_page(app: FastAPI) -> None:
    # Read now: another version of the code may be checked out while this one answers.
    index = (WEB / "index.html").read_bytes()
    paths = [path for path in WEB.rglob("*") if path.suffix in ASSET_TYPES]
    assets = {path.relative_to(WEB).as_posix(): path.read_bytes() for path in paths}

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return Response(index, media_type="text/html")

    @app.get("/assets/{name:path}", include_in_schema=False)
    def asset(name: str) -> Response:
        if name not in assets:
            raise HTTPException(404, "there is no such file")
        return Response(assets[name], media_type=ASSET_TYPES[PurePosixPath(name).suffix])


def _describe_parameters(paths: dict[str, dict[str, Any]]) -> None:
    """Complete the OpenAPI document: explain the filters, and allow no null, which an address cannot contain."""
    operations = [operation for path in paths.values() for operation in path.values()]
    for parameter in [parameter for operation in operations for parameter in operation.get("parameters", [])]:
        if parameter["name"] in CONDITIONS:
            parameter["description"] = CONDITIONS[parameter["name"]].help
        options = parameter["schema"].get("anyOf")
        if options:
            (schema,) = [option for option in options if option != {"type": "null"}]
            parameter["schema"] = {"title": parameter["schema"]["title"], **schema}
