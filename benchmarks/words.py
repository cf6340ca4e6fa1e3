"""Measure the inverted list of words: the time to build it, its memory and the time of a search.

    python benchmarks/words.py [--products 1000000] [--json OUT]

The words of the listings follow Zipf's law over 200,000 words, as words of a language do. Searches have one to three
words: any words of a title, the commonest ones, misspelt ones, and beginnings.
"""

import time

import numpy as np
import pandas as pd
from workspace import make_parser, peak_gib, report, table

from marketplace.recommendation.keywords import FIELDS, KeywordIndex

N_WORDS = 200_000
LENGTHS = {"title": 6, "category": 3, "place": 2, "description": 20}  # words in each field
SEARCHES = 300  # of each kind
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def main() -> None:
    """Parse the command line, measure, print the results."""
    parser = make_parser(__doc__, params=False)
    parser.add_argument("--products", type=int, default=1_000_000, help="(default: 1,000,000)")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    words = make_words(rng)
    products = make_products(rng, words, options.products)
    started = time.perf_counter()
    index = KeywordIndex(products)
    index.terms("buildsthevocabulary")
    build_seconds = time.perf_counter() - started

    passing = np.ones(len(products), dtype=bool)
    filtered = rng.random(len(products)) < 0.05
    rows = []
    for kind, searches in make_searches(rng, words, products).items():
        for name, among in (("all", passing), ("5 % pass a filter", filtered)):
            milliseconds = [1_000 * time_search(index, search, among) for search in searches]
            p50, p99 = np.quantile(milliseconds, [0.5, 0.99])
            rows.append([f"{kind}, {name}", f"{p50:.1f} ms", f"{p99:.1f} ms", f"{max(milliseconds):.1f} ms"])
    print(f"{len(products):,} products: built in {build_seconds:.0f} s, {peak_gib():.1f} GiB at most\n")
    results = {"products": len(products), "build_seconds": build_seconds, "gib": peak_gib(), "rows": rows}
    report(results, table(["searches", "p50", "p99", "longest"], rows), options.json)


def make_words(rng: np.random.Generator) -> np.ndarray:
    """Return distinct words `(N_WORDS,) str` of 3 to 11 letters, the commonest and shortest first."""
    lengths = np.sort(rng.integers(3, 12, 2 * N_WORDS))
    words = ["".join(rng.choice(list(LETTERS), length)) for length in lengths.tolist()]
    return np.array(list(dict.fromkeys(words))[:N_WORDS])


def make_products(rng: np.random.Generator, words: np.ndarray, n_products: int) -> pd.DataFrame:
    """Return a table of products with the columns that are searched."""
    columns = {}
    for name, (column, _) in FIELDS.items():
        numbers = np.minimum(rng.zipf(1.2, (n_products, LENGTHS[name])), N_WORDS) - 1
        columns[column] = [" ".join(row) for row in words[numbers]]
    return pd.DataFrame(columns)


def make_searches(rng: np.random.Generator, words: np.ndarray, products: pd.DataFrame) -> dict[str, list[str]]:
    """Return searches by their kind."""
    titles = [title.split() for title in products["product_name"].iloc[rng.integers(0, len(products), SEARCHES)]]
    long_words = [max(title, key=len) for title in titles]
    return {
        "words of a title": [" ".join(rng.choice(title, 3)) for title in titles],
        "the commonest words": [" ".join(rng.choice(words[:50], 3)) for _ in range(SEARCHES)],
        "misspelt words": [f"{word[0]}{word[2:]}x" for word in long_words],
        "beginnings": [word[:3] for word in long_words],
    }


def time_search(index: KeywordIndex, search: str, passing: np.ndarray) -> float:
    """Return the seconds of a search."""
    started = time.perf_counter()
    index.find(index.terms(search), passing)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
