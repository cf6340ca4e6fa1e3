"""Bring the dump here: products.csv, images.csv and the photos, packed into tar shards."""

from pathlib import Path

from marketplace.stage import run_stage


def main() -> None:
    """Run the stage."""
    from marketplace.fetch import fetch
    from marketplace.settings import load_settings
    from marketplace.sources import open_dump

    settings = load_settings().fetch
    fetch(open_dump(settings), Path("data/raw"), settings.shards, settings.limit)


if __name__ == "__main__":
    run_stage(main, __doc__)
