"""The dump's two tables, as they arrive: every field as text."""

import io
import warnings

import pandas as pd

from marketplace.common.errors import MarketplaceError

COLUMNS = {
    "products.csv": ("id", "product_name", "category", "product_description", "price", "location"),
    "images.csv": ("id", "product_id"),
}


def read_table(content: bytes, name: str) -> pd.DataFrame:
    """Read a dump's table, every field as text. Only `\\n` ends a row: descriptions contain bare `\\r`.

    Raises MarketplaceError if it is not UTF-8, is not CSV, lacks a column or has no rows.
    """
    try:
        text = content.decode("utf-8-sig")
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header would be cut
            table = pd.read_csv(
                io.StringIO(text), lineterminator="\n", dtype=str, keep_default_na=False, index_col=False
            )
    except UnicodeDecodeError as error:
        raise MarketplaceError(f"{name} is not UTF-8: byte {error.start} is {content[error.start]:#04x}.") from None
    except pd.errors.EmptyDataError:
        raise MarketplaceError(f"{name} is empty: it does not even have a header.") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise MarketplaceError(f"{name} is not well-formed CSV: {str(error).strip()}.") from None
    table.columns = ["" if column == "Unnamed: 0" else column.strip() for column in table.columns]
    missing = [column for column in COLUMNS[name] if column not in table.columns]
    if missing:
        raise MarketplaceError(f"{name} lacks the column {missing[0]!r}; it has: {', '.join(table.columns)}.")
    if table.empty:
        raise MarketplaceError(f"{name} has a header but no rows.")
    return table.fillna("")  # a row that ends early
