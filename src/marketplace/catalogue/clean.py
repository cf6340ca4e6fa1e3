"""The raw dump turned into training data; every row and file that is not kept is recorded with its reason."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from marketplace.catalogue import repair
from marketplace.catalogue.groups import photo_groups
from marketplace.catalogue.near_duplicates import near_duplicates, placeholders
from marketplace.catalogue.photo_check import check_shards
from marketplace.catalogue.splits import assign_splits, in_rare_categories
from marketplace.common.errors import MarketplaceError
from marketplace.common.files import replacing, write_json
from marketplace.common.params import Section
from marketplace.raw.rejects import Rejects
from marketplace.raw.tables import read_table

log = logging.getLogger(__name__)

Share = Annotated[float, Field(gt=0, lt=1)]


class CleanSettings(Section):
    """The splits."""

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
        ("product_description", pa.string()),
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
    """The result of cleaning: the kept photos, the label encoder, the rejects, and counts of all three."""

    training_data: pd.DataFrame
    near_duplicates: pd.DataFrame  # image_id, other_image_id, distance in bits
    categories: dict[str, dict[str, int] | list[str]]
    rejects: pd.DataFrame
    counts: dict[str, Any]

    def write(self, folder: Path, metrics: Path) -> None:
        """Write training_data.parquet, categories.json and two CSV files to `folder`, the counts to `metrics`."""
        with replacing(folder / "training_data.parquet") as part:
            pq.write_table(pa.Table.from_pandas(self.training_data, SCHEMA, preserve_index=False), part)
        write_json(folder / "categories.json", self.categories)
        for name in ("rejects", "near_duplicates"):
            with replacing(folder / f"{name}.csv") as part:
                getattr(self, name).to_csv(part, index=False, lineterminator="\n")
        write_json(metrics, self.counts)
        photos = self.counts["images"]
        log.info(
            "kept %s of %s photos, of %s products; %s rejects: %s",
            *(f"{photos['kept']:,}", f"{photos['in']:,}", f"{self.counts['products']['kept']:,}"),
            *(f"{len(self.rejects):,}", folder / "rejects.csv"),
        )


def clean(raw: Path, settings: CleanSettings) -> CleanDump:
    """Clean the dump in `raw` (products.csv, images.csv, images/NNN.tar)."""
    rejects = Rejects()
    tables = {name: read_table((raw / f"{name}.csv").read_bytes(), f"{name}.csv") for name in ("products", "images")}
    for name, (_, malformed) in tables.items():
        rejects.add(name, pd.Series([f"row {number}" for number in malformed], dtype=str), "malformed_row")
    product_rows, image_rows = (table.rows for table in tables.values())
    files = check_shards(raw / "images")

    products = repair.clean_products(product_rows, rejects)
    images = repair.clean_images(image_rows, product_rows["id"], products["id"], rejects)
    images = repair.join_files(images, files, image_rows["id"], rejects)
    table = repair.join_products(images, products, rejects)
    if table.empty:
        raise MarketplaceError("no photo is left after cleaning: no product has a row in images.csv with a sound file.")
    table = repair.leave_out_photos(table, placeholders(table["product_id"], table["phash"]), "placeholder", rejects)
    table = table.sort_values(["shard", "image_id"], ignore_index=True)  # the order of the shards' arrays
    pairs = near_duplicates(table["phash"])
    table["group"] = photo_groups(table["product_id"], table["sha256"], pairs)
    pairs_by_id = _by_id(pairs, table["image_id"])
    table = repair.leave_out_photos(table, in_rare_categories(table), "rare_category", rejects)

    categories = repair.label_encoder(table["category"])
    table["label"] = table["category"].map(categories["encode"])
    table["split"] = assign_splits(table, settings.test, settings.val, settings.seed)
    kept = pairs_by_id[["image_id", "other_image_id"]].isin(set(table["image_id"])).all(axis=1)
    rejected = rejects.table()
    rows_in = {name: len(rows) + len(malformed) for name, (rows, malformed) in tables.items()}
    counts = _count(rows_in | {"files": len(files)}, table, rejected)
    return CleanDump(table[SCHEMA.names], pairs_by_id[kept], categories, rejected, counts)


def _by_id(pairs: pd.DataFrame, image_ids: "pd.Series[str]") -> pd.DataFrame:
    first, second = (image_ids.to_numpy()[pairs[end]] for end in ("first", "second"))
    return pd.DataFrame({"image_id": first, "other_image_id": second, "distance": pairs["distance"]})


def _count(rows_in: dict[str, int], table: pd.DataFrame, rejects: pd.DataFrame) -> dict[str, Any]:
    kept = {"products": table["product_id"].nunique(), "images": len(table), "files": len(table)}
    counts: dict[str, Any] = {}
    for name, n_in in rows_in.items():
        reasons = rejects["reason"][rejects["table"] == name].value_counts().sort_index()
        assert n_in == kept[name] + reasons.sum(), f"{name}: {n_in} in, {kept[name]} kept, {reasons.sum()} rejected"
        counts[name] = {"in": n_in, "kept": kept[name], "rejected": int(reasons.sum())}
        counts[name] |= {str(reason): int(n) for reason, n in reasons.items()}
    counts["splits"] = {name: int((table["split"] == name).sum()) for name in ("train", "val", "test")}
    tested = "\n".join(sorted(table["sha256"][table["split"] == "test"]))
    counts["test_photos_sha256"] = hashlib.sha256(tested.encode()).hexdigest()
    counts["categories"] = table["category"].nunique()
    counts["images_without_price"] = int(table["price"].isna().sum())
    return counts
