"""The words of a catalogue: how a question's words are spelt there."""

import heapq
import re
import unicodedata
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable

from marketplace.texts.comparison import comparable

MIN_MISSPELT = 3  # letters of a word that may be misspelt: shorter ones are too many other words
MAX_MISSPELT = 30
MIN_CORRECT = 4  # letters of the word that it means: "ford" is not "for"
SHORT = 4  # letters of a word in which a wrong letter makes another word: "ford" is not "food"
TWO_SLIPS = 8  # letters from which on a word may have two slips
MIN_PREFIX = 2  # letters that may be the beginning of a word
MAX_COMPLETIONS = 8  # words that a beginning may mean
_WORD = re.compile(r"\w+")
_UNWANTED = re.compile(r"(?<!\S)-(\w\S*)")
_VOICED = "\u3099\u309a"  # marks that make another sound of a Japanese letter
# Chinese and Japanese are written without spaces: each character counts as a word.
_IDEOGRAPH = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")


def fold(text: str) -> str:
    """Return a text without case, accents and forms of letters, and with a space between ideographs.

    >>> fold("Crème BRÛLÉE 茶碗")
    'creme brulee 茶 碗'
    """
    text = comparable(text).casefold()
    if not text.isascii():
        letters = unicodedata.normalize("NFKD", text)
        text = "".join(letter for letter in letters if not unicodedata.combining(letter) or letter in _VOICED)
        text = _IDEOGRAPH.sub(r" \1 ", unicodedata.normalize("NFKC", text))
    return " ".join(text.split())


def split_words(text: str) -> list[str]:
    """Return the distinct words of a folded text, in order.

    >>> split_words("oak table, oak chairs")
    ['oak', 'table', 'chairs']
    """
    return list(dict.fromkeys(_WORD.findall(text)))


def split_unwanted(text: str) -> tuple[str, list[str]]:
    """Return the words that a search wants, and those that it does not want: they have a minus before them.

    >>> split_unwanted("corner sofa -leather")
    ('corner sofa', ['leather'])
    """
    unwanted = [match[1] for match in _UNWANTED.finditer(text)]
    return " ".join(_UNWANTED.sub(" ", text).split()), unwanted


def want_all(text: str) -> str:
    """Return a text as a search for all its words: a minus before a word would mean that it is not wanted.

    >>> want_all("Desk -new, T-shirt")
    'Desk - new, T-shirt'
    """
    return _UNWANTED.sub(r"- \1", text)


class Vocabulary:
    """The words of folded texts, and the number of texts that have each."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._counts = Counter(word for text in texts for word in split_words(text))
        self._words = sorted(self._counts)
        self._by_initial: dict[str, list[str]] = defaultdict(list)
        for word in self._words:
            self._by_initial[word[0]].append(word)

    def complete(self, beginning: str) -> list[str]:
        """Return the commonest words with a beginning, the commonest first."""
        if len(beginning) < MIN_PREFIX:
            return []
        start = bisect_left(self._words, beginning)
        end = bisect_left(self._words, f"{beginning}\U0010ffff", lo=start)
        return heapq.nlargest(MAX_COMPLETIONS, self._words[start:end], key=lambda word: self._counts[word])

    def correct(self, word: str) -> str | None:
        """Return the word that a misspelt one means: the fewest slips away, then the commonest; None if there is none.

        A slip is a letter too many or too few and, in words that are not SHORT, a wrong one or two swapped ones. The
        first letter is right. Words with digits are no misspellings: a PS5 is no PS4.
        """
        from rapidfuzz.distance import OSA, Indel
        from rapidfuzz.process import extract

        if not MIN_MISSPELT <= len(word) <= MAX_MISSPELT or not word.isalpha():
            return None
        scorer = Indel.distance if len(word) <= SHORT else OSA.distance
        n_slips = 1 if len(word) < TWO_SLIPS else 2
        candidates = self._by_initial.get(word[0], [])
        matches = extract(word, candidates, scorer=scorer, score_cutoff=n_slips, limit=None)
        matches = [match for match in matches if len(match[0]) >= MIN_CORRECT]
        fewest = min((distance for _, distance, _ in matches), default=0)
        nearest = [match for match, distance, _ in matches if distance == fewest]
        return max(nearest, key=lambda match: self._counts[match], default=None)
