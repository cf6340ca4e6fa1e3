"""The form in which texts are compared: words that look the same are the same text."""

import re
import unicodedata
from functools import cache

_TRADE_MARKS = str.maketrans("", "", "™℠")  # whose compatibility form would become part of the word: CoreTM
# Letters of generators of fancy titles that Unicode gives no compatibility form: "🅽🅸🅺🅴", "ɴɪᴋᴇ".
_FANCY_LETTER = re.compile(r"(?:NEGATIVE (?:CIRCLED|SQUARED) LATIN CAPITAL LETTER|LATIN LETTER SMALL CAPITAL) ([A-Z])")


def comparable(text: str) -> str:
    """Return a text in Unicode's compatibility form, on one line and without invisible characters.

    >>> comparable("№ 1, 100 m²")
    'No 1, 100 m2'
    """
    if not text.isascii():
        text = "".join(map(_plain_letter, unicodedata.normalize("NFKC", text.translate(_TRADE_MARKS))))
    return " ".join(text.split())


@cache
def _plain_letter(letter: str) -> str:
    """Return a letter without its style, and nothing for an invisible character."""
    if letter.isascii():
        return letter
    if unicodedata.category(letter) == "Cf":
        return ""
    match = _FANCY_LETTER.fullmatch(unicodedata.name(letter, ""))
    return match[1] if match else letter
