"""Lay out the catalogue in two dimensions, similar products near each other, for the map of `marketplace serve`."""

from pathlib import Path

from marketplace.common.console import run_stage


def main() -> None:
    """Run the stage."""
    from marketplace.catalogue_map.places import MAP, lay_out, product_vectors, write_map
    from marketplace.common.damage import read_parquet
    from marketplace.vectors.tables import read_embeddings, read_text_embeddings

    tables = ["data/clean/training_data.parquet", "data/embeddings.parquet", "data/text_embeddings.parquet"]
    photos = read_parquet(Path(tables[0]))
    kinds = read_embeddings(Path(tables[1]), photos).kind
    product_ids = sorted(photos["product_id"].unique())
    texts = read_text_embeddings(Path(tables[2]), product_ids).text
    write_map(Path(MAP), lay_out(product_ids, product_vectors(photos, kinds, texts)), tables)


if __name__ == "__main__":
    run_stage(main, __doc__)
