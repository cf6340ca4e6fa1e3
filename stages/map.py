"""Lay out the catalogue in two dimensions, like beside like, for the map of `marketplace serve`."""

from pathlib import Path

from marketplace.common.console import run_stage


def main() -> None:
    """Run the stage."""
    import pandas as pd

    from marketplace.catalogue_map.places import MAP, catalogue_map, product_vectors, write_map
    from marketplace.vectors.tables import read_embeddings, read_text_embeddings

    photos = pd.read_parquet("data/clean/training_data.parquet")
    kinds = read_embeddings(Path("data/embeddings.parquet"), photos).kind
    in_order = sorted(photos["product_id"].unique())
    texts = read_text_embeddings(Path("data/text_embeddings.parquet"), in_order)
    write_map(Path(MAP), catalogue_map(*product_vectors(photos, kinds, texts)))


if __name__ == "__main__":
    run_stage(main, __doc__)
