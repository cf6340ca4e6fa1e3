"""The networks: backbones, checkpoints, and the frozen trunk's features."""
