"""Corrections applied to the products: another category, or leaving a product out."""

import logging
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import pandas as pd

from marketplace.catalogue.categories import SEPARATOR, parse_category
from marketplace.catalogue.correction_file import CORRECTIONS, DROP, Correction
from marketplace.common.errors import MarketplaceError
from marketplace.raw.ids import match_ids
from marketplace.raw.rejects import Rejects
from marketplace.texts.comparison import comparable

log = logging.getLogger(__name__)

EXAMPLES = 3  # shown in a message

Levels = tuple[str, ...]  # of a category path


def correct_products(
    products: pd.DataFrame, corrections: Sequence[Correction], rejects: Rejects
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Correct category and category_path of products with the columns id, category and category_path; drop some.

    Returns the products that are left, and how many corrections changed a category, confirmed it, dropped a product, or
    name a product that is not there. Ids may be written as `match_ids` allows. Warns about unknown products. Raises
    MarketplaceError if no listing has a category.
    """
    if not corrections:
        return products, {}
    ids = products["id"].tolist()
    own_ids = match_ids([correction.product_id for correction in corrections], ids, CORRECTIONS, "products.csv")
    known = set(ids)
    unknown = [own_id for own_id in own_ids if own_id not in known]
    _warn_of_unknown_products(unknown)
    paths = _find_paths(corrections, products["category_path"])
    path_of = dict(zip(own_ids, paths, strict=True))  # of a product that is dropped: no levels
    dropped = products["id"].isin([own_id for own_id, path in path_of.items() if not path])
    rejects.add("products", products["id"][dropped], "dropped")
    kept = products[~dropped]
    corrected = _replace_categories(kept, path_of)
    changed = int((corrected["category_path"] != kept["category_path"]).sum())
    counts = {
        "changed": changed,
        "confirmed": len(path_of) - len(unknown) - int(dropped.sum()) - changed,
        "dropped": int(dropped.sum()),
        "unknown": len(unknown),
    }
    log.info("%s: %s", CORRECTIONS, ", ".join(f"{n} {name}" for name, n in counts.items()))
    return corrected, counts


def _replace_categories(products: pd.DataFrame, path_of: dict[str, Levels]) -> pd.DataFrame:
    paths = products["id"].map(path_of)
    has_path = paths.notna()
    roots = paths[has_path].map(lambda path: path[0])
    whole_paths = paths[has_path].map(SEPARATOR.join)
    return products.assign(
        category=products["category"].where(~has_path, roots),
        category_path=products["category_path"].where(~has_path, whole_paths),
    )


def _warn_of_unknown_products(unknown: list[str]) -> None:
    if unknown:
        log.warning(
            "products of %s that are not in the dump: %d, such as %s. Their listings may be gone",
            CORRECTIONS,
            len(unknown),
            ", ".join(map(repr, unknown[:EXAMPLES])),
        )


def _find_paths(corrections: Sequence[Correction], category_paths: Iterable[str]) -> list[Levels]:
    """Return the levels of each correction's category as listings write it; none for a product to be dropped."""
    known: dict[Levels, Levels] = {}
    for text in sorted(set(category_paths) - {""}):
        levels = tuple(text.split(SEPARATOR))
        for depth in range(1, len(levels) + 1):
            known.setdefault(_key(levels[:depth]), levels[:depth])
    paths = []
    for correction in corrections:
        path = () if correction.drops else known.get(_key(parse_category(correction.text)))
        if path is None:
            raise _describe_unknown_category(correction, known.values())
        paths.append(path)
    return paths


def _key(levels: Levels) -> Levels:
    return tuple(comparable(level).casefold() for level in levels)


def _describe_unknown_category(correction: Correction, paths: Iterable[Levels]) -> MarketplaceError:
    names = {}
    for path in paths:
        names[path[-1].casefold()] = SEPARATOR.join(path)  # people remember the last level
        names[SEPARATOR.join(path).casefold()] = SEPARATOR.join(path)
    near = dict.fromkeys(names[name] for name in get_close_matches(correction.text.casefold(), names, n=EXAMPLES))
    hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else "reports/data.html lists the categories."
    return MarketplaceError(
        f"{CORRECTIONS}, line {correction.line}: no listing has the category {correction.text!r} (to leave the product "
        f"out, write {DROP}). {hint}"
    )
