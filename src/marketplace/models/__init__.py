"""The networks: backbones, how they are cut into frozen and trained layers, and checkpoints."""
