"""The data report: a page that shows photos side by side, and a CSV file with every finding."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from marketplace.common.damage import read_parquet
from marketplace.compute.arrays import Images
from marketplace.data_report.findings import find_product_pairs, list_findings
from marketplace.photos.codec import UnreadableImageError, decode, thumbnail
from marketplace.raw.csv_files import read_csv, write_csv
from marketplace.raw.rejects import explanation
from marketplace.raw.shards import image_id_of, read_shard, shard_of, shard_paths
from marketplace.reports.pages import CARD_PIXELS, Card, data_url, write_page

log = logging.getLogger(__name__)
TEMPLATE = Path(__file__).parent / "templates" / "data.html"
MAX_CARDS = 48  # per kind of finding; the CSV file has all
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
class RejectReason:
    """A reason for leaving rows and files out, with examples."""

    why: str
    counts: str  # "4 products, 8 files"
    ids: list[str]
    photos: list[str]  # data: URLs


def write_data_report(
    page: Path, csv: Path, tables: CleanTables, doubtful: pd.DataFrame, images: Images, raw: Path
) -> None:
    """Write the page and the CSV file.

    `doubtful` is the result of `find_doubtful_labels`, `images` `(N, S, S, 3) uint8` are in the order of the training
    data, and `raw` is the folder of tar shards.
    """
    table = tables.training_data
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
        categories=count_by_category(table, doubtful),
        doubtful=[cards.for_doubtful_label(row) for _, row in doubtful.head(MAX_CARDS).iterrows()],
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

    def for_doubtful_label(self, finding: "pd.Series[object]") -> Card:
        """Return the card of a product with a doubtful label."""
        suggested_probability = 100 * float(str(finding["suggested_probability"]))
        probability = 100 * float(str(finding["probability"]))
        return self._card(
            row=self._first_row_of_product[finding["product_id"]],
            caption=f"{finding['category']} → {finding['suggested']}",
            details=f"{suggested_probability:.0f} % against {probability:.0f} %",
        )

    def for_pair(self, finding: "pd.Series[object]") -> tuple[str, Card, Card]:
        """Return a title and the cards of two near-identical photos of two products."""
        title = "the same file" if finding["same_file"] else f"{finding['distance']} of 256 bits differ"
        first, second = (
            self._card(
                row=self._row_of_image[finding[f"{side}image_id"]], caption=str(finding[f"{side}category"]), details=""
            )
            for side in ("", "other_")
        )
        return title, first, second

    def _card(self, row: int, caption: str, details: str) -> Card:
        product = self._table.iloc[row]
        return Card(
            photo=data_url(thumbnail(self._images[row], CARD_PIXELS)),
            name=product["product_name"],
            details=details or product["product_id"],
            caption=caption,
            agrees="query",
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
