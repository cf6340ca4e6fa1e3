"""The map of the catalogue: products in two dimensions, similar ones near each other."""
