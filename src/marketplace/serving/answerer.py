"""Answers to questions that combine products, a photo and words.

The question is one vector, so that an index or a database can answer it (Rocchio, 1971; Manning et al., Introduction to
Information Retrieval, chapter 9):

    (1 - s) * (mean of the examples - UNLIKE_WEIGHT * mean of the counterexamples) + s * words

An example is a product or a photo, weighted as when it is asked about alone; s is WORDS_SHARE, or 0 without words.
Among the nearest products, those that have the words come first. Words alone are searched for as in the catalogue.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from marketplace.common.errors import UnavailableError
from marketplace.recommendation.calibration import Calibration, is_close
from marketplace.recommendation.filters import FilteredTable
from marketplace.recommendation.origin import Origin
from marketplace.recommendation.products import Products
from marketplace.recommendation.ranking import Restriction
from marketplace.serving.answers import Answer, InvalidQuestionError, SimilarProduct, VisibleCategory
from marketplace.serving.ids import Ids
from marketplace.serving.matching import Match, Matcher, Target
from marketplace.serving.models import Models
from marketplace.serving.photo_queue import PhotoQueue
from marketplace.serving.question import Photo, Question
from marketplace.serving.uploads import read_square

if TYPE_CHECKING:  # imported where they are needed, so that questions about a product are fast
    from marketplace.embedding.onnx import Embedded
    from marketplace.recommendation.questions import EmbedWords
    from marketplace.serving.search import CatalogueSearch

UNLIKE_WEIGHT = 0.5
# Of a question that also shows examples. With COVERAGE_BONUS, most of the first six products have the word and the
# example's leaf category, over 94 questions to a real marketplace.
WORDS_SHARE = 0.3
VISIBLE_CATEGORIES = 3  # that an answer names


class Answerer:
    """Answers questions about a catalogue. `photos` is the training data, `open_search` opens the search by words."""

    def __init__(
        self,
        products: Products,
        photos: pd.DataFrame,
        table: FilteredTable,
        ids: Ids,
        matcher: Matcher,
        models: Models,
        queue: PhotoQueue,
        origin: Origin,
        open_search: "Callable[[], CatalogueSearch]",
        embed: "EmbedWords",
    ) -> None:
        self._products = products
        self._photos = photos
        self._table = table
        self._ids = ids
        self._matcher = matcher
        self._models = models
        self._queue = queue
        self._origin = origin
        self._settings = origin.settings
        self._open_search = open_search
        self._embed = embed

    def answer(self, question: Question) -> Answer:
        """Answer a question; see Recommender.ask."""
        restriction = Restriction(passing=self._table.passing(question.filters), filters=question.filters)
        words = ""
        corrected = None
        if question.words.strip():
            search = self._open_search()
            words, restriction = search.leave_out_unwanted(question.words, restriction)
            corrected = search.correct(question.words)
        if question.has_examples:
            answer = self._answer_by_examples(question, words, restriction)
        elif words and not question.unlike:
            answer = self._answer_by_words(question, words, restriction)
        elif words:
            raise InvalidQuestionError("products not to be like need a product or a photo to be like.")
        else:
            raise InvalidQuestionError("the question names nothing to be similar to: add a product, a photo or words.")
        similar = [one for one in answer.similar if question.least_score is None or one.score >= question.least_score]
        return replace(answer, similar=similar, corrected=corrected)

    def _answer_by_words(self, question: Question, words: str, restriction: Restriction) -> Answer:
        found = self._open_search().find(words, self._embed, restriction, question.weights)
        matches = self._matcher.match_words(found, question.k)
        similar = self._describe(matches, self._calibration(question))
        return Answer(visible=[], same=[], similar=similar, corrected=None)

    def _answer_by_examples(self, question: Question, words: str, restriction: Restriction) -> Answer:
        liked = self._numbers(question.like)
        unliked = self._numbers(question.unlike)
        passing = restriction.passing & ~self._in_group_with(unliked)
        passing[liked] = False
        embedded = None if question.photo is None else self._embed_photo(question.photo)
        same: list[Match] = []
        if question.photo is not None and embedded is not None and not words:
            allowed = replace(restriction, passing=passing)
            same = self._find_same_item(question.photo, embedded, question.k, allowed)
        shown = np.array([match.product.number for match in same], dtype=np.int64)
        similar = self._matcher.match(
            target=self._aim(question, words, embedded, liked, unliked, shown),
            k=question.k,
            restriction=replace(restriction, passing=passing & ~self._in_group_with(shown)),
            diversity=self._settings.diversity if question.diversity is None else question.diversity,
            weights=question.weights or self._settings.weights.product,
        )
        return Answer(
            visible=[] if embedded is None else self._name_categories(embedded),
            same=self._describe(same),
            similar=self._describe(similar, self._calibration(question)),
            corrected=None,
        )

    def _numbers(self, product_ids: tuple[str, ...]) -> np.ndarray:
        return np.array([self._ids.number(product_id) for product_id in product_ids], dtype=np.int64)

    def _in_group_with(self, numbers: np.ndarray) -> np.ndarray:
        """Return a mask `(P,)` of the products that share a photo or a title with some, and of those themselves."""
        groups = self._products.groups
        return np.isin(groups, groups[numbers])

    def _embed_photo(self, photo: Photo) -> "Embedded":
        with self._queue.turn():
            model = self._models.image
            return model(read_square(photo, model.size)[None])

    def _find_same_item(self, photo: Photo, embedded: "Embedded", k: int, restriction: Restriction) -> list[Match]:
        copies = np.array([], dtype=np.int64)
        if photo.whole:
            rows = np.flatnonzero(self._photos["sha256"] == hashlib.sha256(photo.content).hexdigest())
            copies = np.unique(self._products.product_of_row[rows])
        return self._matcher.match_same_item(embedded, copies, k, restriction, self._origin.same_item_cosine)

    def _aim(
        self,
        question: Question,
        words: str,
        embedded: "Embedded | None",
        liked: np.ndarray,
        unliked: np.ndarray,
        shown: np.ndarray,
    ) -> Target:
        """Return the target of a question with examples; `shown` are the products in its photo."""
        weights = self._settings.weights
        of_products = question.weights or weights.product
        examples = self._matcher.ask_about_products(liked, of_products)
        if embedded is not None:
            of_photo = self._matcher.ask_about_photo(embedded, question.weights or weights.photo)
            examples = np.vstack([of_photo, examples])
            photos = self._matcher.show_photo(embedded)
        else:
            photos = self._matcher.show_products(liked)
        if not len(examples):
            raise UnavailableError("the database no longer has the vectors of these products.")
        vector = examples.mean(axis=0)
        counterexamples = self._matcher.ask_about_products(unliked, of_products)
        if len(counterexamples):
            vector = vector - UNLIKE_WEIGHT * counterexamples.mean(axis=0)
        bonus_of = None
        if words:
            search = self._open_search()
            vector = (1 - WORDS_SHARE) * vector + WORDS_SHARE * search.ask(words, self._embed, weights.words)
            bonus_of = search.bonus_among(words)
        return Target(
            vector=vector.astype(np.float32),
            examples=np.concatenate([liked, shown]),
            photos=photos,
            bonus_of=bonus_of,
        )

    def _name_categories(self, embedded: "Embedded") -> list[VisibleCategory]:
        probabilities = embedded.category[0]
        names = self._table.choices("category")  # in the order of data/clean/categories.json
        best = np.argsort(-probabilities, kind="stable")[:VISIBLE_CATEGORIES]
        return [
            VisibleCategory(category=names[place], probability=round(float(probabilities[place]), 4))
            for place in best.tolist()
        ]

    def _calibration(self, question: Question) -> Calibration | None:
        """Return the calibration of a question's scores; None if it is unlike those that people have judged."""
        n_products = len(question.like) + len(question.unlike)
        n_things = n_products + (question.photo is not None) + bool(question.words.strip())
        if n_things != 1 or question.weights is not None:
            return None
        kind = "product" if question.like else "photo" if question.photo is not None else "words"
        return self._origin.calibrations.get(kind)

    def _describe(self, matches: list[Match], calibration: Calibration | None = None) -> list[SimilarProduct]:
        """Describe matches; `calibration` gives the probabilities of their scores."""
        answer = []
        for rank, match in enumerate(matches, start=1):
            ranked = match.product
            probability = None
            close = None
            if calibration is not None:
                probability = float(calibration.probabilities_of(np.array(ranked.score, np.float32)))
                close = bool(is_close(probability, ranked.same_photo or ranked.same_text))
            similar = SimilarProduct(
                rank=rank,
                score=ranked.score,
                same_photo=ranked.same_photo,
                same_text=ranked.same_text,
                probability=probability,
                close=close,
                image_id=str(self._products.image_ids[match.row]),
                product=self._products.product(ranked.number),
            )
            answer.append(similar)
        return answer
