"""Save the ImageNet weights and the sentence model once: they are versioned, and no later stage needs a network."""

from pathlib import Path

from marketplace.common.console import run_stage


def main() -> None:
    """Run the stage."""
    import torch

    from marketplace.common.params import load_section
    from marketplace.models.backbones import ModelSettings
    from marketplace.models.checkpoints import save_pretrained
    from marketplace.models.network import build_pretrained_network
    from marketplace.pretrained.sentence_model import write_sentence_model

    settings = load_section("model", ModelSettings)
    write_sentence_model(Path("models/sentence_model"), settings.sentence_model)
    torch.manual_seed(0)  # the weights `none` are random, but the same in every clone
    network = build_pretrained_network(settings.backbone, settings.weights)
    save_pretrained(Path("models/pretrained.pt"), network, settings.weights)


if __name__ == "__main__":
    run_stage(main, __doc__)
