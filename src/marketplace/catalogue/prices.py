"""Prices as sellers write them: the amount and the currency, or nothing if either is in doubt."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

CURRENCY_SIGNS = {
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
DEFAULT_SIGN = "£"  # if a dump names no currency
MAX_WHOLE_DIGITS = 36  # before the point; training_data has room for no more

_SPELLINGS = {code.casefold(): sign for code, sign in CURRENCY_SIGNS.items()}
_SPELLINGS |= {sign.casefold(): sign for sign in CURRENCY_SIGNS.values()}
_SPELLINGS |= {"us$": "$", "au$": "A$", "ca$": "C$", "euro": "€", "euros": "€", "eur.": "€", "kč": "Kč", "fr.": "CHF"}
_SPELLINGS |= {"pounds": "£", "gbp£": "£", "kr": "kr", "kr.": "kr", "rs": "₹", "rs.": "₹"}
_POINT_FORMATS = (  # 1,234.50, in any currency
    re.compile(r"\d+(?:\.\d{1,2})?"),
    re.compile(r"\d{1,3}(?:[,' ]\d{3})+(?:\.\d{1,2})?"),
)
_COMMA_FORMATS = (  # 1.234,50, but not in pounds or dollars: "£12,34" is a slip
    re.compile(r"\d+,\d{2}"),
    re.compile(r"\d{1,3}(?:[.' ]\d{3})+,\d{2}"),
    re.compile(r"\d{1,3}(?:\.\d{3}){2,}"),
)
_LAKH_FORMAT = re.compile(r"\d{1,2}(?:,\d{2})*,\d{3}(?:\.\d{1,2})?")
_NEGOTIABLE = re.compile(r"\s*\(?\b(?:o\.?n\.?o\.?|o\.?b\.?o\.?)\)?$", re.IGNORECASE)
_PARTS = re.compile(
    r"(?P<before>[^\d\s.,'-][^\d\s]*)?\s*(?P<amount>\d[\d.,' ]*?)(?:[.,]?-)?\s*(?P<after>[^\d\s.,'][^\d\s]*)?"
)


class Price(NamedTuple):
    """A price."""

    amount: Decimal  # to the hundredth
    sign: str  # of the currency; empty if the price names none


def parse_price(text: str) -> Price | None:
    """Return the price in a text, or None if the text is not one price.

    >>> parse_price("£1,234.50,")
    Price(amount=Decimal('1234.50'), sign='£')
    >>> parse_price("22,90 €")
    Price(amount=Decimal('22.90'), sign='€')
    >>> parse_price("100 USD ono")
    Price(amount=Decimal('100.00'), sign='$')
    >>> parse_price("5 or 6")
    """
    text = " ".join(unicodedata.normalize("NFKC", text).replace("’", "'").split()).strip(" ,")
    match = _PARTS.fullmatch(_NEGOTIABLE.sub("", text))
    if match is None:
        return None
    signs = {_parse_sign(match[side]) for side in ("before", "after") if match[side]} or {""}
    if len(signs) > 1:
        return None
    sign = signs.pop()
    if sign is None:
        return None
    amount = _parse_amount(match["amount"].strip(), sign)
    return None if amount is None else Price(amount=amount, sign=sign)


def fill_in_signs(signs: Sequence[str]) -> list[str]:
    """Return the currency of every price: a price without a sign has the dump's commonest currency."""
    counts = Counter(sign for sign in signs if sign)
    commonest_sign = counts.most_common(1)[0][0] if counts else DEFAULT_SIGN
    return [sign or commonest_sign for sign in signs]


def _parse_amount(text: str, sign: str) -> Decimal | None:
    """Return the amount, or None if it can be read in two ways: 1.234 may be more than a thousand, or less than two."""
    if any(pattern.fullmatch(text) for pattern in _POINT_FORMATS) or (sign == "₹" and _LAKH_FORMAT.fullmatch(text)):
        whole, _, hundredths = text.partition(".")
    elif not sign.endswith(("£", "$")) and any(pattern.fullmatch(text) for pattern in _COMMA_FORMATS):
        whole, _, hundredths = text.partition(",")
    else:
        return None
    digits = "".join(letter for letter in whole if letter.isdigit())
    return Decimal(f"{digits}.{hundredths:0<2}") if len(digits) <= MAX_WHOLE_DIGITS else None


def _parse_sign(text: str) -> str | None:
    """Return the sign of a currency, or None for a text that is no currency."""
    sign = _SPELLINGS.get(text.casefold())
    if sign is None and len(text) == 1 and unicodedata.category(text) == "Sc":
        return text
    return sign
