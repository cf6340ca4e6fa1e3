"""Search for templates: words that many descriptions share in the same order, around slots with values that vary."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

Edge = Literal["beginning", "end"]  # of a description, where its template is

# Slots, as characters that stand for them in templates and masked texts (of Unicode's private use area).
CATEGORY = "\ue000"  # one or more levels of the listing's own category
PLACE = "\ue001"  # the listing's own location, or a part of it
DATE = "\ue002"  # day, month and year
CODE = "\ue003"  # a word with digits
ANY = "\ue004"  # anything else
NAME = "\ue005"  # capitalised words, or a word with digits, at either end of a template: "Jo posted this"
SLOTS = {CATEGORY, PLACE, DATE, CODE, ANY, NAME}
_FIELD_SLOTS = {CATEGORY, PLACE, DATE}
_TEXT_EDGE = "\ue006"
SENTENCE_ENDS = {".", "!", "?", "…", "。"}
_PRIVATE_USE = re.compile("[\ue000-\ue006]")

# What a slot proves. Sellers name their town, but not the exact name of their category, and hardly a full date.
POINTS = {CATEGORY: 2, DATE: 2, PLACE: 1, CODE: 1, ANY: 1, NAME: 1}
MIN_POINTS = 3
MIN_FIXED_WORDS = 2
MIN_PRODUCTS = 10
MIN_SHARE = 0.9

_MONTH = r"[^\W\d_]{3,}\.?"
_DAY = r"(?<!\d)\d{1,2}(?:st|nd|rd|th|er|º)?\.?"
_YEAR = r"(?:19|20)\d\d(?!\d)"
DATE_PATTERN = (
    rf"(?:{_DAY} (?:de |of )?{_MONTH},? (?:de )?{_YEAR}|{_MONTH} {_DAY},? {_YEAR}"
    r"|(?<!\d)(?:\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.] ?\d\d?[-/.] ?(?:\d{4}|\d\d))(?!\d)"
    r"|\d{4}年\d\d?月\d\d?日)(?:,?[ T]\d\d?:\d\d(?::\d\d)?)?"
)
CODE_PATTERN = r"\w*\d\w*(?:[-/:.]\w*\d\w*)*"
LABEL_SEPARATOR = r"\s*[^\w\s.!?]{1,2}\s*"  # between two levels of a category, or two parts of a place
_DATE = re.compile(DATE_PATTERN)
_CODE = re.compile(CODE_PATTERN)
_DIGIT = re.compile(r"\d")
_TOKEN = re.compile(r"[\ue000-\ue006]|\w+(?:['’-]\w+)*|[^\w\s]")

_EDGE_CHARACTERS = 300  # at either end of a description, in which a template is looked for
_MAX_DISTANCE = 8  # words between the end of a description and the first slot for a field
_REACH = 5  # words from one fixed word to the next, if there is a name in between
_MAX_ELEMENTS = 40
_MAX_ROUNDS = 4  # templates in a group of descriptions
_MAX_GROUP_SIZE = 20_000  # descriptions in which a template is looked for; it is left out of all


class Listing(NamedTuple):
    """The parts of a listing that a template repeats."""

    description: str
    labels: tuple[str, ...]  # the levels of its category, longest first
    places: tuple[str, ...]  # its location and the parts, longest first


class _Walker(NamedTuple):
    """A description's tokens from its edge inwards, and the position up to which they fit a template."""

    tokens: list[str]
    position: int


class _Step(NamedTuple):
    """The next fixed token of a template."""

    token: str
    has_gap: bool  # whether there is a slot before it
    walkers: list[_Walker]  # behind the token


