"""Places as sellers write them, each brought to one spelling."""

from collections.abc import Iterable

from marketplace.catalogue.categories import is_placeholder, merge_spellings
from marketplace.catalogue.seller_texts import repair_text


def parse_places(texts: Iterable[str]) -> list[str]:
    """Return every product's place, each of its parts in the commonest spelling; empty for a placeholder such as N/A.

    >>> parse_places(["Leeds, Kent", "LEEDS ,kent", "Leeds", "N/A"])
    ['Leeds, Kent', 'Leeds, Kent', 'Leeds', '']
    """
    texts = list(texts)
    parts_of = {text: _parse_place(text) for text in set(texts)}
    return [", ".join(parts) for parts in merge_spellings([parts_of[text] for text in texts])]


def _parse_place(text: str) -> tuple[str, ...]:
    parts = (part.strip() for part in repair_text(text).split(","))
    return tuple(part for part in parts if not is_placeholder(part))
