"""Embed every photo and every product's text."""

from pathlib import Path

from marketplace.common.console import run_stage


def main() -> None:
    """Run the stage."""
    from marketplace.common.damage import read_parquet
    from marketplace.common.params import load_section
    from marketplace.compute.arrays import ShardedArray
    from marketplace.embedding.extraction import embed_photos, embed_texts
    from marketplace.embedding.heads_model import HeadsModel
    from marketplace.embedding.paths import PathSpace
    from marketplace.embedding.projection import ExtractSettings
    from marketplace.inference.tail import Tail
    from marketplace.inference.trunk import Trunk
    from marketplace.texts.text_model import TextModel
    from marketplace.vectors.tables import write_embeddings, write_text_embeddings

    settings = load_section("extract", ExtractSettings)
    table = read_parquet(Path("data/clean/training_data.parquet"))
    images = ShardedArray(Path("data/resized/full"))
    trunk = Trunk(network=Path("models/trunk/full.onnx"), checkpoint=Path("models/pretrained.pt"))
    tail = Tail(Path("models/full.onnx"))
    heads = HeadsModel.load(Path("models/heads.onnx"), tail)
    path_space = PathSpace.load(Path("models/category_paths.npz"))

    text_model = Path("models/text_model")
    product_ids, texts = embed_texts(TextModel(text_model), path_space, table)
    write_text_embeddings(Path("data/text_embeddings.parquet"), product_ids, texts, text_model)

    vectors, predictions = embed_photos(trunk, tail, heads, table, images, settings)
    image_model = [Path("models/image_model.onnx")]
    write_embeddings(Path("data/embeddings.parquet"), table, vectors, predictions, image_model)


if __name__ == "__main__":
    run_stage(main, __doc__)
