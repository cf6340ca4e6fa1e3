"""Report suspicious data: near-identical photos, doubtful labels, placeholders and rejects."""

import json
from pathlib import Path

from marketplace.common.console import run_stage


def main() -> None:
    """Run the stage."""
    from marketplace.catalogue.correction_file import CORRECTIONS, read_corrections
    from marketplace.common.damage import reading
    from marketplace.compute.arrays import ShardedArray
    from marketplace.data_report.doubtful_labels import find_doubtful_labels
    from marketplace.data_report.report import CleanTables, Corrections, write_data_report
    from marketplace.inference.features import FeatureStore
    from marketplace.inference.outputs import network_outputs
    from marketplace.inference.tail import Tail
    from marketplace.inference.trunk import Trunk
    from marketplace.vectors.tables import read_text_embeddings

    tables = CleanTables.read(Path("data/clean"))
    table = tables.training_data
    product_ids = sorted(table["product_id"].unique())
    texts = read_text_embeddings(Path("data/text_embeddings.parquet"), product_ids).text
    counts = Path("metrics/clean.json")
    with reading(counts):
        applied = json.loads(counts.read_text(encoding="utf-8")).get("corrections", {})
    images = ShardedArray(Path("data/resized/full"))
    trunk = Trunk(network=Path("models/trunk/full.onnx"), checkpoint=Path("models/pretrained.pt"))
    outputs = network_outputs(FeatureStore(trunk, images), Tail(Path("models/pretrained.onnx"))).embeddings
    write_data_report(
        page=Path("reports/data.html"),
        csv=Path("reports/data.csv"),
        tables=tables,
        doubtful=find_doubtful_labels(table, outputs, texts),
        corrections=Corrections(lines=read_corrections(Path(CORRECTIONS)), applied=applied),
        images=images,
        raw=Path("data/raw/images"),
    )


if __name__ == "__main__":
    run_stage(main, __doc__)
