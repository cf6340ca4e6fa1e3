"""The settings of training: the sections train, train_small and train_full of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from marketplace.common.params import Section

Count = Annotated[int, Field(ge=1)]


class TrainSettings(Section):
    """What train_small and train_full have in common."""

    lr: Annotated[float, Field(gt=0, le=1)]
    schedule: Literal["constant", "one_cycle"]
    batch_size: Annotated[int, Field(ge=2)]
    patience: Count | None
    classifier: Literal["linear", "cosine"]
    leaf_weight: Annotated[float, Field(ge=0)]
    contrastive_weight: Annotated[float, Field(ge=0)]
    temperature: Annotated[float, Field(gt=0)]
    flip_probability: Annotated[float, Field(ge=0, le=1)]
    select: Literal["val_accuracy", "val_loss", "val_recall_at_1"]
    seed: Annotated[int, Field(ge=0)]
    keep_epochs: bool


class TrainSmallSettings(Section):
    """The stage on small images alone."""

    epochs: Count


class TrainFullSettings(Section):
    """The stage on full-sized images alone."""

    epochs: Count
    warm_start: bool
