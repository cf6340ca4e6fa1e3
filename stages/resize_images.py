"""Lay every kept photo, upright and whole, on a small and a full-sized square: data/resized/{small,full}.npy."""

from pathlib import Path

from marketplace.stage import run_stage


def main() -> None:
    """Run the stage."""
    import pandas as pd

    from marketplace.files import replacing
    from marketplace.resize import resize_shards
    from marketplace.settings import load_settings

    settings = load_settings().resize_images
    image_ids = pd.read_parquet("data/clean/training_data.parquet", columns=["image_id"])["image_id"].tolist()
    folder = Path("data/resized")
    with replacing(folder / "small.npy") as small, replacing(folder / "full.npy") as full:
        resize_shards(Path("data/raw/images"), image_ids, [(settings.small, small), (settings.full, full)])


if __name__ == "__main__":
    run_stage(main, __doc__)
