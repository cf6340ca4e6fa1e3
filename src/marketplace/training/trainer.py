"""The training loop: fine-tune the tail and the head on frozen features, and keep the best epoch.

One function, `train`, serves both stages: small images from the pretrained network, and full-sized ones, from the
small run's chosen epoch if `train_full.warm_start` is on.
"""

import logging
import math
import os
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, OneCycleLR

from marketplace.common.errors import MarketplaceError
from marketplace.common.progress import progress_bar
from marketplace.inference.features import Features, FeatureStore, digest
from marketplace.inference.memory import keep_freed_memory
from marketplace.models import checkpoints
from marketplace.models.backbones import StateDict
from marketplace.models.checkpoints import Checkpoint
from marketplace.training.data import TrainingData, Views, batches, shuffled
from marketplace.training.losses import Predictions, TrainingLoss
from marketplace.training.recorder import Recorder
from marketplace.training.resume import ResumeState
from marketplace.training.settings import TrainSettings
from marketplace.training.validation import prefers, validate

log = logging.getLogger(__name__)


class State(TypedDict):
    """Everything that a training run consists of after an epoch: `train` continues from it as if never interrupted."""

    history: list[dict[str, float]]  # the figures of every epoch so far
    best: Checkpoint | None
    network: StateDict  # of tail and head
    optimiser: dict[str, object]
    schedule: dict[str, object]


