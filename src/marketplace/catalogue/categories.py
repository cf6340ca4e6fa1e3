"""Category paths as sellers and exports write them, brought to one spelling each."""

import html
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

import ftfy

log = logging.getLogger(__name__)

# A slash with a space on either side separates two levels; a comma before it is rogue. "TV/DVD" stays one name. The
# other signs are in no category's name.
_LEVELS = re.compile(r"\s*,?(?:\s+/\s*|/\s+)|\s*(?:[>»›→|\\]|::)\s*")
_PLACEHOLDERS = {
    *("", "-", "--", "---", "—", "–", "?", ".", "0", "n/a", "na", "n.a.", "n.a", "n/k", "none", "null", "nil", "nan"),
    *("nat", "unknown", "undefined", "unspecified", "uncategorised", "uncategorized", "no category", "not specified"),
    *(
        "not set",
        "not available",
        "not applicable",
        "tbc",
        "tbd",
        "tba",
        "to be confirmed",
        "blank",
        "empty",
        "missing",
    ),
    *("#n/a", "#ref!", "#value!", "#name?", "#null!", "#div/0!", "#num!", "\\n", "category"),
}
# What else may separate levels, but is also in names.
_DOUBTFUL = (" - ", "/", ";", ":", ".", ",", "_")


def parse_category(text: str) -> tuple[str, ...]:
    """The levels of a category path, from the root down; none for a placeholder such as N/A.

    >>> parse_category("Clothes, Footwear &amp; Accessories, / Shoes/ Boots"), parse_category("Home > Lamps")
    (('Clothes, Footwear & Accessories', 'Shoes', 'Boots'), ('Home', 'Lamps'))
    """
    text = html.unescape(html.unescape(ftfy.fix_encoding(text)))  # twice: "&amp;amp;" is common
    text = "".join(letter for letter in unicodedata.normalize("NFKC", text) if unicodedata.category(letter) != "Cf")
    if _is_placeholder(text):
        return ()
    levels = [" ".join(level.split()).strip(" ,") for level in _LEVELS.split(text.strip(" ,/"))]
    if not levels or _is_placeholder(levels[0]):
        return ()
    return tuple(level for level in levels if not _is_placeholder(level))


def parse_categories(texts: Iterable[str]) -> list[tuple[str, ...]]:
    """The levels of every product's category, spelled as most products spell them: case makes no difference.

    Warns if no category has two levels, but all have what might separate some.
    """
    texts = list(texts)
    known = {text: parse_category(text) for text in set(texts)}
    paths = [known[text] for text in texts]
    spellings = Counter(level for path in paths for level in path)
    usual: dict[str, str] = {}
    # The commonest first; of two that are equally common, one that is not in capitals.
    for level in sorted(spellings, key=lambda level: (-spellings[level], level.isupper(), level.islower(), level)):
        usual.setdefault(level.casefold(), level)
    named = [tuple(usual[level.casefold()] for level in path) for path in paths]
    _warn_of_other_separators({path for path in named if path})
    return named


def _is_placeholder(text: str) -> bool:
    return text.strip(" ,()[]<>\"'").casefold() in _PLACEHOLDERS


def _warn_of_other_separators(paths: set[tuple[str, ...]]) -> None:
    if not paths or any(len(path) > 1 for path in paths):
        return
    for sign in _DOUBTFUL:
        if all(sign in path[0] for path in paths):
            log.warning(
                "no category has more than one level, though all contain %r, such as %r: levels are separated by "
                "' / ', '>', '|', '\\' or '::'",
                sign,
                min(paths)[0],
            )
            return
