"""The paths of the files with metrics, from the repository's root.

recommendation/fingerprints.py has the paths of the tables and models.
"""

SUMMARY = "metrics/summary.json"  # the metrics that policy.yaml judges
JUDGED = "metrics/judged.json"  # the quality of every judged question
NOISE = "metrics/noise.json"  # written by `marketplace noise`, not by a stage
COUNTS = "metrics/clean.json"  # rows and files that `clean` kept and left out
TRAINING = "metrics/train_full/metrics.json"
PER_CATEGORY = "metrics/evaluate/per_category.json"
BY_PRODUCT = ("metrics/evaluate/by_product.json", "metrics/recommend/by_product.json")  # the metrics of test products
TRACKED_PRODUCTS = "metrics/tracked_products.json"
TRACKED_PICTURES = "metrics/tracked_products"  # a folder with a picture of each
