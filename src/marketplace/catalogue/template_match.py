"""Templates of generated sentences, and where they are in a description."""

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from marketplace.catalogue.template_search import (
    ANY,
    CATEGORY,
    CODE,
    CODE_PATTERN,
    DATE,
    DATE_PATTERN,
    LABEL_SEPARATOR,
    NAME,
    PLACE,
    SENTENCE_ENDS,
    SLOTS,
    Edge,
    Listing,
    is_word,
    label_pattern,
)

_CAPITALISED_WORD = r"[^\W\d_a-z][\w'’-]*"
_NAME_WORD = rf"(?:{_CAPITALISED_WORD}|\w*[\d_]\w*)"
_FIRST_NAMES = re.compile(rf"(?<=[.!?…] )(?:{_CAPITALISED_WORD} ){{1,2}}$")
_PATTERNS = {
    CATEGORY: ".{1,200}?",
    PLACE: ".{1,60}?",
    DATE: DATE_PATTERN,
    CODE: CODE_PATTERN,
    ANY: r"\S+?(?: \S+?){0,4}?",
    NAME: rf"(?<![\w'’-]){_NAME_WORD}(?: {_NAME_WORD}){{0,2}}",
}
_INNER_NAME = rf"(?<![\w'’-])(?:{_NAME_WORD}(?: {_NAME_WORD}){{1,2}}(?=[.!?…]|$)|{_NAME_WORD})"
_MAX_GAP = 200  # characters between two words of a template
_MIN_CODE_DIGITS = 4
_MAX_CODE_DIGITS = 8  # more may be a telephone number, which sellers do write


class Match(NamedTuple):
    """The part of a description that fits a template."""

    start: int
    end: int
    values: tuple[str, ...]  # of the slots
    is_whole: bool  # whether there is nothing else in the description


@dataclass(frozen=True)
class Template:
    """A generated sentence with slots."""

    elements: tuple[str, ...]  # words, punctuation and slots
    edge: Edge  # of the descriptions, where it is

    @cached_property
    def slots(self) -> tuple[str, ...]:
        """The slots in reading order."""
        return tuple(element for element in self.elements if element in SLOTS)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The fixed words, longest first."""
        return tuple(sorted(set(filter(is_word, self.elements)), key=lambda word: (-len(word), word)))

    def find(self, listing: Listing) -> Match | None:
        """Return the match at the template's edge of the description, or None."""
        return self._find(listing, is_anchored=True)

    def find_inside(self, listing: Listing) -> Match | None:
        """Return the last match within the description, or None; only if it is clear where the template ends."""
        if {self.elements[0], self.elements[-1], self._inner_slot} & (SLOTS - {DATE}):
            return None
        return self._find(listing, is_anchored=False)

    def occurs_in(self, listing: Listing) -> bool:
        """True if the words are somewhere in the description, in the same order and near each other."""
        if not all(word in listing.description for word in self.words):
            return False
        words = [element for element in self._core if is_word(element)]
        return any(
            _continues(words[1:], listing.description, first.end())
            for first in re.finditer(rf"\b{re.escape(words[0])}\b", listing.description)
        )

    def extends(self, other: "Template") -> bool:
        """True if this template is the other one with more in front (at the beginning of descriptions: behind)."""
        length = len(other.elements)
        part = self.elements[-length:] if self.edge == "end" else self.elements[:length]
        return len(self.elements) > length and part == other.elements

    def outer_part(self) -> "Template":
        """Return the part between the edge of descriptions and the innermost slot that may be anything."""
        if ANY not in self.elements:
            return Template((), self.edge)
        if self.edge == "end":
            return Template(self.elements[self.elements.index(ANY) + 1 :], self.edge)
        return Template(self.elements[: -1 - self.elements[::-1].index(ANY)], self.edge)

    def quote(self) -> str:
        """Return the template with … for each slot, and for each word that may be a name."""
        has_free_slot = ANY in self.slots or NAME in self.slots
        shown: list[str] = []
        for element in self.elements:
            may_be_name = is_word(element) and not element.islower() and bool(shown) and not has_free_slot
            shown.append("…" if element in SLOTS or may_be_name else element)
        text = re.sub("…(?: …)+", "…", " ".join(shown))
        text = re.sub(r" ([.,:;!?)\]])", r"\1", text)
        return re.sub(r"([(\[]) ", r"\1", text)

    @property
    def _core(self) -> tuple[str, ...]:
        first = 1 if self.elements[0] == NAME else 0
        last = len(self.elements) - (1 if self.elements[-1] == NAME else 0)
        return self.elements[first:last]

    @property
    def _inner_slot(self) -> str:
        """The slot next to the seller's text, or another element."""
        return self.elements[0] if self.edge == "end" else _last(self.elements)

    @property
    def _outer_slot(self) -> str:
        """The slot at the edge of the description, or another element."""
        return _last(self.elements) if self.edge == "end" else self.elements[0]

    def _find(self, listing: Listing, *, is_anchored: bool) -> Match | None:
        description = listing.description
        if not all(word in description for word in self.words):
            return None
        inner_labels = _labels_at_ends(self._inner_slot, listing)
        outer_labels = _labels_at_ends(self._outer_slot, listing)
        if inner_labels == () or outer_labels == ():
            return None
        match = _compile(self, inner_labels, outer_labels, is_anchored).match(description)
        if match is None:
            return None
        start = match.start("template")
        if self.edge == "end" and inner_labels:  # "Other Games" rather than "Games", if both are its labels
            before = _compile_labels(inner_labels).search(description[: match.end(2)])
            start = before.start() if before else start
        if self._inner_slot == NAME:
            first_names = _FIRST_NAMES.search(description[:start])
            start = first_names.start() if first_names else start
        end = match.end("template")
        is_whole = not description[:start].strip() and not description[end:].strip()
        return Match(start=start, end=end, values=match.groups()[1:], is_whole=is_whole)


