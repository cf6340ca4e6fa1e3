"""Suggestions while somebody types a search: titles, categories and places."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from marketplace.recommendation.keywords import KeywordIndex
from marketplace.recommendation.products import SEPARATOR, repeated_levels
from marketplace.recommendation.vocabulary import fold, split_unwanted, split_words, want_all

MAX_OF_A_KIND = 4  # suggestions
TITLES_COMPARED = 50  # listings whose titles have the words, from which distinct titles are taken


@dataclass(frozen=True)
class Suggestion:
    """A search that somebody may be typing."""

    text: str
    kind: Literal["title", "category", "place"]


class Suggestions:
    """Suggests searches in a table of products; `keywords` holds its words."""

    def __init__(self, products: pd.DataFrame, keywords: KeywordIndex) -> None:
        self._titles = pa.array(products["product_name"])
        self._keywords = keywords
        self._categories = _split_texts(_count_levels(products["category_path"].value_counts().to_dict()))
        self._places = _split_texts(Counter(products["location"].value_counts().to_dict()))

    def suggest(self, words: str) -> list[Suggestion]:
        """Return categories, places and titles that words may be the beginning of, the most frequent first.

        Nothing is suggested after a word with a minus: a suggestion would bring it back.
        """
        typed = split_words(fold(words))
        if not typed or split_unwanted(words)[1]:
            return []
        return [
            *_take(Suggestion(text=text, kind="category") for text in _beginning_with(typed, self._categories)),
            *_take(Suggestion(text=text, kind="place") for text in _beginning_with(typed, self._places)),
            *_take(Suggestion(text=want_all(text), kind="title") for text in self._titles_with(words)),
        ]

    def _titles_with(self, words: str) -> Iterator[str]:
        """Yield distinct titles that have all words, the last of which may be unfinished."""
        everything = np.ones(len(self._titles), dtype=bool)
        hits = self._keywords.find(self._keywords.terms(words), everything, limit=TITLES_COMPARED)
        titles = self._titles.take(pa.array(hits.numbers[hits.in_title])).to_pylist()
        distinct = {fold(title): title for title in reversed(titles)}
        yield from sorted(distinct.values(), key=lambda title: (len(title), title))


def _take(suggestions: Iterator[Suggestion]) -> list[Suggestion]:
    return [suggestion for suggestion, _ in zip(suggestions, range(MAX_OF_A_KIND), strict=False)]


def _count_levels(paths: dict[str, int]) -> Counter[str]:
    """Count the products at each level of category paths, but for levels that say nothing alone.

    `paths` has the number of products of each path.
    """
    repeated = repeated_levels(paths)
    counts: Counter[str] = Counter()
    for path, n_products in paths.items():
        counts.update(dict.fromkeys((level for level in path.split(SEPARATOR) if level not in repeated), n_products))
    return counts


def _split_texts(counts: Counter[str]) -> dict[str, list[str]]:
    """Return the words of each text that is not empty, the most frequent text first."""
    return {text: split_words(fold(text.replace("&", " and "))) for text, _ in counts.most_common() if text}


def _beginning_with(typed: list[str], texts: dict[str, list[str]]) -> Iterator[str]:
    """Yield the texts that have all words that were typed; the last one may be the beginning of a word."""
    *whole, last = typed
    for text, words in texts.items():
        if all(word in words for word in whole) and any(word.startswith(last) for word in words):
            yield text
