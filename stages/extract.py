"""Strip the classifier from the fine-tuned network, and give every photo and every product's text its vectors."""

from pathlib import Path

from marketplace.common.console import run_stage


def main() -> None:
    """Run the stage."""
    from marketplace.common.damage import read_parquet
    from marketplace.common.params import load_section
    from marketplace.compute.arrays import ShardedArray
    from marketplace.embedding.extraction import embed_photos, embed_texts, fit_paths
    from marketplace.embedding.projection import ExtractSettings
    from marketplace.inference.tail import Tail
    from marketplace.inference.trunk import Trunk
    from marketplace.photos.codec import BACKGROUND
    from marketplace.vectors.tables import write_embeddings, write_text_embeddings

    settings = load_section("extract", ExtractSettings)
    table = read_parquet(Path("data/clean/training_data.parquet"))
    images = ShardedArray(Path("data/resized/full"))

    path_space = fit_paths(table)
    text_model = Path("models/text_model")
    product_ids, texts = embed_texts(text_model, Path("models/sentence_model"), table, path_space, settings)
    write_text_embeddings(Path("data/text_embeddings.parquet"), product_ids, texts, text_model)

    trunk = Trunk(network=Path("models/trunk/full.onnx"), checkpoint=Path("models/pretrained.pt"))
    tail = Tail(Path("models/full.onnx"))
    tail.check_chosen(Path("metrics/train_full/metrics.json"))
    model, vectors, predictions = embed_photos(trunk, tail, table, images, path_space, texts.title.shape[1], settings)
    image_model = Path("models/image_model.onnx")
    model.save(image_model, background=BACKGROUND, extract=settings.model_dump())
    write_embeddings(Path("data/embeddings.parquet"), table, vectors, predictions, [image_model])


if __name__ == "__main__":
    run_stage(main, __doc__)
