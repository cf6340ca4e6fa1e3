"""Repair, correct and join the tables, check every photo, encode and split; rejects.csv lists what is left out."""

from pathlib import Path

from marketplace.common.console import run_stage


def main() -> None:
    """Run the stage."""
    from marketplace.catalogue.clean import CleanSettings, clean
    from marketplace.catalogue.correction_file import CORRECTIONS, read_corrections
    from marketplace.common.params import load_section

    dump = clean(Path("data/raw"), load_section("clean", CleanSettings), read_corrections(Path(CORRECTIONS)))
    dump.write(Path("data/clean"), metrics=Path("metrics/clean.json"))


if __name__ == "__main__":
    run_stage(main, __doc__)
