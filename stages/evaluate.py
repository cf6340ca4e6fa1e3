"""Measure on the test split: accuracy by category, and retrieval against the untouched ImageNet features."""

from pathlib import Path

from marketplace.common.console import run_stage


def main() -> None:
    """Run the stage."""
    import pandas as pd

    from marketplace.common.params import load_section
    from marketplace.compute.arrays import ShardedArray
    from marketplace.embedding.projection import ExtractSettings
    from marketplace.evaluation.report import evaluate
    from marketplace.models import checkpoints
    from marketplace.vectors.tables import read_embeddings

    settings = load_section("extract", ExtractSettings)
    model = Path("models/full.pt")
    table = pd.read_parquet("data/clean/training_data.parquet")
    evaluation = evaluate(
        tuned=checkpoints.load(model),
        pretrained=checkpoints.load(Path("models/pretrained.pt")),
        table=table,
        vectors=read_embeddings(Path("data/embeddings.parquet"), table, [model]),
        images=ShardedArray(Path("data/resized/full")),
        settings=settings,
    )
    evaluation.write(Path("metrics/evaluate.json"), Path("metrics/evaluate"))


if __name__ == "__main__":
    run_stage(main, __doc__)
