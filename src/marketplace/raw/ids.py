"""Ids that two programs write in two ways: in other cases or braces, without leading zeros, or as numbers."""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal

import pandas as pd

from marketplace.common.errors import MarketplaceError
from marketplace.raw.shards import image_id_of
from marketplace.raw.tables import tidy_id

log = logging.getLogger(__name__)

SPREADSHEET_DIGITS = 6  # that a spreadsheet shows of a long number: 2.02401E+13
_WRAPPING = "=\"'{}[]()<> "  # {…}, and ="…" or '… by which spreadsheets keep a text
_UUID = re.compile(r"(?:urn:uuid:)?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})")
_NUMBER = re.compile(r"0*(\d+|\d{1,3}(?:,\d{3})+)(?:\.0+)?")
_ROUNDED = re.compile(r"(\d)(?:[.,](\d+))?e\+(\d+)")


def match_ids(ids: Sequence[str], known: Sequence[str], where: str, where_known: str) -> list[str]:
    """Return each id as the table `where_known` writes it, if it can mean only one of the ids `known` there.

    UUIDs are equal in any case and with or without braces and hyphens. Other ids are only joined if neither table has
    a second spelling: they may be two ids. All other ids stay as they are. A line says how many are joined.
    """
    unknown = set(ids) - set(known)
    spelling_of = _match_spellings(set(ids), set(known)) if unknown else {}
    if unknown - spelling_of.keys():
        spelling_of |= _match_rounded(ids, known)
    joined = {own: spelling_of[own] for own in sorted(unknown) if own in spelling_of}
    if joined:
        own, other = next(iter(joined.items()))
        log.warning(
            "%d ids of %s are written in another way in %s, such as %r for %r: they are joined",
            len(joined),
            where,
            where_known,
            other,
            own,
        )
    return [joined.get(own, own) for own in ids]


def match_product_ids(images: pd.DataFrame, products: pd.DataFrame) -> list[str]:
    """Return the product id of each row of images.csv as products.csv writes it; see `match_ids`.

    Raises MarketplaceError if no row has a product, or a spreadsheet has made several ids one.
    """
    known = products["id"].tolist()
    ids = match_ids(images["product_id"].tolist(), known, "images.csv", "products.csv")
    repeats = products[products["id"].map(is_rounded)].drop_duplicates()["id"]
    repeated = repeats[repeats.duplicated()].tolist()
    if repeated or not set(ids) & set(known):
        example = repeated[0] if repeated else known[0]
        remedy = "the same ids have to be in both tables."
        if any(map(is_rounded, {*known, *ids})):
            remedy = "a spreadsheet has rounded them. Format the columns of ids as text, and export the tables again."
        raise MarketplaceError(
            "the rows of images.csv cannot be joined with products.csv: product ids are like "
            f"{images['product_id'].iloc[0]!r} in images.csv and like {example!r} in products.csv; {remedy}"
        )
    return ids


def ids_of_files(names: Iterable[str], known: Sequence[str]) -> list[str]:
    """Return the image id of each file: its path, its name, or either without the extension, as `known` has it."""
    known_set = set(known)
    ids = [next((own for own in _possible_ids(name) if own in known_set), image_id_of(name)) for name in names]
    return match_ids(ids, known, "the files", "images.csv")


def is_rounded(text: str) -> bool:
    """Return whether a spreadsheet has rounded an id, as in 2.02401E+13."""
    return _ROUNDED.fullmatch(_unwrap(text)) is not None


def _possible_ids(name: str) -> tuple[str, str, str, str]:
    folder, slash, own_name = name.rpartition("/")
    return tidy_id(name), tidy_id(f"{folder}{slash}{image_id_of(name)}"), tidy_id(own_name), image_id_of(name)


def _match_spellings(ids: Collection[str], known: Collection[str]) -> dict[str, str]:
    """Return the known id for each id that is another spelling of it."""
    known_by_key = _by_key(known)
    spelling_of: dict[str, str] = {}
    for key, spellings in _by_key(ids).items():
        candidates = known_by_key.get(key, [])
        if key and len(candidates) == 1 and (len(spellings) == 1 or _UUID.fullmatch(key)):
            spelling_of |= dict.fromkeys(spellings, candidates[0])
    return spelling_of


def _match_rounded(ids: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """Return the known id for each id of which one is the other, rounded, and no other id of either table is."""
    rounded = {own for own in {*ids, *known} if is_rounded(own)}
    if not rounded:
        return {}
    digits = {_count_digits(own) for own in rounded}
    n_rows = Counter(known)
    spelling_of: dict[str, str] = {}
    for own_by_value, known_by_value in (
        (_by_value(set(ids) & rounded, digits), _by_value(set(known) - rounded, digits)),
        (_by_value(set(ids) - rounded, digits), _by_value(set(known) & rounded, digits)),
    ):
        for value, own in own_by_value.items():
            candidates = known_by_value.get(value, [])
            if len(own) == len(candidates) == 1 and n_rows[candidates[0]] == 1:
                spelling_of[own[0]] = candidates[0]
    return spelling_of


def _by_key(ids: Iterable[str]) -> dict[str, list[str]]:
    ids_of = defaultdict(list)
    for own in ids:
        ids_of[_key(own)].append(own)
    return ids_of


def _by_value(ids: Iterable[str], digits: Iterable[int]) -> dict[str, list[str]]:
    """Return the ids that are numbers by their values, rounded to each of several numbers of digits."""
    ids_of = defaultdict(list)
    for own in ids:
        key = _key(own).replace(",", ".")
        if is_rounded(own):
            ids_of[f"{Decimal(key):.{_count_digits(own) - 1}E}"].append(own)
        elif key.isascii() and key.isdigit():
            for count in digits:
                ids_of[f"{Decimal(key):.{count - 1}E}"].append(own)
    return ids_of


def _count_digits(rounded: str) -> int:
    match = _ROUNDED.fullmatch(_unwrap(rounded))
    assert match is not None
    return max(SPREADSHEET_DIGITS, 1 + len(match[2] or ""))


def _key(text: str) -> str:
    """Return a text that all spellings of an id share."""
    plain = _unwrap(text)
    uuid = _UUID.fullmatch(plain)
    if uuid is not None:
        return "-".join(uuid.groups())
    number = _NUMBER.fullmatch(plain)
    return number[1].replace(",", "") if number is not None else plain


def _unwrap(text: str) -> str:
    return text.casefold().strip(_WRAPPING)
