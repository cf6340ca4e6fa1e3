"""Lay out the catalogue in two dimensions, similar products near each other, for the map of `marketplace serve`."""

from pathlib import Path

from marketplace.common.console import run_stage


def main() -> None:
    """Run the stage."""
    import pandas as pd

    from marketplace.catalogue_map.places import MAP, lay_out, product_vectors, write_map
    from marketplace.common.damage import reading
    from marketplace.vectors.tables import read_embeddings, read_text_embeddings

    training_data = Path("data/clean/training_data.parquet")
    with reading(training_data):
        photos = pd.read_parquet(training_data)
    kinds = read_embeddings(Path("data/embeddings.parquet"), photos).kind
    product_ids = sorted(photos["product_id"].unique())
    texts = read_text_embeddings(Path("data/text_embeddings.parquet"), product_ids).text
    write_map(Path(MAP), lay_out(product_ids, product_vectors(photos, kinds, texts)))


if __name__ == "__main__":
    run_stage(main, __doc__)
