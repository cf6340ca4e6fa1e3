"""Search in the catalogue by words: those that listings have, and those that mean the same."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from marketplace.recommendation.keywords import Hits, KeywordIndex, is_latin
from marketplace.recommendation.products import Products
from marketplace.recommendation.questions import EmbedWords, words_questions
from marketplace.recommendation.ranking import Restriction, Search
from marketplace.recommendation.rules import RecommendSettings
from marketplace.recommendation.similarity import Parts, Weights, weigh
from marketplace.recommendation.vocabulary import split_unwanted
from marketplace.serving.ids import Ids
from marketplace.serving.product_parts import ProductParts
from marketplace.serving.suggestions import Suggestions

MIN_ID_LENGTH = 4  # characters of a search that may be an id's beginning
ID_BONUS = 2.0  # of a product whose id is the search: no other bonus outweighs it
MIN_TEXT_SIMILARITY = 0.3  # to list a product that has none of the words; chosen by inspecting searches
NEAREST = 1_000  # products that are compared by meaning
COVERAGE_BONUS = 0.2  # of a product near an example that has all words


@dataclass(frozen=True)
class Found:
    """The products that match words, the best first."""

    numbers: np.ndarray  # (n,) int
    scores: np.ndarray  # (n,) float32, descending: the similarity, and the bonus for the words that the listing has


class CatalogueSearch:
    """Searches the products by words: `parts` belong to all products, `similar` finds vectors of all parts."""

    def __init__(
        self,
        products: Products,
        ids: Ids,
        parts: ProductParts,
        similar: Search,
        settings: RecommendSettings,
    ) -> None:
        self._ids = ids
        self._parts = parts
        self._similar = similar
        self._settings = settings
        self._n_products = len(products.table)
        self._keywords = KeywordIndex(products.table)
        self.suggest = Suggestions(products.table, self._keywords).suggest
        # The page sends the same words several times.
        self._terms = lru_cache(maxsize=256)(self._keywords.terms)

    def find(self, words: str, embed: EmbedWords, restriction: Restriction, weights: Weights | None = None) -> Found:
        """Return the products that have any of the words or mean something similar.

        Products with all words in their title come first. Words in a script that the sentence model does not know
        are compared letter by letter alone.
        """
        hits = self._keywords.find(self._terms(words), restriction.passing)
        named = self._with_id(words, restriction.passing)
        numbers = np.union1d(hits.numbers, named).astype(np.int64)
        scores = np.zeros(len(numbers), np.float32)
        if is_latin(words):
            question = self._ask(words, embed)
            vector = weigh(question.join(), self._parts.dimensions, weights or self._settings.weights.words)[0]
            numbers = np.union1d(numbers, self._similar_texts(question, vector, restriction)).astype(np.int64)
            scores = self._parts.join(numbers) @ vector
        scores = scores + self._bonus(hits, named, numbers)
        order = np.argsort(-scores, kind="stable")
        return Found(numbers=numbers[order], scores=scores[order])

    def leave_out_unwanted(self, words: str, restriction: Restriction) -> tuple[str, Restriction]:
        """Return the words without those that have a minus, and a restriction to products that have none of those."""
        wanted, unwanted = split_unwanted(words)
        if not unwanted:
            return wanted, restriction
        passing = restriction.passing.copy()
        passing[self._keywords.having(unwanted, passing)] = False
        return wanted, replace(restriction, passing=passing)

    def ask(self, words: str, embed: EmbedWords, weights: Weights) -> np.ndarray:
        """Return the question `(d,)` that asks for products like words.

        It is zeros in a script that the sentence model cannot read.
        """
        if not is_latin(words):
            return np.zeros(sum(self._parts.dimensions.values()), np.float32)
        return weigh(self._ask(words, embed).join(), self._parts.dimensions, weights)[0]

    def bonus_among(self, words: str) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function from numbers of products `(n,)` to their bonus `(n,)` for having words."""

        def bonus_of(numbers: np.ndarray) -> np.ndarray:
            among = np.zeros(self._n_products, dtype=bool)
            among[numbers] = True
            hits = self._keywords.find(self._terms(words), among, limit=len(numbers))
            coverage = np.zeros(self._n_products, np.float32)
            coverage[hits.numbers] = hits.coverage
            return COVERAGE_BONUS * coverage[numbers]

        return bonus_of

    def correct(self, words: str) -> str | None:
        """Return the wanted words as the catalogue spells them; None if they are spelt right, or mean nothing."""
        wanted, _ = split_unwanted(words)
        terms = self._terms(wanted)
        return " ".join(term.word for term in terms) if any(term.corrected for term in terms) else None

    def frequency_of(self, word: str) -> float:
        """Return the share of listings that have a word, in the field where it is most frequent."""
        return self._keywords.frequency(word) / max(1, self._n_products)

    def _with_id(self, words: str, passing: np.ndarray) -> np.ndarray:
        """Return the numbers of the products whose id the words are, or begin."""
        if len(words.strip()) < MIN_ID_LENGTH:
            return np.array([], dtype=np.int64)
        numbers = np.array([self._ids.number(product_id) for product_id in self._ids.matching(words)], dtype=np.int64)
        return numbers[passing[numbers]]

    def _ask(self, words: str, embed: EmbedWords) -> Parts:
        """Return the parts of the question that asks for products like words."""
        return words_questions([words], embed, self._parts.expect_path, self._parts.dimensions["kind"])

    def _similar_texts(self, question: Parts, vector: np.ndarray, restriction: Restriction) -> np.ndarray:
        """Return the numbers of the products with similar texts, whether they have the words or not.

        `vector` `(d,)` is the question with its weights.
        """
        numbers = self._similar.nearest(vector, restriction, NEAREST).numbers
        return numbers[self._parts.part("text", numbers) @ question.text[0] >= MIN_TEXT_SIMILARITY]

    def _bonus(self, hits: Hits, named: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Return the bonus `(n,) float32` of products for the words that they have, or for being `named` by id."""
        bonus = np.zeros(len(numbers), np.float32)
        bonus[np.searchsorted(numbers, hits.numbers)] = hits.bonus(self._settings.keyword_weight)
        bonus[np.isin(numbers, named)] += ID_BONUS
        return bonus
