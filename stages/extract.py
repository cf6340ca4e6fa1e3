"""Strip the classifier from the fine-tuned network, and give every photo its vector."""

from pathlib import Path

from marketplace.common.console import run_stage


def main() -> None:
    """Run the stage."""
    import numpy as np
    import pandas as pd

    from marketplace.common.params import load_section
    from marketplace.embedding import image_model
    from marketplace.embedding.onnx import export_onnx
    from marketplace.embedding.outputs import chosen_checkpoint, networks_of, pooled
    from marketplace.embedding.projection import ExtractSettings, fit_projection
    from marketplace.embedding.vectors import write_embeddings
    from marketplace.models import checkpoints

    settings = load_section("extract", ExtractSettings)
    tuned_path = Path("models/full.pt")
    tuned = chosen_checkpoint(tuned_path, Path("metrics/train_full/metrics.json"))
    networks = networks_of(settings.vectors, tuned, checkpoints.load(Path("models/pretrained.pt")))
    table = pd.read_parquet("data/clean/training_data.parquet", columns=["image_id", "product_id", "split"])
    outputs = pooled(networks, np.load("data/resized/full.npy", mmap_mode="r"), mirrored=settings.mirrored)
    projection = fit_projection(outputs[np.flatnonzero(table["split"] == "train")], settings)
    model = image_model.ImageModel(networks, projection, mirrored=settings.mirrored)
    sha256 = checkpoints.sha256_of(tuned_path)
    image_model.save(Path("models/image_model.pt"), model, tuned, vectors=settings.vectors, checkpoint_sha256=sha256)
    export_onnx(Path("models/image_model.onnx"), model.eval(), tuned["size"])
    write_embeddings(Path("data/embeddings.parquet"), table, projection(outputs).numpy())


if __name__ == "__main__":
    run_stage(main, __doc__)
