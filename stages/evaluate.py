"""Measure on the test split: accuracy of photos and products, and retrieval against the untouched ImageNet network."""

from pathlib import Path

from marketplace.common.console import run_stage


def main() -> None:
    """Run the stage."""
    from marketplace.common.damage import read_parquet
    from marketplace.common.params import load_section
    from marketplace.compute.arrays import ShardedArray
    from marketplace.embedding.projection import ExtractSettings
    from marketplace.evaluation.report import evaluate
    from marketplace.inference.tail import Tail
    from marketplace.inference.trunk import Trunk
    from marketplace.vectors.tables import read_embeddings, read_predictions, read_text_embeddings

    settings = load_section("extract", ExtractSettings)
    embeddings = Path("data/embeddings.parquet")
    table = read_parquet(Path("data/clean/training_data.parquet"))
    product_ids = sorted(set(table["product_id"]))
    evaluation = evaluate(
        trunk=Trunk(network=Path("models/trunk/full.onnx"), checkpoint=Path("models/pretrained.pt")),
        untouched=Tail(Path("models/pretrained.onnx")),
        table=table,
        vectors=read_embeddings(embeddings, table, [Path("models/image_model.onnx")]),
        predictions=read_predictions(embeddings),
        texts=read_text_embeddings(Path("data/text_embeddings.parquet"), product_ids).text,
        images=ShardedArray(Path("data/resized/full")),
        settings=settings,
    )
    evaluation.write(Path("metrics/evaluate.json"), Path("metrics/evaluate"))


if __name__ == "__main__":
    run_stage(main, __doc__)
