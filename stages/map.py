"""Lay out the catalogue in two dimensions, like beside like, for the map of `marketplace serve`."""

from pathlib import Path

from marketplace.common.console import run_stage


def main() -> None:
    """Run the stage."""
    from marketplace.common.params import load_section
    from marketplace.recommendation.catalogue import read_catalogue
    from marketplace.recommendation.catalogue_map import MAP, catalogue_map, write_map
    from marketplace.recommendation.table import RecommendSettings

    catalogue = read_catalogue(Path(), check_models=False)
    vectors = catalogue.similar(load_section("recommend", RecommendSettings).words)
    write_map(Path(MAP), catalogue_map(catalogue.products, vectors))


if __name__ == "__main__":
    run_stage(main, __doc__)
