"""Recommend similar products for every product, and build the indexes that answer new questions."""

import json
from pathlib import Path

from marketplace.common.console import run_stage


def main() -> None:
    """Run the stage."""
    import pandas as pd

    from marketplace.common.damage import reading
    from marketplace.common.files import release_pages, replacing, write_array, write_json
    from marketplace.common.metrics import round_metrics
    from marketplace.common.params import load_section
    from marketplace.compute.arrays import ShardedArray
    from marketplace.recommendation.catalogue import read_catalogue
    from marketplace.recommendation.fingerprints import EMBEDDINGS, KINDS, TEXT_MODEL, fingerprints
    from marketplace.recommendation.gallery import write_gallery
    from marketplace.recommendation.groups import measure_groups
    from marketplace.recommendation.index import write_index
    from marketplace.recommendation.judged import good_test_answers, judged_metrics, read_judged_pairs
    from marketplace.recommendation.measurement import calibrate, measure_agreement
    from marketplace.recommendation.metrics import summary, table_metrics
    from marketplace.recommendation.origin import Origin
    from marketplace.recommendation.rankers import create_ranker
    from marketplace.recommendation.rules import RankingRules, RecommendSettings
    from marketplace.recommendation.same_item import find_nearest_photos, fit_same_item_cosine, log_same_item
    from marketplace.recommendation.table import add_probabilities, recommendations, write_recommendations
    from marketplace.recommendation.tracked_products import select_tracked_products, write_pictures
    from marketplace.relevance.shares_file import write_shares
    from marketplace.texts.text_model import TextModel
    from marketplace.vectors.tables import read_predictions

    settings = load_section("recommend", RecommendSettings)
    catalogue = read_catalogue(Path())
    products = catalogue.products
    judged = read_judged_pairs(
        root=Path(),
        catalogue=catalogue,
        predictions=read_predictions(Path(EMBEDDINGS)),
        settings=settings,
        open_texts=lambda: TextModel(Path(TEXT_MODEL)).embed_words,
    )

    # The indexes answer questions about single products, photos and words; a question brings its weights.
    write_index(Path("models/similar.index"), catalogue.parts, settings.index, settings.index_search)
    write_index(Path("models/identity.index"), catalogue.identity, settings.index, settings.index_search)
    with replacing(Path(KINDS)) as part, part.open("wb") as file:
        write_array(file, catalogue.vectors.kind)
    release_pages(catalogue.vectors.kind)

    # The table holds the recommendations of every product.
    vectors = catalogue.parts.weigh_symmetrically(settings.weights.product)
    ranker = create_ranker(products, vectors, settings)
    calibrations = calibrate(products, ranker, judged, settings)
    same_item_cosine = fit_same_item_cosine(find_nearest_photos(catalogue, "val"))
    batches = recommendations(products, ranker)
    if "product" in calibrations:
        batches = add_probabilities(batches, calibrations["product"], settings.least_probability)
    path = Path("data/recommendations.parquet")
    origin = Origin(
        made_with=fingerprints(Path()),
        settings=settings,
        calibrations=calibrations,
        same_item_cosine=same_item_cosine,
        dimensions=catalogue.parts.dimensions,
    )
    write_recommendations(path, batches, origin)
    recommended = pd.read_parquet(path)

    rules = RankingRules(products, vectors, settings)
    quality = judged_metrics(judged, products, rules, settings.weights)
    del batches, ranker, rules, vectors  # measuring makes other vectors of the same size
    agreement = measure_agreement(catalogue, settings)
    metrics = round_metrics({name: shares.mean() for name, shares in agreement.items()})
    metrics |= table_metrics(products, recommended, judged["product"].judgements)
    log_same_item(find_nearest_photos(catalogue, "test"), same_item_cosine)
    evaluate = Path("metrics/evaluate.json")
    with reading(evaluate):
        evaluation = json.loads(evaluate.read_text(encoding="utf-8"))
    write_json(Path("metrics/judged.json"), quality)
    write_json(Path("metrics/summary.json"), summary(quality, evaluation, metrics))
    folder = Path("metrics/recommend")
    write_json(folder / "intervals.json", {name: shares.summarise() for name, shares in agreement.items()})
    write_json(folder / "groups.json", measure_groups(products, agreement, good_test_answers(quality)))
    write_shares(folder / "by_product.json", products.table["product_id"].tolist(), agreement)
    tracked = select_tracked_products(products, recommended)
    write_json(Path("metrics/tracked_products.json"), tracked)

    images = ShardedArray(Path("data/resized/full"))
    write_pictures(Path("metrics/tracked_products"), tracked, products, images)
    write_gallery(
        Path("reports/gallery.html"),
        products,
        recommended,
        judged["product"].judgements,
        images,
        evaluation | {"recommend": metrics},
    )


if __name__ == "__main__":
    run_stage(main, __doc__)
