"""The record of rows and files that are left out, and a sentence for each reason."""

from collections import Counter
from typing import NamedTuple

import pandas as pd

EXPLANATIONS = {
    "without_id": "the row has no id, or one with control characters",
    "malformed_row": "the row has more or fewer fields than the header",
    "repeated_row": "the row repeats an earlier one",
    "repeated_id_with_other_content": "an earlier row has the same id and other content",
    "photo_of_another_product": "an earlier row gives the photo to another product",
    "dropped": "data/corrections.csv drops the product",
    "without_category": "the product has no category",
    "rare_category": "the product's root category has too few products for training, validation and test",
    "without_image": "the product has no photo that was kept",
    "without_own_photo": "earlier rows of images.csv give all photos of the product to others",
    "placeholder": 'the photo is on many products with nothing in common, so it shows none of them ("no photo")',
    "unknown_product": "the product is not in products.csv",
    "product_not_kept": "the product was left out",
    "without_file": "no file has this id as its name",
    "same_id": "another file has the same id as its name",
    "without_row": "no row of images.csv has this id",
    "row_not_kept": "the image's row was left out",
    "empty": "the file has no bytes",
    "not_an_image": "the file is not an image",
    "too_large": "the image has too many pixels to be decoded in bounded memory",
    "too_many_scans": "the JPEG has so many scans that decoding it would take minutes",
    "truncated": "the file ends before the image does",
    "damaged": "the image cannot be decoded",
}


class Reject(NamedTuple):
    """A row or file that is left out."""

    table: str  # products, images or files
    id: str
    reason: str


class Rejects:
    """All rows and files that are left out."""

    def __init__(self) -> None:
        self._rejects: list[Reject] = []

    def add(self, table: str, ids: "pd.Series[str]", reason: str) -> None:
        """Record that the rows or files `ids` of `table` are left out for `reason`, one of EXPLANATIONS."""
        assert reason.removeprefix("file_") in EXPLANATIONS, f"{reason} has no explanation"
        self._rejects += [Reject(table=table, id=row_id, reason=reason) for row_id in ids]

    def table(self) -> pd.DataFrame:
        """Return all rejects as a table with the columns of Reject, sorted."""
        frame = pd.DataFrame(self._rejects, columns=Reject._fields, dtype=str)
        return frame.sort_values(["table", "reason", "id"], ignore_index=True)

    def sum_up(self, table: str) -> str:
        """Say how many rows of a table are left out for each reason, the commonest first."""
        counts = Counter(reject.reason for reject in self._rejects if reject.table == table)
        return "; ".join(f"{n:,} are left out ({explanation(reason)})" for reason, n in counts.most_common())


def explanation(reason: str) -> str:
    """Say why a row or file was left out.

    >>> explanation("file_truncated")
    'the file ends before the image does'
    """
    return EXPLANATIONS[reason.removeprefix("file_")]
