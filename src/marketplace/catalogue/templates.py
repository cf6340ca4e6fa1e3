"""Sentences that a marketplace adds to sellers' descriptions, such as "Posted by NAME in CATEGORY in PLACE. DATE".

They name people, and they give away the category that models are asked for. What a template has and a seller's sentence
lacks: slots that the listing's other fields explain, in practically every description that has its words. Repeated
words are no evidence, since sellers repeat themselves and each other ("Cash on collection"), nor is a place or a number
("Collection from Leeds", "Size 12"). But nobody types the exact name of a category, or a full date along with a place
or a name, in the same words as ten others, always at the very end or beginning.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from marketplace.catalogue.categories import SEPARATOR
from marketplace.catalogue.template_match import Match, Template, fits
from marketplace.catalogue.template_search import (
    ANY,
    CATEGORY,
    CODE,
    MIN_POINTS,
    MIN_PRODUCTS,
    MIN_SHARE,
    NAME,
    SLOTS,
    Edge,
    Listing,
    count_points,
    is_evident,
    is_word,
    propose_templates,
)

log = logging.getLogger(__name__)

EDGES: tuple[Edge, ...] = ("end", "beginning")
_MIN_EDGE_SHARE = 0.8  # of the descriptions that have a template's words anywhere
_MIN_SELLERS = 3  # descriptions without the template that have the same words at the same edge


@dataclass(frozen=True)
class CutDescriptions:
    """Descriptions without the sentences of the templates."""

    descriptions: list[str]
    n_cut: dict[Template, int]  # descriptions with each template


def leave_out_templates(products: pd.DataFrame) -> tuple["pd.Series[str]", int]:
    """Return the descriptions without generated sentences, and how many such sentences there were.

    `products` has product_description, category_path and location.
    """
    columns = (products["product_description"], products["category_path"], products["location"])
    result = cut_templates([make_listing(*row) for row in zip(*columns, strict=True)])
    for template, n_cut in result.n_cut.items():
        log.info('left a generated sentence out of %s descriptions: "%s"', f"{n_cut:,}", template.quote())
    return pd.Series(result.descriptions, products.index, dtype=str), sum(result.n_cut.values())


def make_listing(description: str, category_path: str, location: str) -> Listing:
    """Return the listing of a description, a category such as "Home / Lamps", and a location."""
    return Listing(
        description=description,
        labels=_longest_first(category_path.split(SEPARATOR)),
        places=_longest_first([location, *location.split(",")]),
    )


def cut_templates(listings: Sequence[Listing]) -> CutDescriptions:
    """Find templates at the end and at the beginning of descriptions, and leave their sentences out.

    Takes time in proportion to the number of listings. Without enough evidence, all descriptions stay as they are.
    """
    remaining = list(listings)
    n_cut: dict[Template, int] = {}
    for edge in EDGES:
        candidates = {Template(elements, edge) for elements in propose_templates(remaining, edge)}
        for candidate in sorted(candidates, key=lambda template: (len(template.elements), template.elements)):
            template, matches = _choose_length(candidate, candidates, remaining)
            if not matches:
                continue
            matches |= _find_inside(template, remaining, matches)
            for index, match in matches.items():
                remaining[index] = _cut(remaining[index], match)
            n_cut[template] = len(matches)
    return CutDescriptions(descriptions=[listing.description for listing in remaining], n_cut=n_cut)


def _choose_length(
    template: Template, candidates: set[Template], listings: Sequence[Listing]
) -> tuple[Template, dict[int, Match]]:
    """Return the whole template, without words that sellers write next to it, and its matches by position."""
    matches = _find_generated(template, listings)
    if not matches:
        return template, matches
    longer_ones = [candidate for candidate in candidates if candidate.extends(template)]
    for longer in sorted(longer_ones, key=lambda longer: (-len(longer.elements), longer.elements)):
        longer_matches = _find_generated(longer, listings)
        if len(longer_matches) >= MIN_SHARE * len(matches):
            template = longer
            matches = longer_matches
            break
    others = [listing for index, listing in enumerate(listings) if index not in matches]
    shorter = _drop_sellers_words(template, others)
    if shorter is None and sum(match.is_whole for match in matches.values()) >= _MIN_EDGE_SHARE * len(matches):
        shorter = _drop_other_sentence(template)
    if shorter is not None:
        shorter_matches = _find_generated(shorter, listings)
        if shorter_matches:
            return shorter, shorter_matches
    return template, matches


def _drop_sellers_words(template: Template, others: Sequence[Listing]) -> Template | None:
    """Return the template without words with which descriptions that lack it end (or begin) too; None if none do."""
    elements = template.elements
    for length in range(len(elements) - 1, 0, -1):
        words = elements[:length]
        rest = elements[length:]
        if template.edge == "beginning":
            words = elements[-length:]
            rest = elements[:-length]
        if not any(map(is_word, words)) or (set(words) & SLOTS) - {CODE} or not is_evident(rest):
            continue
        sellers_words = Template(words, template.edge)
        if sum(sellers_words.find(listing) is not None for listing in others) >= _MIN_SELLERS:
            return Template(_with_name(rest, template.edge), template.edge)
    return None


def _drop_other_sentence(template: Template) -> Template | None:
    """Return a template that is all there is in its descriptions without the sentence before or after it, if any.

    Sellers' own words are the same everywhere in a catalogue of very similar things.
    """
    elements = template.elements
    slots = [number for number, element in enumerate(elements) if element in SLOTS and element != CODE]
    for number in range(slots[-1] + 1, len(elements)):
        if elements[number][0].isupper() and is_evident(elements[:number]):
            return Template(elements[:number], "beginning")
    for number in range(slots[0] - 1, 0, -1):
        if elements[number][0].isupper() and is_evident(elements[number:]):
            return Template(elements[number:], "end")
    return None


def _with_name(elements: tuple[str, ...], edge: Edge) -> tuple[str, ...]:
    """Return the elements with a slot at the inner end for a name, which is one word there."""
    if edge == "end":
        return (NAME, *elements[1:]) if elements[0] == ANY else elements
    return (*elements[:-1], NAME) if elements[-1] == ANY else elements


def _find_generated(template: Template, listings: Sequence[Listing]) -> dict[int, Match]:
    """Return the matches, by position, if the listings' own fields explain practically all of them; otherwise none.

    A slot with the same value everywhere explains nothing: it is part of a sentence that sellers share.
    """
    found = ((index, template.find(listing)) for index, listing in enumerate(listings))
    matches = {index: match for index, match in found if match is not None}
    if len(matches) < max(MIN_PRODUCTS, _MIN_EDGE_SHARE * _count_occurrences(template, listings)):
        return {}
    columns = list(zip(*(match.values for match in matches.values()), strict=True))
    telling = [number for number, column in enumerate(columns) if _is_telling(template.slots[number], column)]
    labels = [
        match.values[number] for match in matches.values() for number in telling if template.slots[number] == CATEGORY
    ]
    has_long_labels = sum(len(label.split()) > 1 for label in labels) * 2 > len(labels)
    generated = {}
    for index, match in matches.items():
        slots = {
            template.slots[number]
            for number in telling
            if fits(template.slots[number], match.values[number], listings[index])
        }
        if count_points(slots, has_long_labels=has_long_labels) >= MIN_POINTS:
            generated[index] = match
    return generated if len(generated) >= max(MIN_PRODUCTS, MIN_SHARE * len(matches)) else {}


def _count_occurrences(template: Template, listings: Sequence[Listing]) -> int:
    """Return how many descriptions have the template's words anywhere, or go on in another way behind the first ones.

    Sellers' words are at other places too, and their sentences go on in many ways.
    """
    n_occurrences = sum(template.occurs_in(listing) for listing in listings)
    outer_part = template.outer_part()
    if not any(map(is_word, outer_part.elements)) or is_evident(outer_part.elements):
        return n_occurrences
    n_beginnings = 0
    for listing in listings:
        match = outer_part.find(listing)
        n_beginnings += match is not None and all(
            fits(slot, value, listing) for slot, value in zip(outer_part.slots, match.values, strict=True)
        )
    return max(n_occurrences, n_beginnings)


def _is_telling(slot: str, values: Sequence[str]) -> bool:
    """True if the values vary; codes differ nearly everywhere."""
    n_values = len(set(values))
    return n_values >= MIN_SHARE * len(values) if slot == CODE else n_values > 1


def _find_inside(template: Template, listings: Sequence[Listing], matches: dict[int, Match]) -> dict[int, Match]:
    """Return the matches in other descriptions that go on behind the sentence; it has to name the category."""
    inside = {}
    for index, listing in enumerate(listings):
        match = template.find_inside(listing) if index not in matches and CATEGORY in template.slots else None
        if match is None:
            continue
        values = zip(template.slots, match.values, strict=True)
        if all(fits(slot, value, listing) for slot, value in values if slot == CATEGORY):
            inside[index] = match
    return inside


def _cut(listing: Listing, match: Match) -> Listing:
    before = listing.description[: match.start].rstrip()
    behind = listing.description[match.end :].lstrip()
    return listing._replace(description=f"{before} {behind}".strip())


def _longest_first(labels: Sequence[str]) -> tuple[str, ...]:
    names = {label.strip() for label in labels}
    return tuple(sorted(names - {""}, key=lambda name: (-len(name), name)))
