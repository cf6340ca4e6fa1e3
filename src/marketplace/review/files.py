"""The paths of the files that say how good a pipeline's results are, from the repository's root.

Those of the tables and models are in `recommendation/fingerprints.py`.
"""

SUMMARY = "metrics/summary.json"  # the metrics that decide
NOISE = "metrics/noise.json"  # written by `marketplace noise`, not by a stage
COUNTS = "metrics/clean.json"
TRAINING = "metrics/train_full/metrics.json"
PER_CATEGORY = "metrics/evaluate/per_category.json"
TRACKED_PRODUCTS = "metrics/tracked_products.json"
