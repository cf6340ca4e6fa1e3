"""Strip the classifier from the fine-tuned network, and fit the formulas from its outputs, and from words, to vectors.

Frozen together with training (`dvc freeze train_small train_full fit`), it leaves the vectors of known listings as they
are when new ones arrive.
"""

from pathlib import Path

from marketplace.common.console import run_stage


def main() -> None:
    """Run the stage."""
    from marketplace.common.damage import read_parquet
    from marketplace.common.params import load_section
    from marketplace.compute.arrays import ShardedArray
    from marketplace.embedding.fitting import fit_image_model, fit_paths, fit_texts
    from marketplace.embedding.projection import ExtractSettings
    from marketplace.inference.tail import Tail
    from marketplace.inference.trunk import Trunk
    from marketplace.photos.codec import BACKGROUND
    from marketplace.texts.sentence_model import open_sentence_model

    settings = load_section("extract", ExtractSettings)
    table = read_parquet(Path("data/clean/training_data.parquet"))
    trunk = Trunk(network=Path("models/trunk/full.onnx"), checkpoint=Path("models/pretrained.pt"))
    tail = Tail(Path("models/full.onnx"))
    tail.check_chosen(Path("metrics/train_full/metrics.json"))

    path_space = fit_paths(table)
    path_space.save(Path("models/category_paths.npz"))
    sentence_model = Path("models/sentence_model")
    fit_texts(Path("models/text_model"), sentence_model, table, settings)
    title_dimensions = open_sentence_model(sentence_model, max_tokens=settings.max_tokens).dimensions

    images = ShardedArray(Path("data/resized/full"))
    image_model = fit_image_model(trunk, tail, table, images, path_space, title_dimensions, settings)
    image_model.heads_model().save(Path("models/heads.onnx"))
    image_model.save(Path("models/image_model.onnx"), background=BACKGROUND, extract=settings.model_dump())


if __name__ == "__main__":
    run_stage(main, __doc__)
