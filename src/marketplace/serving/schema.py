"""The parameters and problems that several routes of the API share."""

from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Depends, Path, Query
from pydantic import AfterValidator, BaseModel

from marketplace.recommendation.filters import Filters

MAX_ID_LENGTH = 500  # characters
MAX_OFFSET = 10**9  # products
PROBLEMS = {
    400: "the request is malformed, or its Host is not a name of this server",
    404: "not found",
    405: "this method is not allowed here",
    408: "the rest of the request did not arrive",
    413: "the request is too large",
    422: "a parameter or the photo is invalid",
    503: "the server is busy, or lacks something: retry after the seconds in Retry-After",
}

FORMATS = {  # of parameters that have a pattern
    "weights": "weights of kind, text, title and path, such as kind=1,text=0.5",
    "crop": "left,top,right,bottom as shares of the photo's width and height, such as 0.25,0,0.75,0.5",
}


class Problem(BaseModel):
    """Why a request failed."""

    detail: str


class UnknownProduct(Problem):
    """There is no such product; `nearest` are similar ids."""

    nearest: list[str]


# Decoded after routing, so that an encoded slash is part of an id (see EncodedPaths).
PathId = Annotated[str, AfterValidator(unquote), Path(max_length=MAX_ID_LENGTH)]
FilterParameters = Annotated[Filters, Depends()]
Count = Annotated[int, Query(ge=1, le=100)]
Offset = Annotated[int, Query(ge=0, le=MAX_OFFSET)]
Words = Annotated[str, Query(max_length=200, description="words with a minus before them are not wanted")]

Responses = dict[int | str, dict[str, Any]]


def problem_responses(*statuses: int) -> Responses:
    """Return the OpenAPI entries for these status codes."""
    return {status: {"model": Problem, "description": PROBLEMS[status]} for status in statuses}


UNKNOWN_PRODUCT: Responses = {404: {"model": UnknownProduct, "description": "no product has that id"}}
RATED = UNKNOWN_PRODUCT | problem_responses(503)
