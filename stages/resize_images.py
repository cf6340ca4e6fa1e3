"""Scale every kept photo, upright and whole, onto a small and a full-sized square: data/resized/{small,full}/."""

from pathlib import Path

from marketplace.common.console import run_stage


def main() -> None:
    """Run the stage."""
    from marketplace.common.damage import read_parquet
    from marketplace.common.files import replacing
    from marketplace.common.params import load_section
    from marketplace.photos.squares import ResizeSettings, resize_shards

    settings = load_section("resize_images", ResizeSettings)
    photos = read_parquet(Path("data/clean/training_data.parquet"), columns=["file", "shard"])
    folder = Path("data/resized")
    with replacing(folder / "small") as small, replacing(folder / "full") as full:
        resize_shards(Path("data/raw/images"), photos, {small: settings.small, full: settings.full})


if __name__ == "__main__":
    run_stage(main, __doc__)
