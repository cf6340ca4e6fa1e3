"""From a dirty marketplace dump to a fine-tuned image model, and from the model to similar products."""
