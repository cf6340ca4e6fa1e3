"""Training runs with a separate folder for each."""

from pathlib import Path

from helpers.networks import trunk_of
from marketplace.models.checkpoints import Checkpoint
from marketplace.training.data import TrainingData
from marketplace.training.recorder import Recorder
from marketplace.training.settings import TrainSettings
from marketplace.training.trainer import train

COLOURS = ["red", "green", "blue"]  # the categories of the fixture `data`
CATEGORIES = ["a", "b", "c", "d"]  # the categories of the fixture `network`


def train_in(
    start: Checkpoint, data: TrainingData, settings: TrainSettings, folder: Path, epochs: int = 3
) -> Checkpoint:
    """Train, and record in metrics/, logs/ and epochs/ of a folder."""
    with Recorder(folder / "metrics", folder / "logs", folder / "epochs") as recorder:
        return train(start, trunk_of(start, data.images.shape[1]), data, settings, epochs, recorder)
