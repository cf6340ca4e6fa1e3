"""The words of listings in an inverted list: which listings have the words of a question, and where.

Tantivy holds the list, in memory: it stems words, so that plurals are found, and searches a million titles in
milliseconds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import tantivy

from marketplace.recommendation.vocabulary import Vocabulary, fold, split_words

# The fields of a listing: its column in the table of products, and how much a word counts that is found there.
FIELDS = {
    "title": ("product_name", 1.0),
    "category": ("category_path", 1.0),
    "place": ("location", 0.5),
    "description": ("product_description", 0.3),
}
SPELT_FIELDS = ("title", "category", "place")  # whose words correct the words of a question
MAX_WORDS = 32  # of a question that are looked up
MAX_HITS = 1_000  # listings with words of a question
MANY = 50_000  # listings: a word that more of them have in a field tells little there
FEW = 5_000  # listings that are named one by one in a search among them
WRITER_BYTES = 64_000_000
SPARE_DEPTH = 1.2  # of hits that are read where many pass a filter: enough of them are left at first try
LATIN_SHARE = 0.5  # of the letters of a question: with fewer, the sentence model does not know its language
EXACT = "exact"  # the field of titles whose words are not stemmed
FEW_TITLES = 10  # "offices" finds the only title with this word, although many more have "office"
TITLE_BONUS = 1.0  # of a listing that has all words in its title: no similarity outweighs it


@dataclass(frozen=True)
class Term:
    """A word of a question, as it is looked up."""

    text: str  # as the question spells it
    word: str  # as the catalogue spells it; as the question does, if no listing has it
    stems: tuple[str, ...]  # several if it may be the beginning of several words; none if no listing has it
    rarity: float  # inverse document frequency
    corrected: bool


@dataclass(frozen=True)
class Hits:
    """The listings that have words of a question."""

    numbers: np.ndarray  # (n,) int, ascending
    coverage: np.ndarray  # (n,) float32: the share of the question's words, by rarity and field, from 0 to 1
    in_title: np.ndarray  # (n,) bool: the title has all words
    exact: np.ndarray  # (n,) bool: the title is one of few that have all words in the same form

    def bonus(self, weight: float) -> np.ndarray:
        """Return the points `(n,) float32` that a listing's words add to its similarity."""
        return (weight * self.coverage + TITLE_BONUS * self.in_title + TITLE_BONUS * self.exact).astype(np.float32)


@dataclass(frozen=True)
class _Scope:
    """The products that a question may find."""

    passing: np.ndarray  # (P,) bool
    among: list[tuple[tantivy.Occur, tantivy.Query]]  # a condition that names them one by one, if they are few
    spare: float  # hits to read for each that is wanted: some do not pass


