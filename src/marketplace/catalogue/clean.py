"""Turn the raw dump into training data; every row and file that is left out is recorded with its reason."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from marketplace.catalogue import repair
from marketplace.catalogue.correction_file import Correction
from marketplace.catalogue.corrections import correct_products
from marketplace.catalogue.groups import photo_groups
from marketplace.catalogue.near_duplicates import near_duplicates
from marketplace.catalogue.photo_check import check_shards
from marketplace.catalogue.placeholders import placeholders
from marketplace.catalogue.splits import SPLITS, assign_splits, in_rare_categories
from marketplace.catalogue.templates import leave_out_templates
from marketplace.common.errors import MarketplaceError
from marketplace.common.files import replacing, write_json
from marketplace.common.params import Section
from marketplace.raw.csv_files import write_csv
from marketplace.raw.ids import match_product_ids
from marketplace.raw.rejects import Rejects
from marketplace.raw.tables import Table, read_table

log = logging.getLogger(__name__)

Share = Annotated[float, Field(gt=0, lt=1)]


class CleanSettings(Section):
    """The shares and the seed of the splits."""

    test: Share
    val: Share
    seed: Annotated[int, Field(ge=0)]


SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("file", pa.string()),  # its name in its shard
        ("shard", pa.int32()),
        ("product_id", pa.string()),
        ("product_name", pa.string()),
        ("product_description", pa.string()),  # without sentences that the marketplace added
        ("category", pa.string()),
        ("category_path", pa.string()),
        ("label", pa.int64()),
        ("price", pa.decimal128(38, 2)),
        ("currency", pa.string()),  # a sign, such as £, or a code
        ("location", pa.string()),
        ("split", pa.string()),
        ("sha256", pa.string()),
        ("group", pa.int64()),  # equal for photos that must stay together
    ]
)


@dataclass(frozen=True)
class CleanDump:
    """The result of cleaning: the kept photos, their near-duplicates, the label encoder, the rejects, and counts."""

    training_data: pd.DataFrame
    near_duplicates: pd.DataFrame  # image_id, other_image_id, distance in bits
    categories: dict[str, dict[str, int] | list[str]]
    rejects: pd.DataFrame
    counts: dict[str, Any]

    def write(self, folder: Path, metrics: Path) -> None:
        """Write training_data.parquet, categories.json and two CSV files to `folder`, and the counts to `metrics`."""
        with replacing(folder / "training_data.parquet") as part:
            pq.write_table(pa.Table.from_pandas(self.training_data, SCHEMA, preserve_index=False), part)
        write_json(folder / "categories.json", self.categories)
        for name, table in (("rejects", self.rejects), ("near_duplicates", self.near_duplicates)):
            write_csv(folder / f"{name}.csv", table)
        write_json(metrics, self.counts)
        log.info(
            "kept %s of %s photos, of %s products; %s rejects: %s",
            f"{self.counts['images']['kept']:,}",
            f"{self.counts['images']['in']:,}",
            f"{self.counts['products']['kept']:,}",
            f"{len(self.rejects):,}",
            folder / "rejects.csv",
        )


def clean(raw: Path, settings: CleanSettings, corrections: Sequence[Correction] = ()) -> CleanDump:
    """Clean the dump in `raw` (products.csv, images.csv, images/NNN.tar), with people's corrections of its products.

    Raises MarketplaceError if a table or a shard cannot be read, a correction names an unknown category, or nothing is
    left to train on.
    """
    rejects = Rejects()
    products_csv = _read_table(raw, "products", rejects)
    images_csv = _read_table(raw, "images", rejects)
    files = check_shards(raw / "images")
    rows_in = {
        "products": len(products_csv.rows) + len(products_csv.malformed),
        "images": len(images_csv.rows) + len(images_csv.malformed),
        "files": len(files),
    }

    products = repair.clean_products(products_csv.rows, rejects)
    products, n_corrections = correct_products(products, corrections, rejects)
    products = repair.leave_out_uncategorized(products, rejects)
    products["product_description"], n_generated = leave_out_templates(products)
    image_rows = images_csv.rows.assign(product_id=match_product_ids(images_csv.rows, products_csv.rows))
    images = repair.clean_images(image_rows, products_csv.rows["id"], products["id"], rejects)
    images = repair.join_files(images, files, images_csv.rows["id"], rejects)
    table = repair.join_products(images, products, repair.further_products(image_rows), rejects)
    if table.empty:
        raise MarketplaceError(
            f"no photo is left after cleaning: of the rows of images.csv, {rejects.sum_up('images')}."
        )
    table = table.sort_values(["shard", "image_id"], ignore_index=True)  # the order of the shards' arrays
    pairs = near_duplicates(table["phash"], table["picture"])
    is_placeholder = placeholders(table, pairs)
    table = repair.leave_out_photos(table, is_placeholder, "placeholder", rejects)
    pairs = _without_photos(pairs, is_placeholder)
    table["group"] = photo_groups(table["product_id"], table["sha256"], pairs)
    pairs = _with_image_ids(pairs, table["image_id"])
    table = repair.leave_out_photos(table, in_rare_categories(table), "rare_category", rejects)

    categories = repair.label_encoder(table["category"])
    table["label"] = table["category"].map(categories["encode"])
    table["split"] = assign_splits(table, settings.test, settings.val, settings.seed)
    kept = pairs[["image_id", "other_image_id"]].isin(set(table["image_id"])).all(axis=1)
    counts = _count(rows_in, table, rejects.table()) | {"generated_sentences_left_out": n_generated}
    if n_corrections:
        counts["corrections"] = n_corrections
    return CleanDump(
        training_data=table[SCHEMA.names],
        near_duplicates=pairs[kept],
        categories=categories,
        rejects=rejects.table(),
        counts=counts,
    )


def _read_table(raw: Path, name: str, rejects: Rejects) -> Table:
    table = read_table((raw / f"{name}.csv").read_bytes(), f"{name}.csv")
    rejects.add(name, pd.Series([f"row {number}" for number in table.malformed], dtype=str), "malformed_row")
    return table


def _without_photos(pairs: pd.DataFrame, left_out: np.ndarray) -> pd.DataFrame:
    """Return the pairs of photos that are not `left_out` `(N,) bool`, as positions among those that are kept."""
    kept = pairs[~left_out[pairs[["first", "second"]]].any(axis=1)]
    places = np.cumsum(~left_out) - 1
    return kept.assign(first=places[kept["first"]], second=places[kept["second"]])


def _with_image_ids(pairs: pd.DataFrame, image_ids: "pd.Series[str]") -> pd.DataFrame:
    ids = image_ids.to_numpy()
    return pd.DataFrame(
        {
            "image_id": ids[pairs["first"]],
            "other_image_id": ids[pairs["second"]],
            "distance": pairs["distance"],
        }
    )


def _count(rows_in: dict[str, int], table: pd.DataFrame, rejects: pd.DataFrame) -> dict[str, Any]:
    kept = {"products": table["product_id"].nunique(), "images": len(table), "files": len(table)}
    counts: dict[str, Any] = {}
    for name, n_in in rows_in.items():
        reasons = rejects["reason"][rejects["table"] == name].value_counts().sort_index()
        assert n_in == kept[name] + reasons.sum(), f"{name}: {n_in} in, {kept[name]} kept, {reasons.sum()} rejected"
        counts[name] = {"in": n_in, "kept": kept[name], "rejected": int(reasons.sum())}
        counts[name] |= {str(reason): int(n) for reason, n in reasons.items()}
    counts["splits"] = {name: int((table["split"] == name).sum()) for name in SPLITS}
    test_photos = "\n".join(sorted(table["sha256"][table["split"] == "test"]))
    counts["test_photos_sha256"] = hashlib.sha256(test_photos.encode()).hexdigest()
    counts["categories"] = table["category"].nunique()
    counts["images_without_price"] = int(table["price"].isna().sum())
    return counts
