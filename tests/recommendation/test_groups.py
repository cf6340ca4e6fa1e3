"""The quality of recommendations by group of products."""

import numpy as np
import pandas as pd
import pytest
from helpers.shop import recommend, shop

from marketplace.recommendation.groups import measure_groups
from marketplace.recommendation.metrics import share_agreements
from marketplace.recommendation.products import products_of
from marketplace.relevance.uncertainty import MIN_SAMPLE


def test_each_group_has_the_mean_over_its_products() -> None:
    table, vectors = shop(n_products=30)
    table["product_description"] = np.where(table["product_id"] < "p10", " ", "words")
    products = products_of(table)
    recommended = recommend(products, vectors)
    agreement = share_agreements(products, recommended)
    good = {"p01": 0.5, "p12": 1.0}
    rows = {(row["group"], row["value"]): row for row in measure_groups(products, agreement, good)}

    facts = products.table.set_index("product_id")
    n_photos = table["product_id"].value_counts()
    counted = recommended[~recommended["same_photo"] & ~recommended["same_text"]]
    hits = facts["category"][counted["product_id"]].to_numpy() == facts["category"][counted["similar_product_id"]]
    of_product = pd.Series(hits.to_numpy(), counted["product_id"].to_numpy())
    members = {
        ("description", "without"): [name for name in facts.index if name < "p10"],
        ("description", "with"): [name for name in facts.index if name >= "p10"],
        **{("photos", str(n)): n_photos.index[n_photos == n].tolist() for n in (1, 2)},
        ("photos", "3 or more"): n_photos.index[n_photos >= 3].tolist(),
        **{("category", name): facts.index[facts["category"] == name].tolist() for name in set(facts["category"])},
    }
    assert set(members) == set(rows)
    for group, ids in members.items():
        row = rows[group]
        expected = of_product[of_product.index.isin(ids)]
        assert row["category_agreement"] == pytest.approx(expected.mean(), abs=1e-5)
        interval = [row["category_agreement_low"], row["category_agreement_high"]]
        if row["category_agreement_products"] < MIN_SAMPLE:
            assert interval == [None, None]
        else:
            assert interval[0] <= row["category_agreement"] <= interval[1]
        assert row["category_agreement_products"] == expected.index.nunique()
        judged = [good[name] for name in ids if name in good]
        assert row["good_at_6_products"] == len(judged)
        assert row["good_at_6"] == (pytest.approx(np.mean(judged)) if judged else None)
    assert len({tuple(row) for row in rows.values()}) == 1  # DVC draws rows with the same keys


def test_groups_without_a_measured_product_are_left_out() -> None:
    table, _ = shop(n_products=5)
    assert measure_groups(products_of(table), {}, {}) == []