class KeywordIndex:
    """An inverted list of the products in a table; a product's number is its row."""

    def __init__(self, products: pd.DataFrame) -> None:
        texts = {name: products[column].map(fold).tolist() for name, (column, _) in FIELDS.items()}
        self._n_products = len(products)
        self._vocabulary = Vocabulary(text for name in SPELT_FIELDS for text in texts[name])
        self._analyzer = (
            tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).filter(tantivy.Filter.stemmer("English")).build()
        )
        schema = tantivy.SchemaBuilder().add_unsigned_field("number", indexed=True, fast=True)
        for name in FIELDS:
            schema = schema.add_text_field(name, tokenizer_name="words", index_option="basic")
        self._schema = schema.add_text_field(EXACT, tokenizer_name="forms", index_option="basic").build()
        index = tantivy.Index(self._schema)
        index.register_tokenizer("words", self._analyzer)
        index.register_tokenizer("forms", tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).build())
        writer = index.writer(heap_size=WRITER_BYTES, num_threads=1)
        for number, values in enumerate(zip(*texts.values(), strict=True)):
            document = tantivy.Document(**dict(zip(texts, values, strict=True)), exact=values[0])
            document.add_unsigned("number", number)
            writer.add_document(document)
        writer.commit()
        writer.wait_merging_threads()
        index.reload()
        self._searcher = index.searcher()

    def terms(self, words: str) -> list[Term]:
        """Return the words of a question as they are looked up.

        A word that no listing has is taken for the beginning of one if it is the last, and else for a misspelling.
        """
        distinct = split_words(fold(words))[:MAX_WORDS]
        return [self._look_up(word, may_go_on=word == distinct[-1]) for word in distinct]

    def _look_up(self, word: str, *, may_go_on: bool) -> Term:
        stem = self._stem(word)
        if self._frequency(stem):
            return self._term(word, word, [stem])
        completions = self._vocabulary.complete(word) if may_go_on else []
        if completions:
            return self._term(word, completions[0], [self._stem(completion) for completion in completions])
        correct = self._vocabulary.correct(word)
        if correct is None:
            return self._term(word, word, [])
        return self._term(word, correct, [self._stem(correct)], corrected=True)

    def _term(self, text: str, word: str, stems: list[str], *, corrected: bool = False) -> Term:
        frequency = max((self._frequency(stem) for stem in stems), default=0)
        rarity = math.log(1 + (self._n_products - frequency + 0.5) / (frequency + 0.5))
        return Term(text=text, word=word, stems=tuple(dict.fromkeys(stems)), rarity=rarity, corrected=corrected)

    def frequency(self, word: str) -> int:
        """Return the number of listings that have a word, in any form, in the field where it is most frequent."""
        return self._frequency(self._stem(fold(word)))

    def _stem(self, word: str) -> str:
        return "".join(self._analyzer.analyze(word))

    def _frequency(self, stem: str) -> int:
        """Return the number of listings with a word in the field where it is most frequent."""
        return max(self._searcher.doc_freq(name, stem) for name in FIELDS)

    def find(self, terms: list[Term], passing: np.ndarray, limit: int = MAX_HITS) -> Hits:
        """Return at most `limit` of the products in `passing` `(P,) bool` that have any of the terms, the best ones."""
        known = [term for term in terms if term.stems]
        if not known or not passing.any():
            nothing = np.zeros(0, dtype=bool)
            return Hits(
                numbers=np.zeros(0, np.int64), coverage=np.zeros(0, np.float32), in_title=nothing, exact=nothing
            )
        scope = self._make_scope(passing)
        anywhere = [self._anywhere(term, fields) for term, fields in self._telling_fields(known)]
        numbers, scores = self._search([(tantivy.Occur.Should, query) for query in anywhere], scope, limit)
        whole = sum(term.rarity for term in terms)
        entitled = self._with_title(terms, scope, limit) if len(known) == len(terms) else np.zeros(0, np.int64)
        beyond_limit = np.setdiff1d(entitled, numbers)
        numbers = np.concatenate([numbers, beyond_limit])
        scores = np.concatenate([scores, np.full(len(beyond_limit), whole, np.float32)])
        order = np.argsort(numbers)
        numbers = numbers[order]
        return Hits(
            numbers=numbers,
            coverage=scores[order] / np.float32(max(whole, 1e-9)),
            in_title=np.isin(numbers, entitled),
            exact=np.isin(numbers, self._with_exact_title(terms, scope)),
        )

    def having(self, words: list[str], passing: np.ndarray) -> np.ndarray:
        """Return the numbers of all products in `passing` `(P,) bool` that have any of some words, in any field."""
        stems = [self._stem(word) for word in split_words(fold(" ".join(words)))[:MAX_WORDS]]
        queries = [(tantivy.Occur.Should, self._query(name, stems)) for name in FIELDS]
        return self._search(queries, self._make_scope(passing), limit=len(passing))[0]

    def _make_scope(self, passing: np.ndarray) -> _Scope:
        n_passing = int(passing.sum())
        if n_passing == len(passing):
            return _Scope(passing=passing, among=[], spare=1.0)
        if n_passing > FEW:
            return _Scope(passing=passing, among=[], spare=SPARE_DEPTH * len(passing) / n_passing)
        numbers = tantivy.Query.term_set_query(self._schema, "number", np.flatnonzero(passing).tolist())
        among = [(tantivy.Occur.Must, tantivy.Query.const_score_query(numbers, 0.0))]
        return _Scope(passing=passing, among=among, spare=1.0)

    def _with_title(self, terms: list[Term], scope: _Scope, limit: int) -> np.ndarray:
        """Return the numbers of products in a scope that have all terms in their title."""
        queries = [(tantivy.Occur.Must, self._query("title", term.stems)) for term in terms]
        return self._search(queries, scope, limit)[0]

    def _with_exact_title(self, terms: list[Term], scope: _Scope) -> np.ndarray:
        """Return the numbers of products in a scope that have all words in their title as they are, if few do."""
        queries = [(tantivy.Occur.Must, self._query(EXACT, [term.text])) for term in terms]
        numbers, _ = self._search(queries, scope, FEW_TITLES + 1)
        return numbers if len(numbers) <= FEW_TITLES else numbers[:0]

    def _telling_fields(self, terms: list[Term]) -> list[tuple[Term, list[str]]]:
        """Return each term with the fields where it is looked up: those where at most MANY listings have it.

        Elsewhere it would take long and tell little. If no term is left, the rarest one is looked up in titles.
        """
        fields = {
            term: [name for name in FIELDS if sum(self._searcher.doc_freq(name, stem) for stem in term.stems) <= MANY]
            for term in terms
        }
        telling = [(term, names) for term, names in fields.items() if names]
        return telling or [(max(terms, key=lambda term: term.rarity), ["title"])]

    def _anywhere(self, term: Term, fields: list[str]) -> tantivy.Query:
        """A query whose score is the term's rarity, times the worth of the best of some fields that have it."""
        of_fields = [
            tantivy.Query.boost_query(tantivy.Query.const_score_query(self._query(name, term.stems), 1.0), worth)
            for name, (_, worth) in FIELDS.items()
            if name in fields
        ]
        return tantivy.Query.boost_query(tantivy.Query.disjunction_max_query(of_fields), term.rarity)

    def _query(self, field: str, words: Sequence[str]) -> tantivy.Query:
        """A query for listings with any of some words in a field."""
        return tantivy.Query.term_set_query(self._schema, field, list(words))

    def _search(
        self, queries: list[tuple[tantivy.Occur, tantivy.Query]], scope: _Scope, limit: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (numbers, scores) `(n,)` of at most `limit` products in a scope that match, the best ones."""
        query = tantivy.Query.boolean_query(queries)
        if scope.among:
            query = tantivy.Query.boolean_query([(tantivy.Occur.Must, query), *scope.among])
        depth = min(len(scope.passing), math.ceil(scope.spare * limit))
        while True:
            hits = self._searcher.search(query, depth, count=False).hits
            scores = np.array([score for score, _ in hits], np.float32)
            addresses = [address for _, address in hits]
            numbers = np.array(self._searcher.fast_field_values("number", addresses), np.int64)
            is_passing = scope.passing[numbers]
            if len(hits) < depth or depth == len(scope.passing) or is_passing.sum() >= limit:
                return numbers[is_passing][:limit], scores[is_passing][:limit]
            depth = min(len(scope.passing), 8 * depth)


def is_latin(words: str) -> bool:
    """Return whether the sentence model may know the language of words: it was trained on English.

    >>> is_latin("tea bowl"), is_latin("茶碗")
    (True, False)
    """
    letters = [letter for letter in words if letter.isalpha()]
    n_latin = sum(fold(letter).isascii() for letter in letters)
    return not letters or n_latin >= LATIN_SHARE * len(letters)
