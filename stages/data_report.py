"""Report what is wrong with the data: near-identical photos, doubtful labels, placeholders and rejects."""

from pathlib import Path

from marketplace.common.console import run_stage


def main() -> None:
    """Run the stage."""
    import numpy as np
    import pandas as pd

    from marketplace.data_report.doubtful_labels import doubtful_labels
    from marketplace.data_report.report import Data, write_data_report
    from marketplace.embedding.outputs import network_outputs
    from marketplace.embedding.vectors import read_text_embeddings
    from marketplace.models import checkpoints

    table = pd.read_parquet("data/clean/training_data.parquet")
    rejects, near_duplicates = (
        pd.read_csv(f"data/clean/{name}.csv", keep_default_na=False, dtype={"id": str, "image_id": str})
        for name in ("rejects", "near_duplicates")
    )
    images = np.load("data/resized/full.npy", mmap_mode="r")
    network = checkpoints.network_of(checkpoints.load(Path("models/pretrained.pt")), n_categories=1)
    texts = read_text_embeddings(Path("data/text_embeddings.parquet"), sorted(table["product_id"].unique()))
    doubtful = doubtful_labels(table, network_outputs(network, images).embeddings.numpy(), texts)
    data = Data(table, near_duplicates, rejects)
    reports = Path("reports")
    write_data_report(reports / "data.html", reports / "data.csv", data, doubtful, images, Path("data/raw/images"))


if __name__ == "__main__":
    run_stage(main, __doc__)
