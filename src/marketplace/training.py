"""Fine-tune the tail and the head on frozen features, record every epoch, keep the one that is best.

One function, `train`, serves both trainings: on small images from the pretrained network, and on full-sized ones from
the small run's chosen epoch (a warm start).
"""

import ctypes
import logging
import math
import os
import sys
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, OneCycleLR
from torch.optim.swa_utils import update_bn
from tqdm import tqdm

from marketplace import checkpoints
from marketplace.checkpoints import Checkpoint
from marketplace.dataset import Split, TrainingData, Views, batches, shuffled
from marketplace.errors import MarketplaceError
from marketplace.features import Features, FeatureStore, digest
from marketplace.losses import TrainingLoss
from marketplace.networks import Network, StateDict
from marketplace.probe import linear_probe
from marketplace.recording import Recorder
from marketplace.scratch import Scratch
from marketplace.settings import TrainSettings

log = logging.getLogger(__name__)

EVALUATION_BATCH = 32


class State(TypedDict):
    """All that a training has become after an epoch; `train` goes on from it as if nothing had happened."""

    history: list[dict[str, float]]  # train_loss, val_loss and val_accuracy of every epoch so far
    best: Checkpoint | None
    network: StateDict  # of tail and head
    optimiser: dict[str, object]
    schedule: dict[str, object]


def train(start: Checkpoint, data: TrainingData, settings: TrainSettings, recorder: Recorder) -> Checkpoint:
    """Train from a checkpoint for at most `settings.epochs` epochs and return the checkpoint of the chosen one.

    The optimiser is Adam, and sees the tail and the head alone; losses.py says what it minimises. What is random (the
    order of the images, the flips, the start of a new classifier) comes from `settings.seed`, epoch by epoch. A
    training that was interrupted goes on after its last finished epoch, and gives what it would have given.

    Raises MarketplaceError when the data cannot be trained on, or the loss is no longer finite.
    """
    data.check(settings.batch_size)
    if settings.linear_probe and settings.classifier != "linear":
        raise MarketplaceError("train.linear_probe = true works with train.classifier = linear only: set one of them.")
    training = Training(start, data, settings)
    scratch = Scratch(training.facts)
    if (state := scratch.load()) is not None:
        training.resume(state)
        log.info("an interrupted training goes on after epoch %d", len(training.history))
        for epoch, figures in enumerate(training.history, start=1):
            recorder.epoch(epoch, figures)
            if settings.keep_epochs:
                recorder.weights(epoch, scratch.weights(epoch))
    else:
        training.begin()
    while not training.done:
        figures = training.next_epoch()
        epoch = len(training.history)
        recorder.epoch(epoch, figures)
        log.info(
            "epoch %d/%d: training loss %.3f, validation loss %.3f, validation accuracy %.3f",
            epoch, settings.epochs, figures["train_loss"], figures["val_loss"], figures["val_accuracy"],
        )  # fmt: skip
        if settings.keep_epochs:
            weights = checkpoints.state_of(training.network)
            recorder.weights(epoch, weights)
            scratch.keep_weights(epoch, weights)
        scratch.save(training.state())
    best = training.best
    assert best is not None  # settings allow no fewer than one epoch
    recorder.best(best["epoch"], best["figures"])
    scratch.clear()
    return best


