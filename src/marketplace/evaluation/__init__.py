"""How good the model is on the test split."""
