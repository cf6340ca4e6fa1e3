"""Repair the tables, open every photo, join, encode and split; what is not kept goes to rejects.csv with its reason."""

from pathlib import Path

from marketplace.stage import run_stage


def main() -> None:
    """Run the stage."""
    from marketplace.clean import clean
    from marketplace.settings import load_settings

    dump = clean(Path("data/raw"), load_settings().clean)
    dump.write(Path("data/clean"), metrics=Path("metrics/clean.json"))


if __name__ == "__main__":
    run_stage(main, __doc__)
