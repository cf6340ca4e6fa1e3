"""Recommend similar products for every product, and build the indexes that answer new questions."""

import json
from pathlib import Path

from marketplace.common.console import run_stage


def main() -> None:
    """Run the stage."""
    import pandas as pd

    from marketplace.common.files import write_json
    from marketplace.common.params import load_section
    from marketplace.compute.arrays import ShardedArray
    from marketplace.recommendation.catalogue import read_catalogue
    from marketplace.recommendation.fingerprints import fingerprints
    from marketplace.recommendation.gallery import write_gallery
    from marketplace.recommendation.index import write_index
    from marketplace.recommendation.metrics import recommendation_metrics, select_tracked_products, summary
    from marketplace.recommendation.rules import RecommendSettings
    from marketplace.recommendation.table import recommendations, write_recommendations

    settings = load_section("recommend", RecommendSettings)
    catalogue = read_catalogue(Path())
    products = catalogue.products
    vectors = catalogue.similar(settings.words)

    # The indexes answer questions about single products and photos.
    write_index(Path("models/similar.index"), vectors, settings.index, settings.index_search)
    write_index(Path("models/identity.index"), catalogue.identity, settings.index, settings.index_search)

    # The table holds the recommendations of every product.
    path = Path("data/recommendations.parquet")
    batches = recommendations(products, vectors, settings)
    write_recommendations(path, products, batches, words=settings.words, made_with=fingerprints(Path()))
    recommended = pd.read_parquet(path)

    metrics = recommendation_metrics(products, recommended)
    evaluation = json.loads(Path("metrics/evaluate.json").read_text(encoding="utf-8"))
    write_json(Path("metrics/summary.json"), summary(evaluation, metrics))
    write_json(Path("metrics/tracked_products.json"), select_tracked_products(products, recommended))

    images = ShardedArray(Path("data/resized/full"))
    write_gallery(Path("reports/gallery.html"), products, recommended, images, evaluation | {"recommend": metrics})


if __name__ == "__main__":
    run_stage(main, __doc__)