def train(
    start: Checkpoint, data: TrainingData, settings: TrainSettings, epochs: int, recorder: Recorder
) -> Checkpoint:
    """Train from a checkpoint for at most `epochs` epochs and return the checkpoint of the chosen one.

    The optimiser is Adam and updates the tail and the head only; losses.py defines what it minimises. Everything random
    (the order of the images, the flips, a new classifier's weights) comes from `settings.seed`, epoch by epoch. A
    training run that was interrupted continues after its last finished epoch, with the same result.

    Raises MarketplaceError if the data cannot be trained on, or the loss is no longer finite.
    """
    data.check(settings.batch_size)
    trainer = Trainer(start, data, settings, epochs)
    resume_state = ResumeState(trainer.cache_key)
    state = resume_state.load()
    if state is None:
        trainer.begin()
    else:
        trainer.resume(state)
        log.info("resuming an interrupted training run after epoch %d", len(trainer.history))
        for epoch, figures in enumerate(trainer.history, start=1):
            recorder.epoch(epoch, figures)
            if settings.keep_epochs:
                recorder.weights(epoch, resume_state.weights(epoch))
    while not trainer.done:
        figures = trainer.next_epoch()
        epoch = len(trainer.history)
        recorder.epoch(epoch, figures)
        log.info("epoch %d/%d: %s", epoch, epochs, ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
        if settings.keep_epochs:
            weights = checkpoints.state_of(trainer.network)
            recorder.weights(epoch, weights)
            resume_state.keep_weights(epoch, weights)
        resume_state.save(trainer.state())
    best = trainer.best
    assert best is not None  # there is at least one epoch
    recorder.best(best["epoch"], best["figures"])
    log.info("chose epoch %d by %s: %.3f", best["epoch"], settings.select, best["figures"][settings.select])
    resume_state.clear()
    return best


class Trainer:
    """A network in training: `begin` or `resume`, then `next_epoch` until `done`."""

    def __init__(self, start: Checkpoint, data: TrainingData, settings: TrainSettings, epochs: int) -> None:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # CUDA's matrix products are deterministic with it
        keep_freed_memory()
        torch.manual_seed(settings.seed)
        torch.use_deterministic_algorithms(True)
        # Filling what is overwritten anyway would take 7 % of a step.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._leaves = data.leaves if settings.leaf_weight else []
        network = checkpoints.network_of(start, len(data.categories), settings.classifier, len(self._leaves))
        self.network = network.to(self.device)
        self._loss = TrainingLoss(settings.contrastive_weight, settings.temperature, settings.leaf_weight)
        self._start, self._data, self._settings, self._epochs = start, data, settings, epochs
        self._store = FeatureStore(self.network, data.images)
        trainable = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self._optimiser = torch.optim.Adam(trainable, lr=settings.lr, fused=True)
        steps = epochs * len(batches(data.train.rows, settings.batch_size))
        self._schedule = _schedule(self._optimiser, settings, steps)
        self.history: list[dict[str, float]] = []
        self.best: Checkpoint | None = None

    @property
    def cache_key(self) -> dict[str, object]:
        """Everything that determines the result."""
        data, tuned = self._data, self._tuned()
        arrays = [np.asarray(column) for split in (data.train, data.val) for column in split]
        return {
            **self._store.cache_key,
            "start": [digest(value.cpu().numpy()) for value in tuned.values()],
            "splits": [digest(array) for array in arrays],
            "categories": data.categories,
            "leaves": self._leaves,
            "settings": {name: getattr(self._settings, name) for name in sorted(TrainSettings.model_fields)},
            "epochs": self._epochs,
        }

    def begin(self) -> None:
        """Compute or find the features."""
        self._views, self._plain = self._features()

    def resume(self, state: State) -> None:
        """Continue from what `state` returned."""
        self._views, self._plain = self._features()
        self.history, self.best = state["history"], state["best"]
        self.network.load_state_dict(state["network"], strict=False)  # the trunk never moved
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])

    def state(self) -> State:
        """The state that `resume` continues from."""
        schedule = self._schedule.state_dict()
        return State(
            history=self.history,
            best=self.best,
            network=self._tuned(),
            optimiser=self._optimiser.state_dict(),
            schedule={name: value for name, value in schedule.items() if not name.startswith("_")},
        )

    @property
    def done(self) -> bool:
        """True if all epochs are finished, or too many have brought no improvement."""
        settings, epoch = self._settings, len(self.history)
        waited = epoch - self.best["epoch"] if self.best else 0
        return epoch >= self._epochs or (settings.patience is not None and waited >= settings.patience)

    def next_epoch(self) -> dict[str, float]:
        """Train on every image once, validate, and remember this epoch if it is the best; returns its figures."""
        epoch = len(self.history) + 1
        train_loss = self._train_epoch(epoch)
        validation = validate(self.network, self._plain, self._data.val)
        if not math.isfinite(validation.loss):
            raise MarketplaceError(
                f"the validation loss became {validation.loss} in epoch {epoch}: "
                f"lower train.lr (now {self._settings.lr:g})."
            )
        figures = {"train_loss": train_loss, "val_loss": validation.loss, "val_accuracy": validation.accuracy}
        if validation.recall_at_1 is not None:
            figures["val_recall_at_1"] = validation.recall_at_1
        elif self._settings.select == "val_recall_at_1":
            raise MarketplaceError(
                "train.select = val_recall_at_1 needs products with two photos in the validation split: "
                "set it to val_accuracy or val_loss."
            )
        self.history.append(figures)
        if self.best is None or prefers(self._settings.select, figures, self.best["figures"]):
            self.best = checkpoints.checkpoint_of(
                self.network,
                weights=self._start["weights"],
                size=self._data.images.shape[1],
                categories=self._data.categories,
                leaves=self._leaves,
                epoch=epoch,
                figures=figures,
            )
        return figures

    def _tuned(self) -> StateDict:
        state = self.network.state_dict()
        return {name: value for name, value in state.items() if not name.startswith("trunk.")}

    def _features(self) -> tuple[Views, Features]:
        # Of all splits: `extract` and `evaluate` then find them stored.
        plain = self._store.features()
        mirrored = self._store.features(mirrored=True) if self._settings.flip_probability else None
        return Views(plain, mirrored), plain

    def _train_epoch(self, epoch: int) -> float:
        """Train on every image once; the mean loss over the images, each as it was when its batch was seen."""
        self.network.train()
        split, settings = self._data.train, self._settings
        rng = np.random.default_rng([settings.seed, epoch])
        order = shuffled(split, rng, products_together=settings.contrastive_weight > 0)
        flips = rng.random(len(split.rows)) < settings.flip_probability
        total = torch.zeros((), device=self.device)
        what = f"epoch {epoch}/{self._epochs}"
        with progress_bar(total=len(order), description=what, unit="image") as bar:
            for batch in batches(order, settings.batch_size):
                loss = self._loss_of(batch, flips[batch])
                self._optimiser.zero_grad()
                loss.backward()
                self._optimiser.step()
                self._schedule.step()
                total += loss.detach() * len(batch)
                bar.update(len(batch))
        mean = total.item() / len(order)
        if not math.isfinite(mean):
            raise MarketplaceError(
                f"the training loss became {mean} in epoch {epoch}: lower train.lr (now {settings.lr:g})."
            )
        return mean

    def _loss_of(self, places: np.ndarray, flips: np.ndarray) -> Tensor:
        """The mean loss over training images, given by their places in the split, mirrored where `flips` is true."""
        network, split = self.network, self._data.train
        features = self._views(split.rows[places], flips).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            embeddings = network.tail(features)
            leaf_logits = network.leaves(embeddings) if network.leaves else None
            predicted = Predictions(embeddings, network.head(embeddings), leaf_logits)
            targets = (split.labels, split.leaves, split.products)
            loss: Tensor = self._loss(predicted, *(values[places].to(self.device) for values in targets))
        return loss


def _schedule(optimiser: torch.optim.Optimizer, settings: TrainSettings, steps: int) -> LRScheduler:
    if settings.schedule == "one_cycle":  # https://arxiv.org/abs/1708.07120
        return OneCycleLR(optimiser, max_lr=settings.lr, total_steps=steps)
    return ConstantLR(optimiser, factor=1.0)
