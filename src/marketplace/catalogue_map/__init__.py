"""The map of the catalogue: products in two dimensions, like beside like."""
