"""Get the ImageNet weights once, so that they are versioned and no later stage needs a network connection."""

from pathlib import Path

from marketplace.stage import run_stage


def main() -> None:
    """Run the stage."""
    import torch

    from marketplace.checkpoints import save_pretrained
    from marketplace.networks import pretrained_network
    from marketplace.settings import load_settings

    settings = load_settings().model
    torch.manual_seed(0)  # weights of `none` are random, but the same in every clone
    network = pretrained_network(settings.backbone, settings.weights)
    save_pretrained(Path("models/pretrained.pt"), network, settings.weights)


if __name__ == "__main__":
    run_stage(main, __doc__)
