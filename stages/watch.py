"""List the source's files, so that `fetch` runs when they have changed. Only with `watch: [source]`."""

from pathlib import Path

from marketplace.common.console import run_stage


def main() -> None:
    """Run the stage."""
    from marketplace.common.params import load_section
    from marketplace.sources.dump import FetchSettings
    from marketplace.sources.watch import watch_source

    watch_source(load_section("fetch", FetchSettings), Path("data/source.json"))


if __name__ == "__main__":
    run_stage(main, __doc__)
