"""Report what is wrong with the data: near-identical photos, doubtful labels, placeholders and rejects."""

from pathlib import Path

from marketplace.common.console import run_stage


def main() -> None:
    """Run the stage."""

    from marketplace.compute.arrays import ShardedArray
    from marketplace.data_report.doubtful_labels import doubtful_labels
    from marketplace.data_report.report import Data, write_data_report
    from marketplace.inference.outputs import network_outputs
    from marketplace.models import checkpoints
    from marketplace.vectors.tables import read_text_embeddings

    data = Data.read(Path("data/clean"))
    images = ShardedArray(Path("data/resized/full"))
    network = checkpoints.network_of(checkpoints.load(Path("models/pretrained.pt")), n_categories=1)
    texts = read_text_embeddings(Path("data/text_embeddings.parquet"), sorted(data.table["product_id"].unique()))
    doubtful = doubtful_labels(data.table, network_outputs(network, images).embeddings.numpy(), texts)
    reports = Path("reports")
    write_data_report(reports / "data.html", reports / "data.csv", data, doubtful, images, Path("data/raw/images"))


if __name__ == "__main__":
    run_stage(main, __doc__)
