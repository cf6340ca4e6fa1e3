"""All findings in the data that a person should look at, as one table."""

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


def list_findings(
    table: pd.DataFrame, doubtful: pd.DataFrame, near_duplicates: pd.DataFrame, rejects: pd.DataFrame
) -> pd.DataFrame:
    """Return a row per finding: doubtful labels first, then pairs of near-identical photos, then rejects.

    `table` is the training data, `doubtful` the result of `find_doubtful_labels`; the others are the files of `clean`.
    """
    pairs = find_product_pairs(table, near_duplicates)
    parts = [_list_labels(doubtful), _list_pairs(pairs), _list_rejects(rejects)]
    return pd.concat(parts, ignore_index=True).reindex(columns=COLUMNS).fillna("")


def find_product_pairs(table: pd.DataFrame, near_duplicates: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs of near-identical photos of two products: pairs in two root categories first, then the closest.

    Adds to the pairs product_id, other_product_id, category and other_category, same_file (whether the files are equal)
    and same_category.
    """
    photos = table[["image_id", "product_id", "category", "sha256"]]
    pairs = near_duplicates.merge(photos, on="image_id").merge(photos.add_prefix("other_"), on="other_image_id")
    pairs = pairs[pairs["product_id"] != pairs["other_product_id"]]
    pairs["same_file"] = pairs["sha256"] == pairs["other_sha256"]
    pairs["same_category"] = pairs["category"] == pairs["other_category"]
    order = ["same_category", "distance", "image_id", "other_image_id"]
    return pairs.drop(columns=["sha256", "other_sha256"]).sort_values(order, ignore_index=True)


def _list_labels(doubtful: pd.DataFrame) -> pd.DataFrame:
    why = [
        f"a model trained without the product gives its category {100 * probability:.0f} %, "
        f"and {suggested} {100 * suggested_probability:.0f} %"
        for probability, suggested, suggested_probability in zip(
            doubtful["probability"], doubtful["suggested"], doubtful["suggested_probability"], strict=True
        )
    ]
    labels = doubtful[["product_id", "category"]]
    return labels.assign(finding="doubtful label", suggested_category=doubtful["suggested"], why=why)


def _list_pairs(pairs: pd.DataFrame) -> pd.DataFrame:
    why = pairs["same_file"].map({True: "the same file", False: "nearly the same photo"})
    why += pairs["same_category"].map({True: " on two products", False: " on products of two categories"})
    columns = ["product_id", "image_id", "other_product_id", "other_image_id", "category"]
    return pairs[columns].assign(finding="near-identical photos", why=why)


def _list_rejects(rejects: pd.DataFrame) -> pd.DataFrame:
    is_product = rejects["table"] == "products"
    return pd.DataFrame(
        {
            "finding": "left out: " + rejects["reason"].str.removeprefix("file_").str.replace("_", " "),
            "product_id": rejects["id"].where(is_product, ""),
            "image_id": rejects["id"].where(~is_product, ""),
            "why": rejects["reason"].map(explanation),
        }
    )
