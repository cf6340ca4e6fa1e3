"""The networks: backbones, where they are cut, checkpoints, and the frozen trunk's features."""
