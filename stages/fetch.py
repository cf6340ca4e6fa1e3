"""Fetch the dump: products.csv, images.csv, and the photos packed into tar shards."""

from pathlib import Path

from marketplace.common.console import run_stage


def main() -> None:
    """Run the stage."""
    from marketplace.common.params import load_section
    from marketplace.sources.dump import FetchSettings, open_dump
    from marketplace.sources.fetch import fetch

    settings = load_section("fetch", FetchSettings)
    fetch(open_dump(settings), Path("data/raw"), settings.shards, settings.limit)


if __name__ == "__main__":
    run_stage(main, __doc__)