class Training:
    """A network in training: `begin` or `resume`, then `next_epoch` until `done`."""

    def __init__(self, start: Checkpoint, data: TrainingData, settings: TrainSettings) -> None:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # CUDA's matrix products are deterministic with it
        _keep_freed_memory()
        torch.manual_seed(settings.seed)
        torch.use_deterministic_algorithms(True)
        # Filling what is overwritten anyway would take 7 % of a step.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = checkpoints.network_of(start, len(data.categories), settings.classifier).to(self.device)
        self._loss = TrainingLoss(settings.contrastive_weight, settings.temperature)
        self._start, self._data, self._settings = start, data, settings
        self._store = FeatureStore(self.network, data.images)
        trainable = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self._optimiser = torch.optim.Adam(trainable, lr=settings.lr, fused=True)
        steps = settings.epochs * len(batches(data.train.rows, settings.batch_size))
        self._schedule = _schedule(self._optimiser, settings, steps)
        self.history: list[dict[str, float]] = []
        self.best: Checkpoint | None = None

    @property
    def facts(self) -> dict[str, object]:
        """All that determines the result."""
        data, tuned = self._data, self._tuned()
        arrays = [np.asarray(column) for split in (data.train, data.val) for column in split]
        names = set(TrainSettings.model_fields) - {"feature_cache_gib"}
        return {
            **self._store.facts,
            "start": [digest(value.cpu().numpy()) for value in tuned.values()],
            "splits": [digest(array) for array in arrays],
            "categories": data.categories,
            "settings": {name: getattr(self._settings, name) for name in sorted(names)},
        }

    def begin(self) -> None:
        """Compute or find the features, and fit the linear probe if one is asked for."""
        self._views, self._plain = self._features()
        if self._settings.linear_probe:
            self._fit_probe()

    def resume(self, state: State) -> None:
        """Become what `state` says."""
        self._views, self._plain = self._features()
        self.history, self.best = state["history"], state["best"]
        self.network.load_state_dict(state["network"], strict=False)  # the trunk never moved
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])

    def state(self) -> State:
        """What `resume` takes."""
        return State(
            history=self.history, best=self.best, network=self._tuned(), optimiser=self._optimiser.state_dict(),
            schedule={name: value for name, value in self._schedule.state_dict().items() if not name.startswith("_")},
        )  # fmt: skip

    @property
    def done(self) -> bool:
        """Whether all epochs are through, or too many have brought nothing better."""
        settings, epoch = self._settings, len(self.history)
        waited = epoch - self.best["epoch"] if self.best else 0
        return epoch >= settings.epochs or (settings.patience is not None and waited >= settings.patience)

    def next_epoch(self) -> dict[str, float]:
        """Train on every image once, evaluate, and note whether this epoch is the best; its figures."""
        epoch = len(self.history) + 1
        train_loss = self._train_epoch(epoch)
        val_loss, val_accuracy = evaluate(self.network, self._plain, self._data.val)
        if not math.isfinite(val_loss):
            raise MarketplaceError(
                f"the validation loss became {val_loss} in epoch {epoch}: lower train.lr (now {self._settings.lr:g})."
            )
        figures = {"train_loss": train_loss, "val_loss": val_loss, "val_accuracy": val_accuracy}
        self.history.append(figures)
        if self.best is None or prefers(self._settings.select, figures, self.best["figures"]):
            self.best = checkpoints.checkpoint_of(
                self.network, weights=self._start["weights"], size=self._data.images.shape[1],
                categories=self._data.categories, epoch=epoch, figures=figures,
            )  # fmt: skip
        return figures

    def _tuned(self) -> StateDict:
        state = self.network.state_dict()
        return {name: value for name, value in state.items() if not name.startswith("trunk.")}

    def _features(self) -> tuple[Views, Features]:
        every = np.arange(
            len(self._data.images)
        )  # of all splits, both views: `extract` and `evaluate` find them stored
        room = self._settings.feature_cache_gib
        plain = self._store.features(every, room_gib=room)
        if self._settings.flip_probability == 0:
            return Views(plain, None), plain
        return Views(plain, self._store.features(every, mirrored=True, room_gib=room)), plain

    def _fit_probe(self) -> None:
        """Fit the classifier to what the tail gives, with BatchNorm statistics of these images instead of ImageNet's.

        Training normalises by the statistics of its batches, so a probe on others would be wrong from the first step.
        """
        train, val = self._data.train, self._data.val
        in_batches = np.array_split(train.rows, max(1, len(train.rows) // EVALUATION_BATCH))
        update_bn((self._plain(rows).to(self.device) for rows in in_batches), self.network.tail)
        inputs, val_inputs = (
            outputs(self.network, self.network.get_submodule("head.imagenet"), self._plain, split.rows)
            for split in (train, val)
        )
        weight, bias = linear_probe(inputs, train.labels, val_inputs, val.labels)
        layer = self.network.get_submodule(checkpoints.CATEGORIES)
        layer.load_state_dict({"weight": weight, "bias": bias})
        loss, accuracy = evaluate(self.network, self._plain, val)
        log.info("linear probe: validation loss %.3f, validation accuracy %.3f", loss, accuracy)

    def _train_epoch(self, epoch: int) -> float:
        """Train on every image once; the mean loss over the images, each as it was when its batch was seen."""
        network, split, settings = self.network.train(), self._data.train, self._settings
        rng = np.random.default_rng([settings.seed, epoch])
        order = shuffled(split, rng, products_together=settings.contrastive_weight > 0)
        flips = rng.random(len(split.rows)) < settings.flip_probability
        total = torch.zeros((), device=self.device)
        with tqdm(total=len(order), desc=f"epoch {epoch}/{settings.epochs}", unit="image", mininterval=0.5) as progress:
            for batch in batches(order, settings.batch_size):
                features = self._views(split.rows[batch], flips[batch]).to(self.device)
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                    embeddings = network.tail(features)
                    labels, products = (column[batch].to(self.device) for column in (split.labels, split.products))
                    loss = self._loss(embeddings, network.head(embeddings), labels, products)
                self._optimiser.zero_grad(set_to_none=True)
                loss.backward()
                self._optimiser.step()
                self._schedule.step()
                total += loss.detach() * len(batch)
                progress.update(len(batch))
        mean = total.item() / len(order)
        if not math.isfinite(mean):
            raise MarketplaceError(
                f"the training loss became {mean} in epoch {epoch}: lower train.lr (now {settings.lr:g})."
            )
        return mean


def _keep_freed_memory() -> None:
    """Have glibc keep what is freed: else it goes back to the system, which zeroes it for the next batch's layers.

    A tenth to a quarter of an epoch went there. https://man7.org/linux/man-pages/man3/mallopt.3.html
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        trim_threshold, mmap_threshold = -1, -3
        libc.mallopt(trim_threshold, 2**30)
        libc.mallopt(mmap_threshold, 2**30)


def _schedule(optimiser: torch.optim.Optimizer, settings: TrainSettings, steps: int) -> LRScheduler:
    if settings.schedule == "one_cycle":  # https://arxiv.org/abs/1708.07120
        return OneCycleLR(optimiser, max_lr=settings.lr, total_steps=steps)
    return ConstantLR(optimiser, factor=1.0)


def prefers(select: str, new: dict[str, float], old: dict[str, float]) -> bool:
    """Whether `train.select` prefers the epoch with the figures `new` to an earlier one with `old`.

    `val_accuracy`: the higher accuracy, then the lower loss; `val_loss`: the lower loss. On a tie the earlier stays.
    """
    if select == "val_accuracy" and new["val_accuracy"] != old["val_accuracy"]:
        return new["val_accuracy"] > old["val_accuracy"]
    return new["val_loss"] < old["val_loss"]


@torch.inference_mode()
def outputs(network: Network, layer: torch.nn.Module, features: Features, rows: np.ndarray) -> Tensor:
    """What `layer` gives, `(N, D) float32` in main memory, for the tail's embeddings of the given rows."""
    network.eval()
    device = next(network.parameters()).device
    starts = range(0, len(rows), EVALUATION_BATCH)
    parts = [layer(network.tail(features(rows[start : start + EVALUATION_BATCH]).to(device))) for start in starts]
    return torch.cat(parts).float().cpu()


def evaluate(network: Network, features: Features, split: Split) -> tuple[float, float]:
    """(cross-entropy, accuracy) on a split, means over its images."""
    logits = outputs(network, network.head, features, split.rows).double()
    loss = F.cross_entropy(logits, split.labels).item()
    return loss, (logits.argmax(dim=1) == split.labels).double().mean().item()
