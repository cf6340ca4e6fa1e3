"""Networks that are run, not trained: the frozen layers and whole networks, once for an image."""
