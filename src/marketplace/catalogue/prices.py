"""Prices as sellers write them: the amount and the currency, or nothing where either is in doubt."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

SIGNS = {
    "AUD": "A$",
    "CAD": "C$",
    "CHF": "CHF",
    "CNY": "CN¥",
    "CZK": "Kč",
    "DKK": "DKK",
    "EUR": "€",
    "GBP": "£",
    "HUF": "Ft",
    "INR": "₹",
    "JPY": "¥",
    "NOK": "NOK",
    "NZD": "NZ$",
    "PLN": "zł",
    "SEK": "SEK",
    "TRY": "₺",
    "UAH": "₴",
    "USD": "$",
}
DEFAULT = "£"  # of a dump that names no currency
MOST_DIGITS = 36  # before the point, of a price that the table can hold

_SPELLINGS = {**{code.casefold(): sign for code, sign in SIGNS.items()}, **{s.casefold(): s for s in SIGNS.values()}}
_SPELLINGS |= {"us$": "$", "au$": "A$", "ca$": "C$", "euro": "€", "euros": "€", "eur.": "€", "kč": "Kč", "fr.": "CHF"}
_SPELLINGS |= {"pounds": "£", "gbp£": "£", "kr": "kr", "kr.": "kr", "rs": "₹", "rs.": "₹"}
_POINT = (  # 1,234.50, as everybody reads it
    re.compile(r"\d+(?:\.\d{1,2})?"),
    re.compile(r"\d{1,3}(?:[,' ]\d{3})+(?:\.\d{1,2})?"),
)
_COMMA = (  # 1.234,50: with other signs, and without any; "£12,34" is a slip
    re.compile(r"\d+,\d{2}"),
    re.compile(r"\d{1,3}(?:[.' ]\d{3})+,\d{2}"),
    re.compile(r"\d{1,3}(?:\.\d{3}){2,}"),
)
_LAKH = re.compile(r"\d{1,2}(?:,\d{2})*,\d{3}(?:\.\d{1,2})?")
_NEGOTIABLE = re.compile(r"\s*\(?\b(?:o\.?n\.?o\.?|o\.?b\.?o\.?)\)?$", re.IGNORECASE)
_PARTS = re.compile(
    r"(?P<before>[^\d\s.,'-][^\d\s]*)?\s*(?P<amount>\d[\d.,' ]*?)(?:[.,]?-)?\s*(?P<after>[^\d\s.,'][^\d\s]*)?"
)


def parse_price(text: str) -> tuple[Decimal, str] | None:
    """The amount, to the hundredth, and the currency's sign (empty if there is none); None if it is not one price.

    >>> parse_price("£1,234.50,"), parse_price("22,90 €"), parse_price("100 USD ono"), parse_price("5 or 6")
    ((Decimal('1234.50'), '£'), (Decimal('22.90'), '€'), (Decimal('100.00'), '$'), None)
    """
    text = " ".join(unicodedata.normalize("NFKC", text).replace("’", "'").split()).strip(" ,")
    match = _PARTS.fullmatch(_NEGOTIABLE.sub("", text))
    if match is None:
        return None
    signs = {_sign(match[side]) for side in ("before", "after") if match[side]}
    if None in signs or len(signs) > 1:
        return None
    sign = next((sign for sign in signs if sign), "")
    amount = _amount(match["amount"].strip(), sign)
    return None if amount is None else (amount, sign)


def currencies(signs: Sequence[str]) -> tuple[list[str], Counter[str]]:
    """The currency of every price, and how many have each; one without a sign has the dump's commonest."""
    named = Counter(sign for sign in signs if sign)
    usual = named.most_common(1)[0][0] if named else DEFAULT
    every = [sign or usual for sign in signs]
    return every, Counter(every)


def _amount(text: str, sign: str) -> Decimal | None:
    """The amount, if it has one reading: 1.234 alone may be more than a thousand or less than two."""
    if any(pattern.fullmatch(text) for pattern in _POINT) or (sign == "₹" and _LAKH.fullmatch(text)):
        whole, _, hundredths = text.partition(".")
    elif not sign.endswith(("£", "$")) and any(pattern.fullmatch(text) for pattern in _COMMA):
        whole, _, hundredths = text.partition(",")
    else:
        return None
    digits = "".join(letter for letter in whole if letter.isdigit())
    return Decimal(f"{digits}.{hundredths:0<2}") if len(digits) <= MOST_DIGITS else None


def _sign(text: str) -> str | None:
    known = _SPELLINGS.get(text.casefold())
    if known is None and len(text) == 1 and unicodedata.category(text) == "Sc":
        return text
    return known
