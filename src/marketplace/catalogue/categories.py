"""Category paths as sellers and exports write them, each brought to one spelling."""

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from itertools import takewhile

from marketplace.catalogue.seller_texts import repair_text
from marketplace.texts.comparison import comparable

log = logging.getLogger(__name__)

SEPARATOR = " / "  # between the levels of a path, as cleaned listings have it
# A slash with a space on either side separates two levels; a comma before it is a slip. "TV/DVD" stays one name. The
# other signs are in no category's name.
_SEPARATOR = re.compile(r"\s*,?(?:\s+[/／]\s*|[/／]\s+)|\s*(?:[>»›→|\\＞｜＼]|::)\s*")
_DOUBTFUL_SEPARATORS = (" - ", "/", ";", ":", ".", ",", "_")  # they also occur in names
_PLACEHOLDERS = {
    "", "-", "--", "---", "—", "–", "?", ".", "0",
    "n/a", "na", "n.a.", "n.a", "n/k", "none", "null", "nil", "nan", "nat", "\\n", "category",
    "unknown", "undefined", "unspecified", "uncategorised", "uncategorized", "no category",
    "not specified", "not set", "not available", "not applicable", "blank", "empty", "missing",
    "tbc", "tbd", "tba", "to be confirmed",
    "#n/a", "#ref!", "#value!", "#name?", "#null!", "#div/0!", "#num!",
}  # fmt: skip


def parse_category(text: str) -> tuple[str, ...]:
    """Return the levels of a category path from the root down; none for a placeholder such as N/A.

    >>> parse_category("Clothes, Footwear &amp; Accessories, / Shoes/ Boots"), parse_category("Home > Lamps")
    (('Clothes, Footwear & Accessories', 'Shoes', 'Boots'), ('Home', 'Lamps'))
    """
    text = "".join(letter for letter in repair_text(text) if unicodedata.category(letter) != "Cf")
    if is_placeholder(text):
        return ()
    levels = [" ".join(level.split()).strip(" ,") for level in _SEPARATOR.split(text.strip(" ,/"))]
    if not levels or is_placeholder(levels[0]):
        return ()
    return tuple(level for level in levels if not is_placeholder(level))


def parse_categories(texts: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the levels of every product's category, each level in its commonest spelling, whatever its case.

    A first level that all categories share ("Default Category") is left out. Warns if no category has two levels, but
    all contain a sign that might separate levels.
    """
    texts = list(texts)
    path_of = {text: parse_category(text) for text in set(texts)}
    paths = merge_spellings([path_of[text] for text in texts])
    _warn_of_other_separators({path for path in paths if path})
    return _leave_out_common_levels(paths)


def merge_spellings(paths: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return paths with each level in its commonest spelling, whatever its case and the form of its letters."""
    n_uses = Counter(level for path in paths for level in path)
    key_of = {level: comparable(level).casefold() for level in n_uses}
    spelling_of: dict[str, str] = {}
    # The commonest spelling first; if two are equally common, one that is not in capitals.
    for level in sorted(n_uses, key=lambda level: (-n_uses[level], level.isupper(), level.islower(), level)):
        spelling_of.setdefault(key_of[level], level)
    return [tuple(spelling_of[key_of[level]] for level in path) for path in paths]


def _leave_out_common_levels(paths: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return paths without the first levels that all share; a path that has no other level keeps the last of them."""
    distinct = {path for path in paths if path}
    columns = takewhile(lambda levels: len(set(levels)) == 1, zip(*distinct, strict=False))
    common = [levels[0] for levels in columns]
    if len(distinct) < 2 or not common:
        return paths
    log.info("all categories begin with %r, which is left out", SEPARATOR.join(common))
    return [path[len(common) :] or path[-1:] for path in paths]


def is_placeholder(text: str) -> bool:
    """Return whether a text stands for nothing, such as N/A."""
    return comparable(text).strip(" ,()[]<>\"'").casefold() in _PLACEHOLDERS


def _warn_of_other_separators(paths: set[tuple[str, ...]]) -> None:
    if not paths or any(len(path) > 1 for path in paths):
        return
    for sign in _DOUBTFUL_SEPARATORS:
        if all(sign in path[0] for path in paths):
            log.warning(
                "no category has more than one level, though all contain %r, such as %r: levels are separated by "
                "' / ', '>', '|', '\\' or '::'",
                sign,
                min(paths)[0],
            )
            return
