"""The settings of training: the sections train, train_small and train_full of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from marketplace.common.params import Section

Count = Annotated[int, Field(ge=1)]


class TrainSettings(Section):
    """The settings that train_small and train_full share."""

    lr: Annotated[float, Field(gt=0, le=1)]
    schedule: Literal["constant", "one_cycle"]
    batch_size: Annotated[int, Field(ge=2)]
    precision: Literal["float32", "bfloat16"]
    patience: Count | None
    classifier: Literal["linear", "cosine"]
    leaf_weight: Annotated[float, Field(ge=0)]
    contrastive_weight: Annotated[float, Field(ge=0)]
    temperature: Annotated[float, Field(gt=0)]
    title_weight: Annotated[float, Field(ge=0)]
    title_temperature: Annotated[float, Field(gt=0)]
    title_target_temperature: Annotated[float, Field(gt=0)]
    flip_probability: Annotated[float, Field(ge=0, le=1)]
    select: Literal["val_accuracy", "val_loss", "val_recall_at_1"]
    seed: Annotated[int, Field(ge=0)]


class TrainSmallSettings(Section):
    """Training on small images."""

    epochs: Count


class TrainFullSettings(Section):
    """Training on full-sized images."""

    epochs: Count
    warm_start: bool
