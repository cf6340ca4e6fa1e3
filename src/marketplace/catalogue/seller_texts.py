"""The one path of every text that a seller wrote: names, descriptions, categories, places and prices."""

import unicodedata

import ftfy

from marketplace.texts.markup import strip_markup

_DIRECTION_MARKS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def repair_text(text: str) -> str:
    """Return a text as it is shown: on one line, in Unicode's normal form C, without markup, mojibake and controls.

    Emoji, quotes and letters stay as they are: ftfy repairs only the encoding (`Â£` to `£`). It knows how UTF-8 goes
    wrong, and tells mojibake from intended text. A terminal would obey control characters.

    >>> repair_text("<p>CafÃ© &amp; bar</p>")
    'Café & bar'
    """
    text = ftfy.fix_encoding(unicodedata.normalize("NFC", strip_markup(text)))
    if not text.isprintable():
        text = "".join(letter for letter in text if letter.isspace() or not is_control(letter))
    return " ".join(unicodedata.normalize("NFC", text).split())


def is_control(letter: str) -> bool:
    """Return whether a character is a control, a mark that changes the direction of writing, or no character at all."""
    return (
        unicodedata.category(letter) in ("Cc", "Cs")
        or unicodedata.bidirectional(letter) in _DIRECTION_MARKS
        or (ord(letter) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(letter) <= 0xFDEF)
    )
