"""From a fine-tuned network to a vector for every photo."""
