"""Everything in the data that a person should look at, as one table."""

import pandas as pd

from marketplace.raw.rejects import explanation

COLUMNS = [
    "finding",
    "product_id",
    "image_id",
    "other_product_id",
    "other_image_id",
    "category",
    "suggested_category",
    "why",
]


def findings(
    table: pd.DataFrame, doubtful: pd.DataFrame, near_duplicates: pd.DataFrame, rejects: pd.DataFrame
) -> pd.DataFrame:
    """A row per finding, doubtful labels first, then pairs of near-identical photos, then rejects.

    `table` is the training data, `doubtful` what `doubtful_labels` gives, the others are the files of `clean`.
    """
    parts = [_labels(doubtful), _pairs(pairs_of_products(table, near_duplicates)), _rejects(rejects)]
    return pd.concat(parts, ignore_index=True).reindex(columns=COLUMNS).fillna("")


def pairs_of_products(table: pd.DataFrame, near_duplicates: pd.DataFrame) -> pd.DataFrame:
    """The near-identical photos of two products; those of two root categories first, then the closest.

    Adds product_id, other_product_id, category and other_category to the pairs, and says whether the files are equal
    (`same_file`).
    """
    about = table[["image_id", "product_id", "category", "sha256"]]
    pairs = near_duplicates.merge(about, on="image_id").merge(about.add_prefix("other_"), on="other_image_id")
    pairs = pairs[pairs["product_id"] != pairs["other_product_id"]]
    pairs["same_file"] = pairs["sha256"] == pairs["other_sha256"]
    pairs["same_category"] = pairs["category"] == pairs["other_category"]
    order = ["same_category", "distance", "image_id", "other_image_id"]
    return pairs.drop(columns=["sha256", "other_sha256"]).sort_values(order, ignore_index=True)


def _labels(doubtful: pd.DataFrame) -> pd.DataFrame:
    why = [
        f"a model that never saw it gives its category {100 * own:.0f} %, {suggested} {100 * other:.0f} %"
        for own, suggested, other in zip(
            doubtful["probability"], doubtful["suggested"], doubtful["suggested_probability"], strict=True
        )
    ]
    labels = doubtful[["product_id", "category"]]
    return labels.assign(finding="doubtful label", suggested_category=doubtful["suggested"], why=why)


def _pairs(pairs: pd.DataFrame) -> pd.DataFrame:
    why = pairs["same_file"].map({True: "the same file", False: "nearly the same photo"})
    why += pairs["same_category"].map({True: " on two products", False: " on products of two categories"})
    named = ["product_id", "image_id", "other_product_id", "other_image_id", "category"]
    return pairs[named].assign(finding="near-identical photos", why=why)


def _rejects(rejects: pd.DataFrame) -> pd.DataFrame:
    is_product = rejects["table"] == "products"
    return pd.DataFrame(
        {
            "finding": "left out: " + rejects["reason"].str.removeprefix("file_").str.replace("_", " "),
            "product_id": rejects["id"].where(is_product, ""),
            "image_id": rejects["id"].where(~is_product, ""),
            "why": rejects["reason"].map(explanation),
        }
    )
