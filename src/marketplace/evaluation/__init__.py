"""Metrics and contact sheets of the model on the test split."""
