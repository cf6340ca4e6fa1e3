"""Strip the classifier from the fine-tuned network, and give every image its vector."""

from pathlib import Path

from marketplace.stage import run_stage


def main() -> None:
    """Run the stage."""
    import numpy as np
    import pandas as pd

    from marketplace import checkpoints
    from marketplace.embeddings import embed, network_of, strip_head, write_embeddings

    model = strip_head(Path("models/full.pt"), Path("metrics/train_full/metrics.json"))
    table = pd.read_parquet("data/clean/training_data.parquet", columns=["image_id", "product_id"])
    embeddings = embed(network_of(model), np.load("data/resized/full.npy", mmap_mode="r"))
    checkpoints.save(Path("models/image_model.pt"), model)
    write_embeddings(Path("data/embeddings.parquet"), table, embeddings)


if __name__ == "__main__":
    run_stage(main, __doc__)
