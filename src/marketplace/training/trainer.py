"""The training loop: fine-tune the tail and the head on frozen features, and keep the best epoch.

    image ----trunk---> features --tail--> embedding --head----> logits of the root categories
           (frozen, and                       |
            stored once)                      +-------leaves---> logits of the leaf categories
                                              +-------title----> vector of the title

`train` serves both stages: small images from the pretrained network, and full-sized ones from the small run's chosen
epoch if `train_full.warm_start` is on.
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
from marketplace.compute.processor import has_bfloat16
from marketplace.compute.recipe import digest
from marketplace.inference.features import FeatureStore
from marketplace.inference.memory import keep_freed_memory
from marketplace.inference.trunk import Trunk
from marketplace.models import checkpoints
from marketplace.models.backbones import StateDict
from marketplace.models.checkpoints import Checkpoint
from marketplace.training.data import TrainingData, Views, cut_into_batches, shuffle
from marketplace.training.feature_tensors import open_features
from marketplace.training.losses import Predictions, Targets, TrainingLoss
from marketplace.training.recorder import Recorder
from marketplace.training.resume import ResumeState
from marketplace.training.settings import TrainSettings
from marketplace.training.validation import prefers, validate

log = logging.getLogger(__name__)


class State(TypedDict):
    """The whole state of a training run between two epochs."""

    history: list[dict[str, float]]  # the figures of every epoch so far
    best: Checkpoint | None
    network: StateDict  # tail and head; the trunk never moves
    optimiser: dict[str, object]
    schedule: dict[str, object]


def train(
    start: Checkpoint, trunk: Trunk, data: TrainingData, settings: TrainSettings, epochs: int, recorder: Recorder
) -> Checkpoint:
    """Train from a checkpoint for at most `epochs` epochs and return the checkpoint of the chosen one.

    `trunk` is the checkpoint's, for images of this size.

    Adam updates the tail and the head only; losses.py defines the loss that it minimises. All randomness (the order of
    the images, the flips, a new classifier's weights) comes from `settings.seed`, epoch by epoch. A training run that
    was interrupted continues after its last finished epoch, with the same result.

    Raises MarketplaceError if the data cannot be trained on, the machine lacks the precision, or the loss is no longer
    finite.
    """
    data.check(settings.batch_size)
    trainer = Trainer(start, trunk, data, settings, epochs)
    resume_state = ResumeState(trainer.cache_key)
    saved = resume_state.load()
    if saved is not None:
        trainer.load_state(saved)
        log.info("resuming an interrupted training run after epoch %d", len(trainer.history))
        for epoch, figures in enumerate(trainer.history, start=1):  # their records are gone
            recorder.record_epoch(epoch, figures)

    while not trainer.is_done:
        figures = trainer.train_epoch()
        epoch = len(trainer.history)
        log.info("epoch %d/%d: %s", epoch, epochs, ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
        recorder.record_epoch(epoch, figures)
        resume_state.save(trainer.state())

    best = trainer.best
    assert best is not None  # there is at least one epoch
    log.info("chose epoch %d by %s: %.3f", best["epoch"], settings.select, best["figures"][settings.select])
    recorder.record_best_epoch(best["epoch"], best["figures"])
    resume_state.clear()
    return best


class Trainer:
    """A network in training: call `train_epoch` until `is_done`; `best` is then the chosen checkpoint."""

    def __init__(
        self, start: Checkpoint, trunk: Trunk, data: TrainingData, settings: TrainSettings, epochs: int
    ) -> None:
        self._start = start
        self._data = data
        self._settings = settings
        self._epochs = epochs
        self._leaves = data.leaves if settings.leaf_weight else []
        self.history: list[dict[str, float]] = []  # the figures of every epoch so far
        self.best: Checkpoint | None = None

        _make_deterministic(settings.seed)
        keep_freed_memory()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        _check_precision(settings.precision, self.device)
        titles = data.titles.vectors if data.titles else None
        network = checkpoints.network_of(
            start,
            n_categories=len(data.categories),
            classifier=settings.classifier,
            n_leaves=len(self._leaves),
            title_dimensions=0 if titles is None else titles.shape[1],
        )
        self.network = network.to(self.device)

        # Features of all splits, so that `extract` and `evaluate` find them stored.
        self._store = FeatureStore(trunk, data.images)
        self._plain = open_features(self._store.features(), self.device)
        mirrored = None
        if settings.flip_probability:
            mirrored = open_features(self._store.features(mirrored=True), self.device)
        self._views = Views(self._plain, mirrored)

        self._loss = TrainingLoss(settings, titles).to(self.device)
        trainable = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self._optimiser = torch.optim.Adam(trainable, lr=settings.lr, fused=True)
        n_steps = epochs * len(cut_into_batches(data.train.rows, settings.batch_size))
        self._schedule = _create_schedule(self._optimiser, settings, n_steps)

    @property
    def is_done(self) -> bool:
        """True after the last epoch, or after `patience` epochs without an improvement."""
        epoch = len(self.history)
        if epoch >= self._epochs:
            return True
        patience = self._settings.patience
        return patience is not None and self.best is not None and epoch - self.best["epoch"] >= patience

    def train_epoch(self) -> dict[str, float]:
        """Train on every image once, validate, and keep this epoch if it is the best so far; return its figures."""
        epoch = len(self.history) + 1
        figures = {"train_loss": self._train(epoch), **self._validate(epoch)}
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

    def _train(self, epoch: int) -> float:
        """Train on every image once; return the mean of the losses that the images had in their batches."""
        split = self._data.train
        settings = self._settings
        rng = np.random.default_rng([settings.seed, epoch])
        order = shuffle(split, rng, products_together=self._loss.needs_pairs)  # (N,) places in the split
        flips = rng.random(len(split.rows)) < settings.flip_probability  # (N,) bool

        self.network.train()
        total = torch.zeros((), device=self.device)  # a tensor: reading a number every step would make a GPU wait
        with progress_bar(total=len(order), description=f"epoch {epoch}/{self._epochs}", unit="image") as progress:
            for batch in cut_into_batches(order, settings.batch_size):  # (B,) places in the split
                self._optimiser.zero_grad()
                loss = self._compute_loss(batch, flips[batch])
                loss.backward()
                self._optimiser.step()
                self._schedule.step()
                total += loss.detach() * len(batch)
                progress.update(len(batch))

        mean = total.item() / len(order)
        self._check_finite("training", mean, epoch)
        return mean

    def _compute_loss(self, places: np.ndarray, flips: np.ndarray) -> Tensor:
        """The mean loss `()` of training images, given by their places `(B,)` and whether each is mirrored `(B,)`."""
        split = self._data.train
        titles = self._data.titles
        targets = Targets(
            labels=split.labels[places].to(self.device),
            leaves=split.leaves[places].to(self.device),
            products=split.products[places].to(self.device),
            titles=titles.of_photo[places].to(self.device) if titles else None,
        )
        features = self._views(split.rows[places], flips).to(self.device)  # (B, C, H, W)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._settings.precision == "bfloat16"):
            embeddings = self.network.tail(features)  # (B, D)
            predictions = Predictions(
                embeddings=embeddings,
                logits=self.network.head(embeddings),
                leaf_logits=self.network.leaves(embeddings) if self.network.leaves else None,
                titles=self.network.title(embeddings) if self.network.title else None,
            )
            return self._loss(predictions, targets)

    def _validate(self, epoch: int) -> dict[str, float]:
        """Measure the network on the validation split; return its figures by name."""
        validation = validate(self.network, self._plain, self._data.val)
        self._check_finite("validation", validation.loss, epoch)
        figures = {"val_loss": validation.loss, "val_accuracy": validation.accuracy}
        if validation.recall_at_1 is not None:
            figures["val_recall_at_1"] = validation.recall_at_1
        elif self._settings.select == "val_recall_at_1":
            raise MarketplaceError(
                "train.select = val_recall_at_1 needs products with two photos in the validation split: "
                "set it to val_accuracy or val_loss."
            )
        return figures

    def _check_finite(self, name: str, loss: float, epoch: int) -> None:
        if not math.isfinite(loss):
            raise MarketplaceError(
                f"the {name} loss became {loss} in epoch {epoch}: lower train.lr (now {self._settings.lr:g})."
            )

    @property
    def cache_key(self) -> dict[str, object]:
        """Everything that determines the result, except the code."""
        columns = [np.asarray(column) for split in (self._data.train, self._data.val) for column in split]
        return {
            **self._store.cache_key,
            "start": [digest(value.cpu().numpy()) for value in self._weights().values()],
            "splits": [digest(column) for column in columns],
            "categories": self._data.categories,
            "leaves": self._leaves,
            "titles": [digest(values.numpy()) for values in _title_tensors(self._data)],
            "settings": self._settings.model_dump(),
            "epochs": self._epochs,
        }

    def state(self) -> State:
        """The state that `load_state` continues from."""
        schedule = self._schedule.state_dict()
        return State(
            history=self.history,
            best=self.best,
            network=self._weights(),
            optimiser=self._optimiser.state_dict(),
            schedule={name: value for name, value in schedule.items() if not name.startswith("_")},
        )

    def load_state(self, state: State) -> None:
        """Continue from a state that `state` returned."""
        self.history = state["history"]
        self.best = state["best"]
        self.network.load_state_dict(state["network"], strict=False)  # the trunk never moved
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])

    def _weights(self) -> StateDict:
        """The weights and statistics of the tail and the head, which training changes; not copied."""
        state = self.network.state_dict()
        return {name: value for name, value in state.items() if not name.startswith("trunk.")}


def _title_tensors(data: TrainingData) -> list[Tensor]:
    return [data.titles.vectors, data.titles.of_photo] if data.titles else []


def _check_precision(precision: str, device: torch.device) -> None:
    if precision == "bfloat16" and device.type == "cpu" and not has_bfloat16():
        raise MarketplaceError(
            "train.precision = bfloat16 needs a processor with AVX512-BF16 or AMX, or a GPU; this machine has none. "
            "Set it to float32."
        )


def _make_deterministic(seed: int) -> None:
    """Seed PyTorch, and have it give the same bytes in every run on the same machine."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # CUDA's matrix products are deterministic with it
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    # Filling memory that is overwritten anyway would take 7 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def _create_schedule(optimiser: torch.optim.Optimizer, settings: TrainSettings, n_steps: int) -> LRScheduler:
    if settings.schedule == "one_cycle":  # https://arxiv.org/abs/1708.07120
        return OneCycleLR(optimiser, max_lr=settings.lr, total_steps=n_steps)
    return ConstantLR(optimiser, factor=1.0)
