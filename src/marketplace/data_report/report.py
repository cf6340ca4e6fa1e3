"""The data report: a page with photos side by side, which collects corrections, and a CSV file with every finding."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from marketplace.catalogue.correction_file import COLUMNS, CORRECTIONS, DROP, Correction
from marketplace.common.damage import read_parquet
from marketplace.compute.arrays import Images
from marketplace.data_report.findings import find_product_pairs, list_findings
from marketplace.photos.codec import UnreadableImageError, decode, thumbnail
from marketplace.raw.csv_files import read_csv, write_csv
from marketplace.raw.rejects import explanation
from marketplace.raw.shards import image_id_of, read_shard, shard_of, shard_paths
from marketplace.reports.pages import CARD_PIXELS, data_url, write_page

log = logging.getLogger(__name__)
TEMPLATE = Path(__file__).parent / "templates" / "data.html"
MAX_CARDS = 48  # with photos, per kind of finding
MAX_EXAMPLES = 4  # photos and ids per reason for leaving something out


@dataclass(frozen=True)
class CleanTables:
    """The tables that `clean` wrote."""

    training_data: pd.DataFrame
    near_duplicates: pd.DataFrame  # image_id, other_image_id, distance
    rejects: pd.DataFrame  # table, id, reason

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the tables from a folder."""
        return cls(
            training_data=read_parquet(folder / "training_data.parquet"),
            near_duplicates=read_csv(folder / "near_duplicates.csv", texts=("image_id", "other_image_id")),
            rejects=read_csv(folder / "rejects.csv", texts=("id",)),
        )


@dataclass(frozen=True)
class Corrections:
    """What people corrected so far."""

    lines: Sequence[Correction]
    applied: Mapping[str, int]  # by `clean`: changed, confirmed, dropped and unknown; empty without any

    def leave_out(self, doubtful: pd.DataFrame) -> pd.DataFrame:
        """Return the doubtful labels that nobody has decided on."""
        decided = [correction.product_id for correction in self.lines]
        return doubtful[~doubtful["product_id"].isin(decided)]


@dataclass(frozen=True)
class FindingCard:
    """A product of a finding, as the page shows it."""

    product_id: str
    photo: str  # a data: URL; empty for a line without a photo
    name: str
    category: str  # the whole path
    title: str
    details: str = ""
    suggested: str = ""  # a category; empty: none


@dataclass(frozen=True)
class RejectReason:
    """A reason for leaving rows and files out, with examples."""

    why: str
    counts: str  # "4 products, 8 files"
    ids: list[str]
    photos: list[str]  # data: URLs


def write_data_report(
    page: Path,
    csv: Path,
    tables: CleanTables,
    doubtful: pd.DataFrame,
    corrections: Corrections,
    images: Images,
    raw: Path,
) -> None:
    """Write the page and the CSV file.

    `doubtful` is the result of `find_doubtful_labels`, of which those with a correction are left out. `images`
    `(N, S, S, 3) uint8` are in the order of the training data, and `raw` is the folder of tar shards.
    """
    table = tables.training_data
    doubtful = corrections.leave_out(doubtful)
    findings = list_findings(table, doubtful, tables.near_duplicates, tables.rejects)
    write_csv(csv, findings)
    pairs = find_product_pairs(table, tables.near_duplicates)
    cards = CardMaker(table, images)
    write_page(
        page,
        TEMPLATE,
        products=table["product_id"].nunique(),
        photos=len(table),
        n_doubtful=len(doubtful),
        n_pairs=len(pairs),
        n_rejects=len(tables.rejects),
        csv=csv.name,
        corrections_csv=CORRECTIONS,
        correction_columns=COLUMNS,
        drop=DROP,
        present=[(correction.product_id, correction.text) for correction in corrections.lines],
        applied=corrections.applied,
        paths=sorted({*table["category"], *table["category_path"]}),
        categories=count_by_category(table, doubtful),
        doubtful=[cards.for_doubtful_label(row) for _, row in doubtful.head(MAX_CARDS).iterrows()],
        further=[cards.for_doubtful_label(row, photo=False) for _, row in doubtful.iloc[MAX_CARDS:].iterrows()],
        pairs=[cards.for_pair(row) for _, row in pairs.head(MAX_CARDS).iterrows()],
        left_out=list_reject_reasons(tables.rejects, raw),
    )
    log.info(
        "%s: %d products with doubtful labels, %d pairs of near-identical photos on two products, %d rejects",
        page,
        len(doubtful),
        len(pairs),
        len(tables.rejects),
    )