def fits(slot: str, value: str, listing: Listing) -> bool:
    """True if the value is of the slot's kind; for a category and a place: if it is the listing's own."""
    if slot == CODE:
        return _MIN_CODE_DIGITS <= sum(letter.isdigit() for letter in value) <= _MAX_CODE_DIGITS
    if slot not in (CATEGORY, PLACE):
        return True
    for label in listing.labels if slot == CATEGORY else listing.places:
        if label in value:
            value = label_pattern(label).sub("", value)
    return not any(letter.isalnum() for letter in value)


def _continues(words: list[str], text: str, position: int) -> bool:
    """Return whether words follow each other in a text from a position on, each near the one before."""
    for word in words:
        place = text.find(word, position, position + _MAX_GAP + len(word))
        if place < 0:
            return False
        position = place + len(word)
    return True


def _last(elements: tuple[str, ...]) -> str:
    """Return the last element that does not end a sentence."""
    return next((element for element in reversed(elements) if element not in SENTENCE_ENDS), "")


def _labels_at_ends(slot: str, listing: Listing) -> tuple[str, ...] | None:
    """Return the names that a slot may have at either end of a template; None if it is for neither category nor place.

    Within the template, its words say where the slot ends.
    """
    return {CATEGORY: listing.labels, PLACE: listing.places}.get(slot)


@lru_cache(maxsize=4096)
def _compile(
    template: Template, inner_labels: tuple[str, ...] | None, outer_labels: tuple[str, ...] | None, is_anchored: bool
) -> re.Pattern[str]:
    """Return the pattern of a template; labels are the names that its innermost and outermost slots may have."""
    elements = template.elements
    edge = template.edge
    ends_inside = edge == "beginning" and (elements[-1] in SENTENCE_ENDS or elements[-1] == NAME)
    if elements[-1] in SENTENCE_ENDS and ends_inside:
        elements = elements[:-1]
    first = 0
    last = len(elements) - (2 if elements[-1] in SENTENCE_ENDS else 1)
    inner, outer = (first, last) if edge == "end" else (last, first)
    parts = []
    for index, element in enumerate(elements):
        if index == inner and inner_labels:
            parts.append(f"({_label_sequence(inner_labels)})")
        elif index == outer and outer_labels:
            other = f"|{_PATTERNS[NAME]}" if element == PLACE else ""  # a place that the listing does not give
            parts.append(f"({_label_sequence(outer_labels)}{other})")
        elif index == inner and element == NAME:
            parts.append(f"({_INNER_NAME})")
        elif element in SLOTS:
            parts.append(f"({_PATTERNS[element]})")
        elif is_word(element):
            parts.append(rf"(?<!\w){re.escape(element)}(?!\w)")
        else:
            parts.append(re.escape(element))
    if ends_inside:
        parts.append("(?:[.!?…]|(?<=[^.!?…])(?= |$))")
    pattern = "(?P<template>" + r"\s*".join(parts) + ")"
    if edge == "end" or not is_anchored:
        pattern = "(?s).*" + pattern
    if edge == "end" and is_anchored:
        pattern += r"\s*$"
    if edge == "beginning" and is_anchored:
        pattern = r"^\s*" + pattern
    return re.compile(pattern)


@lru_cache(maxsize=4096)
def _compile_labels(labels: tuple[str, ...]) -> re.Pattern[str]:
    """Return the pattern of the longest sequence of labels at the end of a text."""
    return re.compile(_label_sequence(labels) + "$")


def _label_sequence(labels: tuple[str, ...]) -> str:
    label = "(?:" + "|".join(map(re.escape, labels)) + ")"
    return rf"(?<!\w){label}(?:{LABEL_SEPARATOR}{label})*(?!\w)"
