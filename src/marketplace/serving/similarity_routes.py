"""The routes of the API that find similar products, and give the reasons."""

from dataclasses import replace
from functools import partial
from typing import Annotated

from fastapi import Depends, FastAPI, File, Query, UploadFile
from pydantic import StringConstraints

from marketplace.common.errors import MarketplaceError
from marketplace.recommendation.similarity import PARTS, Weights, parse_weights
from marketplace.serving.answers import Answer, Heat, InvalidQuestionError, SimilarProduct
from marketplace.serving.explanation import Explanation
from marketplace.serving.question import MAX_EXAMPLES, Photo, Question, parse_crop
from marketplace.serving.recommender import QUEUE_CAPACITY, Recommender
from marketplace.serving.schema import (
    FORMATS,
    MAX_ID_LENGTH,
    UNKNOWN_PRODUCT,
    Count,
    FilterParameters,
    PathId,
    Words,
    problem_responses,
)
from marketplace.serving.threads import Threads

MAX_UPLOAD_BYTES = 12 * 2**20  # more than a phone's photo
SPARE_THREADS = 8  # to tell visitors that the queue of photos is full
_WEIGHT = rf"({'|'.join(PARTS)})=[0-9]{{1,4}}(\.[0-9]{{1,9}})?"
WeightsText = Annotated[
    str,
    Query(
        max_length=100,
        pattern=rf"^({_WEIGHT}(,{_WEIGHT})*)?$",
        description=FORMATS["weights"],
    ),
]
ProductIds = Annotated[
    tuple[Annotated[str, StringConstraints(max_length=MAX_ID_LENGTH)], ...], Query(max_length=MAX_EXAMPLES)
]
Share = Annotated[float, Query(ge=0, lt=1)]
Score = Annotated[float, Query(ge=-1, le=10)]
Turn = Annotated[int, Query(ge=0, le=270, multiple_of=90, description="degrees clockwise, before the crop")]
_EDGE = r"(0(\.[0-9]{1,9})?|1(\.0{1,9})?)"
CropText = Annotated[
    str,
    Query(
        max_length=60,
        pattern=rf"^({_EDGE},{_EDGE},{_EDGE},{_EDGE})?$",
        description=FORMATS["crop"],
    ),
]


def add_similarity_routes(app: FastAPI, recommender: Recommender) -> None:
    """Add the routes to an application."""
    _add_questions(app, recommender)
    _add_reasons(app, recommender)


def _add_questions(app: FastAPI, recommender: Recommender) -> None:
    photo_threads = Threads(QUEUE_CAPACITY + SPARE_THREADS)

    def read_question(
        filters: FilterParameters,
        like: ProductIds = (),
        unlike: ProductIds = (),
        words: Words = "",
        k: Count = 12,
        weights: WeightsText = "",
        diversity: Share | None = None,
        least_score: Score | None = None,
    ) -> Question:
        default = recommender.settings.weights
        return Question(
            like=like,
            unlike=unlike,
            words=words,
            k=k,
            filters=filters,
            weights=_parse(weights, default.product if like else default.words),
            diversity=diversity,
            least_score=least_score,
        )

    question_type = Annotated[Question, Depends(read_question)]

    @app.get("/api/similar", responses=UNKNOWN_PRODUCT)
    def similar(question: question_type) -> Answer:
        """The products similar to some products and unlike others, to words, or to both together."""
        return recommender.ask(question)

    @app.post("/api/similar", responses=UNKNOWN_PRODUCT | problem_responses(503))
    async def similar_to_photo(
        photo: Annotated[UploadFile, File()],
        question: question_type,
        turn: Turn = 0,
        crop: CropText = "",
        weights: WeightsText = "",
    ) -> Answer:
        """The listings of the item in a photo, and products similar to it, and to words and other products if given."""
        part = parse_crop(crop) if crop else None
        content = await photo.read(MAX_UPLOAD_BYTES)
        complete = replace(
            question,
            photo=Photo(content=content, turn=turn, crop=part),
            weights=_parse(weights, recommender.settings.weights.photo),
        )
        return await photo_threads.run(partial(recommender.ask, complete))

    @app.get("/api/products/{product_id}/similar", responses=UNKNOWN_PRODUCT)
    def similar_to_product(
        product_id: PathId, filters: FilterParameters, k: Count = 12, weights: WeightsText = ""
    ) -> list[SimilarProduct]:
        """The products most similar to a product: `similar` in the answer of /api/similar."""
        own_weights = _parse(weights, recommender.settings.weights.product)
        return recommender.similar_to_product(product_id, k, filters, own_weights)

    @app.get("/api/products/{product_id}/similar/{other_id}/heat", responses=UNKNOWN_PRODUCT | problem_responses(503))
    async def heat(product_id: PathId, other_id: PathId) -> Heat:
        """The regions that the two photos that matched share."""
        return await photo_threads.run(partial(recommender.heat, product_id, other_id))


def _add_reasons(app: FastAPI, recommender: Recommender) -> None:
    @app.get("/api/products/{product_id}/similar/{other_id}", responses=UNKNOWN_PRODUCT)
    def explanation(product_id: PathId, other_id: PathId, weights: WeightsText = "") -> Explanation:
        """Why two products are similar: the photos that matched, each part's similarity, and the words in common."""
        return recommender.explanation(product_id, other_id, _parse(weights, recommender.settings.weights.product))


def _parse(text: str, default: Weights) -> Weights | None:
    try:
        return parse_weights(text, default) if text.strip() else None
    except MarketplaceError as error:
        raise InvalidQuestionError(str(error)) from None