def count_by_category(table: pd.DataFrame, doubtful: pd.DataFrame) -> list[dict[str, object]]:
    """Return a row per root category, the largest first.

    It has the number of products, of photos by split, and of products with a doubtful label, and `share`, the products
    relative to the largest category.
    """
    rows = table.groupby("category").agg(products=("product_id", "nunique"), photos=("image_id", "size"))
    splits = table.groupby(["category", "split"]).size().unstack(fill_value=0)
    rows = rows.join(splits).join(doubtful["category"].value_counts().rename("doubtful")).fillna(0)
    rows = rows.sort_values("products", ascending=False, kind="stable").reset_index()
    rows["share"] = rows["products"] / rows["products"].max()
    counts = [name for name in rows if name not in ("category", "share")]
    return rows.astype(dict.fromkeys(counts, int)).to_dict("records")


class CardMaker:
    """Makes the page's photos with their captions."""

    def __init__(self, table: pd.DataFrame, images: Images) -> None:
        self._table = table
        self._images = images
        self._row_of_image = {image_id: row for row, image_id in enumerate(table["image_id"])}
        self._first_row_of_product = dict(zip(table["product_id"][::-1], table.index[::-1], strict=True))

    def for_doubtful_label(self, finding: "pd.Series[object]", *, photo: bool = True) -> FindingCard:
        """Return the card of a product with a doubtful label."""
        suggested_probability = 100 * float(str(finding["suggested_probability"]))
        probability = 100 * float(str(finding["probability"]))
        return self._card(
            row=self._first_row_of_product[finding["product_id"]],
            photo=photo,
            title=f"{finding['category']} → {finding['suggested']}",
            details=f"{suggested_probability:.0f} % against {probability:.0f} %",
            suggested=str(finding["suggested"]),
        )

    def for_pair(self, finding: "pd.Series[object]") -> tuple[str, FindingCard, FindingCard]:
        """Return a title and the cards of two near-identical photos of two products."""
        title = "the same file" if finding["same_file"] else f"{finding['distance']} of 256 bits differ"
        first, second = (
            self._card(row=self._row_of_image[finding[f"{side}image_id"]], title=str(finding[f"{side}category"]))
            for side in ("", "other_")
        )
        return title, first, second

    def _card(self, row: int, title: str, details: str = "", suggested: str = "", *, photo: bool = True) -> FindingCard:
        product = self._table.iloc[row]
        return FindingCard(
            product_id=product["product_id"],
            photo=data_url(thumbnail(self._images[row], CARD_PIXELS)) if photo else "",
            name=product["product_name"],
            category=product["category_path"],
            title=title,
            details=details,
            suggested=suggested,
        )


def list_reject_reasons(rejects: pd.DataFrame, raw: Path) -> list[RejectReason]:
    """Return the reasons in the order of their explanations, with examples of photos from the shards in `raw`."""
    rows = rejects.assign(reason=rejects["reason"].str.removeprefix("file_"))
    files = rows[rows["table"] == "files"]
    examples = files.groupby("reason")["id"].apply(lambda ids: ids.head(MAX_EXAMPLES).tolist())
    photos = _read_photos({image_id for ids in examples for image_id in ids}, raw)
    reasons = []
    for reason, group in rows.groupby("reason"):
        counts = group["table"].value_counts().sort_index()
        reasons.append(
            RejectReason(
                why=explanation(str(reason)),
                counts=", ".join(f"{n:,} {name if n > 1 else name.removesuffix('s')}" for name, n in counts.items()),
                ids=group["id"].drop_duplicates().head(MAX_EXAMPLES).tolist(),
                photos=[photos[image_id] for image_id in examples.get(reason, []) if image_id in photos],
            )
        )
    return sorted(reasons, key=lambda entry: entry.why)


def _read_photos(image_ids: set[str], raw: Path) -> dict[str, str]:
    """Return the photos that can be decoded as data: URLs, by image id."""
    shards = shard_paths(raw)
    photos = {}
    for number in sorted({shard_of(image_id, len(shards)) for image_id in image_ids}):
        for name, content in read_shard(shards[number]):
            if image_id_of(name) not in image_ids:
                continue
            try:
                image = np.asarray(decode(content, min_side=2 * CARD_PIXELS))
            except UnreadableImageError:
                continue
            photos[image_id_of(name)] = data_url(thumbnail(image, CARD_PIXELS))
    return photos