def propose_templates(listings: Iterable[Listing], edge: Edge) -> Iterator[tuple[str, ...]]:
    """Yield sequences of words and slots, in reading order, with which descriptions may begin or end.

    Descriptions are compared with others whose first slot for a field is at the same distance from the edge. From there
    on, they are followed word by word for as long as they agree.
    """
    groups: dict[tuple[int, str], list[_Walker]] = defaultdict(list)
    for listing in listings:
        tokens = _edge_tokens(listing, edge)
        distance = next((index for index, token in enumerate(tokens[:_MAX_DISTANCE]) if token in _FIELD_SLOTS), None)
        if distance is None:
            continue
        group = groups[distance, tokens[distance]]
        if len(group) < _MAX_GROUP_SIZE:
            group.append(_Walker(tokens, 0))
    for key in sorted(groups):
        walkers = groups[key]
        for _ in range(_MAX_ROUNDS):
            if len(walkers) < MIN_PRODUCTS:
                break
            elements, followers = _follow(walkers, edge)
            if elements[:1] == [ANY]:
                elements[0] = NAME  # at the edge of a text, anything else may be the whole description
            if is_evident(elements):
                yield tuple(elements if edge == "beginning" else reversed(elements))
            followed = {id(walker.tokens) for walker in followers}
            walkers = [walker for walker in walkers if id(walker.tokens) not in followed]


def is_evident(elements: Sequence[str]) -> bool:
    """True if words and slots may be more than sellers write in the same form."""
    n_words = len(set(filter(is_word, elements)))
    return n_words >= MIN_FIXED_WORDS and count_points(set(elements), has_long_labels=True) >= MIN_POINTS


def count_points(elements: set[str], *, has_long_labels: bool) -> int:
    """Return how much the slots prove together. Categories of several words are proof enough."""
    slots = elements & SLOTS
    if NAME in slots and ANY in slots:
        slots -= {NAME}  # two unknown values prove no more than one
    return sum(POINTS[slot] for slot in slots) + (CATEGORY in slots and has_long_labels)


def is_word(element: str) -> bool:
    """True for a fixed word; False for punctuation and slots."""
    return element[0].isalpha()


@lru_cache(maxsize=65_536)
def label_pattern(label: str) -> re.Pattern[str]:
    """Return the pattern of a category's or a place's name as whole words."""
    return re.compile(rf"(?<!\w){re.escape(label)}(?!\w)")


def _edge_tokens(listing: Listing, edge: Edge) -> list[str]:
    """Return the words, punctuation and slots of a description from an edge inwards; none without telling slots."""
    text = listing.description
    is_whole = len(text) <= _EDGE_CHARACTERS
    text = text[:_EDGE_CHARACTERS] if edge == "beginning" else text[-_EDGE_CHARACTERS:]
    text = _PRIVATE_USE.sub("?", text)
    for slot, labels in ((CATEGORY, listing.labels), (PLACE, listing.places)):
        for label in labels:
            if label in text:
                text = label_pattern(label).sub(slot, text)
        if slot in text:
            text = re.sub(f"{slot}(?:{LABEL_SEPARATOR}{slot})+", slot, text)
    if _DIGIT.search(text):
        text = _CODE.sub(CODE, _DATE.sub(DATE, text))
    if CATEGORY not in text and DATE not in text:
        return []
    tokens = _TOKEN.findall(text)
    if edge == "end":
        tokens.reverse()
    if is_whole:
        tokens.append(_TEXT_EDGE)
    return tokens


def _follow(walkers: list[_Walker], edge: Edge) -> tuple[list[str], list[_Walker]]:
    """Return the template of most of the descriptions, from the edge inwards, and the descriptions that have it.

    Until the evidence suffices, descriptions that differ are dropped. From then on, the template ends where the
    descriptions part, or with the sentence. It goes on with a sentence that contains a date or a category.
    """
    elements: list[str] = []
    sentence_length = 0  # elements up to the last sentence that is known to belong to the template
    while len(elements) < _MAX_ELEMENTS:
        is_complete = is_evident(elements)
        n_required = max(MIN_PRODUCTS, MIN_SHARE * len(walkers) if is_complete else 0)
        if is_complete and sum(_is_at_sentence_end(walker) for walker in walkers) >= n_required:
            sentence_length = len(elements)
            if sum(map(_has_telling_sentence_ahead, walkers)) < n_required:
                if edge == "beginning":
                    elements.append(".")
                return elements, walkers
        step = _next_step(walkers, elements[-1:], is_complete)
        if step is None or len(step.walkers) < n_required:
            break
        walkers = step.walkers
        if step.has_gap:
            elements.append(ANY)
        elements.append(step.token)
    if sentence_length and not {DATE, CATEGORY} & set(elements[sentence_length:]):
        return elements[:sentence_length], walkers
    while elements and (elements[-1] == ANY or (elements[-1] in SENTENCE_ENDS and edge == "end")):
        elements.pop()
    if elements and is_word(elements[-1]) and elements[-1].islower() and _are_names_ahead(walkers):
        elements.append(NAME)
    return elements, walkers


