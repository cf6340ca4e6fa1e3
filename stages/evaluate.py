"""Measure on the test split: accuracy by category, and retrieval against the untouched ImageNet features."""

from pathlib import Path

from marketplace.stage import run_stage


def main() -> None:
    """Run the stage."""
    import numpy as np
    import pandas as pd

    from marketplace import checkpoints
    from marketplace.embeddings import read_embeddings
    from marketplace.evaluation import evaluate

    table = pd.read_parquet("data/clean/training_data.parquet")
    embeddings = read_embeddings(Path("data/embeddings.parquet"), table)
    images = np.load("data/resized/full.npy", mmap_mode="r")
    tuned, pretrained = (checkpoints.load(Path(f"models/{name}.pt")) for name in ("full", "pretrained"))
    evaluation = evaluate(tuned, pretrained, table, embeddings, images)
    evaluation.write(Path("metrics/evaluate.json"), Path("metrics/evaluate"))


if __name__ == "__main__":
    run_stage(main, __doc__)
