"""Strip the classifier from the fine-tuned network, and give every image its vector."""

from pathlib import Path

from marketplace.stage import run_stage


def main() -> None:
    """Run the stage."""
    import numpy as np
    import pandas as pd

    from marketplace import checkpoints, image_model
    from marketplace.embeddings import chosen_checkpoint, pooled, write_embeddings
    from marketplace.projection import fit_projection
    from marketplace.settings import load_settings

    settings = load_settings().extract
    tuned_path = Path("models/full.pt")
    tuned = chosen_checkpoint(tuned_path, Path("metrics/train_full/metrics.json"))
    untouched = checkpoints.load(Path("models/pretrained.pt"))
    chosen = {"tuned": [tuned], "untouched": [untouched], "joined": [tuned, untouched]}[settings.vectors]
    networks = [checkpoints.network_of(checkpoint, len(tuned["categories"])) for checkpoint in chosen]

    table = pd.read_parquet("data/clean/training_data.parquet", columns=["image_id", "product_id", "split"])
    outputs = pooled(networks, np.load("data/resized/full.npy", mmap_mode="r"), mirrored=settings.mirrored)
    projection = fit_projection(outputs[np.flatnonzero(table["split"] == "train")], settings)
    model = image_model.ImageModel(networks, projection, mirrored=settings.mirrored)
    sha256 = checkpoints.sha256_of(tuned_path)
    image_model.save(Path("models/image_model.pt"), model, tuned, vectors=settings.vectors, checkpoint_sha256=sha256)
    image_model.export_onnx(Path("models/image_model.onnx"), model.eval(), tuned["size"])
    write_embeddings(Path("data/embeddings.parquet"), table, projection(outputs).numpy())


if __name__ == "__main__":
    run_stage(main, __doc__)