def _next_step(walkers: list[_Walker], behind: list[str], is_complete: bool) -> _Step | None:
    """Return the step to the token that most descriptions have next, or within reach if the next token varies.

    A name may end a sentence after a word or a colon ("by Jo."), but nothing else varies up to the end of a sentence:
    sellers write those.
    """
    may_end_in_name = not is_complete and any(token == ":" or token.islower() for token in behind)
    windows = [_window(walker, may_end_in_name) for walker in walkers]
    n_next = Counter(window[0] for window in windows if window)
    n_in_reach: Counter[str] = Counter()
    distances: Counter[str] = Counter()
    for window in windows:
        for token in set(window) - {_TEXT_EDGE}:
            n_in_reach[token] += 1
            distances[token] += window.index(token)
    del n_next[_TEXT_EDGE]
    if not n_next:
        return None
    token = max(n_next, key=lambda token: (n_next[token], token))
    in_reach = max(n_in_reach, key=lambda token: (n_in_reach[token], -distances[token] / n_in_reach[token], token))
    may_be_name = token[0].isupper() and bool(behind)  # a common one is no fixed word
    n_needed = n_in_reach[in_reach] * (1 if may_be_name else 0.8)
    if n_next[token] < n_needed:
        token = in_reach
    gaps = {index: window.index(token) for index, window in enumerate(windows) if token in window}
    has_gap = sum(gap > 0 for gap in gaps.values()) * 2 > len(gaps)
    advanced = [
        _Walker(walkers[index].tokens, walkers[index].position + gap + 1)
        for index, gap in gaps.items()
        if (gap > 0) == has_gap
    ]
    return _Step(token=token, has_gap=has_gap, walkers=advanced)


def _window(walker: _Walker, may_end_in_name: bool) -> list[str]:
    """Return the tokens ahead, up to the first slot for a field or the end of the sentence."""
    window: list[str] = []
    for token in walker.tokens[walker.position : walker.position + _REACH]:
        if token in SENTENCE_ENDS:
            if not window or (may_end_in_name and all(word[0].isupper() for word in window)):
                window.append(token)
            break
        window.append(token)
        if token in _FIELD_SLOTS:
            break
    return window


def _is_at_sentence_end(walker: _Walker) -> bool:
    ahead = walker.tokens[walker.position : walker.position + 1]
    return not ahead or ahead[0] in SENTENCE_ENDS or ahead[0] == _TEXT_EDGE


def _has_telling_sentence_ahead(walker: _Walker) -> bool:
    """True if a date or a category is near, behind the end of this sentence."""
    start = walker.position + 1
    return any(token in (DATE, CATEGORY) for token in walker.tokens[start : start + _MAX_DISTANCE])


def _are_names_ahead(walkers: list[_Walker]) -> bool:
    """True if capitalised words follow nearly everywhere, and are often all of their sentence."""
    n_capitalised = n_at_end = 0
    values = set()
    for tokens, position in walkers:
        if position < len(tokens) and _is_name_like(tokens[position]):
            n_capitalised += 1
            values.add(tokens[position])
            while position < len(tokens) and _is_name_like(tokens[position]):
                position += 1
            n_at_end += _is_at_sentence_end(_Walker(tokens, position))
    return n_capitalised >= MIN_SHARE * len(walkers) and n_at_end * 4 > len(walkers) and len(values) > 1


def _is_name_like(token: str) -> bool:
    return token[0].isupper() or token == CODE
