"""The data report: one page of photos side by side, and a CSV file to work from."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from marketplace.common.files import replacing
from marketplace.compute.arrays import Images
from marketplace.data_report.findings import findings, pairs_of_products
from marketplace.photos.codec import UnreadableImageError, decode, thumbnail
from marketplace.raw.rejects import explanation
from marketplace.raw.shards import image_id_of, read_shard, shard_of, shard_paths
from marketplace.reports.pages import THUMBNAIL, Card, data_url, write_page

log = logging.getLogger(__name__)
TEMPLATE = Path(__file__).parent / "templates" / "data.html"
SHOWN = 48  # of each kind of finding; the CSV file has all
EXAMPLES = 4  # photos of each reason for leaving one out


@dataclass(frozen=True)
class Data:
    """What `clean` made of the dump."""

    table: pd.DataFrame  # the training data
    near_duplicates: pd.DataFrame  # image_id, other_image_id, distance
    rejects: pd.DataFrame  # table, id, reason

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What `clean` wrote to a folder."""
        ids = dict.fromkeys(("id", "image_id", "other_image_id"), str)
        rejects, near_duplicates = (
            pd.read_csv(folder / f"{name}.csv", keep_default_na=False, dtype=ids)
            for name in ("rejects", "near_duplicates")
        )
        return cls(pd.read_parquet(folder / "training_data.parquet"), near_duplicates, rejects)


@dataclass(frozen=True)
class LeftOut:
    """A reason for leaving something out."""

    why: str
    counts: str  # "4 products, 8 files"
    ids: list[str]
    photos: list[str]  # data: URLs


def write_data_report(page: Path, csv: Path, data: Data, doubtful: pd.DataFrame, images: Images, raw: Path) -> None:
    """Write the page and the CSV file.

    `doubtful` is what `doubtful_labels` gives, `images` `(N, S, S, 3) uint8` are in the order of the training data, and
    `raw` is the folder of tar shards.
    """
    found = findings(data.table, doubtful, data.near_duplicates, data.rejects)
    with replacing(csv) as part:
        found.to_csv(part, index=False, lineterminator="\n")
    pairs = pairs_of_products(data.table, data.near_duplicates)
    cards = Cards(data.table, images)
    write_page(
        page,
        TEMPLATE,
        products=data.table["product_id"].nunique(),
        photos=len(data.table),
        n_doubtful=len(doubtful),
        n_pairs=len(pairs),
        n_rejects=len(data.rejects),
        csv=csv.name,
        categories=categories(data.table, doubtful),
        doubtful=[cards.doubtful(row) for _, row in doubtful.head(SHOWN).iterrows()],
        pairs=[cards.pair(row) for _, row in pairs.head(SHOWN).iterrows()],
        left_out=left_out(data.rejects, raw),
    )
    log.info(
        "%s: %d products with doubtful labels, %d pairs of near-identical photos on two products, %d rejects",
        *(page, len(doubtful), len(pairs), len(data.rejects)),
    )


def categories(table: pd.DataFrame, doubtful: pd.DataFrame) -> list[dict[str, object]]:
    """A row per root category: products, photos by split, and products with a doubtful label; the largest first."""
    rows = table.groupby("category").agg(products=("product_id", "nunique"), photos=("image_id", "size"))
    splits = table.groupby(["category", "split"]).size().unstack(fill_value=0)
    rows = rows.join(splits).join(doubtful["category"].value_counts().rename("doubtful")).fillna(0)
    rows = rows.sort_values("products", ascending=False, kind="stable").reset_index()
    rows["share"] = rows["products"] / rows["products"].max()
    counts = [name for name in rows if name not in ("category", "share")]
    listed: list[dict[str, object]] = rows.astype(dict.fromkeys(counts, int)).to_dict("records")
    return listed


class Cards:
    """Makes the page's photos with their captions."""

    def __init__(self, table: pd.DataFrame, images: Images) -> None:
        self._images = images
        self._row_of = {image_id: row for row, image_id in enumerate(table["image_id"])}
        self._table = table
        self._first = dict(zip(table["product_id"][::-1], table.index[::-1], strict=True))

    def doubtful(self, found: "pd.Series[object]") -> Card:
        """A product whose label is doubtful."""
        caption = f"{found['category']} → {found['suggested']}"
        share = f"{100 * float(str(found['suggested_probability'])):.0f} % against "
        share += f"{100 * float(str(found['probability'])):.0f} %"
        return self._card(self._first[found["product_id"]], caption, share)

    def pair(self, found: "pd.Series[object]") -> tuple[str, Card, Card]:
        """Two near-identical photos of two products."""
        title = "the same file" if found["same_file"] else f"{found['distance']} of 256 bits differ"
        cards = [
            self._card(self._row_of[found[f"{side}image_id"]], str(found[f"{side}category"]), "")
            for side in ("", "other_")
        ]
        return title, cards[0], cards[1]

    def _card(self, row: int, caption: str, details: str) -> Card:
        photo = data_url(thumbnail(self._images[row], THUMBNAIL))
        product = self._table.iloc[row]
        details = details or product["product_id"]
        return Card(photo, product["product_name"], details, caption, "query")


def left_out(rejects: pd.DataFrame, raw: Path) -> list[LeftOut]:
    """The reasons in order of their explanations, with examples."""
    reasons = rejects.assign(reason=rejects["reason"].str.removeprefix("file_"))
    files = reasons[reasons["table"] == "files"].groupby("reason")["id"].apply(lambda ids: ids.head(EXAMPLES).tolist())
    photos = _photos({image_id for ids in files for image_id in ids}, raw)
    result = []
    for reason, rows in reasons.groupby("reason"):
        counts = rows["table"].value_counts().sort_index()
        examples = [photos[image_id] for image_id in files.get(reason, []) if image_id in photos]
        result.append(
            LeftOut(
                why=explanation(str(reason)),
                counts=", ".join(f"{n:,} {name if n > 1 else name.removesuffix('s')}" for name, n in counts.items()),
                ids=rows["id"].drop_duplicates().head(EXAMPLES).tolist(),
                photos=examples,
            )
        )
    return sorted(result, key=lambda entry: entry.why)


def _photos(image_ids: set[str], raw: Path) -> dict[str, str]:
    """Those of the photos that can be decoded, as data: URLs."""
    shards = shard_paths(raw)
    photos = {}
    for number in sorted({shard_of(image_id, len(shards)) for image_id in image_ids}):
        for name, content in read_shard(shards[number]):
            if image_id_of(name) not in image_ids:
                continue
            try:
                image = np.asarray(decode(content, at_least=2 * THUMBNAIL))
            except UnreadableImageError:
                continue
            photos[image_id_of(name)] = data_url(thumbnail(image, THUMBNAIL))
    return photos
