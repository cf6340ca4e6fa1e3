"""Recommend similar products for every product, and build the index that answers for new photos."""

from pathlib import Path

from marketplace.stage import run_stage


def main() -> None:
    """Run the stage."""
    import json

    import numpy as np
    import pandas as pd

    from marketplace.embeddings import read_embeddings
    from marketplace.files import write_json
    from marketplace.gallery import write_gallery
    from marketplace.index import write_index
    from marketplace.products import products_of
    from marketplace.recommend import probe, recommendation_metrics, recommendations, write_recommendations
    from marketplace.settings import load_settings
    from marketplace.summary import summary

    settings = load_settings().recommend
    table = pd.read_parquet("data/clean/training_data.parquet")
    vectors = read_embeddings(Path("data/embeddings.parquet"), table)
    products = products_of(table)
    write_index(Path("models/recommendations.index"), vectors, settings.index, settings.index_search)
    write_recommendations(path := Path("data/recommendations.parquet"), recommendations(products, vectors, settings))
    recommended = pd.read_parquet(path)
    metrics = recommendation_metrics(products, recommended)
    evaluation = json.loads(Path("metrics/evaluate.json").read_text(encoding="utf-8"))
    write_json(Path("metrics/summary.json"), summary(evaluation, metrics))
    write_json(Path("metrics/probe.json"), probe(products, recommended))
    images = np.load("data/resized/full.npy", mmap_mode="r")
    write_gallery(Path("reports/gallery.html"), products, recommended, images, evaluation | {"recommend": metrics})


if __name__ == "__main__":
    run_stage(main, __doc__)
