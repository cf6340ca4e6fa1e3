"""Strip the classifier from the fine-tuned network, and give every photo and every product's text its vectors."""

from pathlib import Path

from marketplace.common.console import run_stage


def main() -> None:
    """Run the stage."""
    from marketplace.common.damage import read_parquet
    from marketplace.common.files import sha256_of
    from marketplace.common.params import load_section
    from marketplace.compute.arrays import ShardedArray
    from marketplace.embedding import image_model
    from marketplace.embedding.extraction import embed_photos, embed_texts, fit_paths
    from marketplace.embedding.onnx import export_onnx
    from marketplace.embedding.projection import ExtractSettings
    from marketplace.inference.outputs import chosen_checkpoint
    from marketplace.vectors.tables import write_embeddings, write_text_embeddings

    settings = load_section("extract", ExtractSettings)
    table = read_parquet(Path("data/clean/training_data.parquet"))
    images = ShardedArray(Path("data/resized/full"))

    path_space = fit_paths(table)
    text_model = Path("models/text_model")
    product_ids, texts = embed_texts(text_model, table, path_space, settings)
    write_text_embeddings(Path("data/text_embeddings.parquet"), product_ids, texts, text_model)

    checkpoint = Path("models/full.pt")
    tuned = chosen_checkpoint(checkpoint, Path("metrics/train_full/metrics.json"))
    model, vectors, expected = embed_photos(tuned, table, images, path_space, texts.title.shape[1], settings)
    image_model.save(Path("models/image_model.pt"), model, tuned, checkpoint_sha256=sha256_of(checkpoint))
    onnx = Path("models/image_model.onnx")
    export_onnx(onnx, model.eval(), tuned["size"])
    write_embeddings(Path("data/embeddings.parquet"), table, vectors, expected, [checkpoint, onnx])


if __name__ == "__main__":
    run_stage(main, __doc__)
