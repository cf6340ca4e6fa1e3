"""The records of a training run: DVCLive's metrics, curves and TensorBoard logs."""

import os
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import Self

import pandas as pd
from dvclive.live import Live
from torch.utils.tensorboard import SummaryWriter

from marketplace.common.files import remove, replacing, write_json
from marketplace.training.mlflow_run import MlflowRun


def tensorboard_folder(stage: str) -> Path:
    """Return the folder for a stage's TensorBoard logs: one for each experiment, even if it runs in a copy (--temp).

    DVC names the experiment and the repository: https://dvc.org/doc/user-guide/env
    """
    root = Path(os.environ.get("DVC_ROOT", ""))
    return root / "logs" / os.environ.get("DVC_EXP_NAME", "workspace") / stage


class Recorder:
    """Records a training run.

    `metrics` is for DVC: metrics.json, and epochs.json, from which it draws the curves. `logs`/{train,val} are for
    TensorBoard; `epochs` gets epochs.csv. Everything also goes to an MLflow server if the environment names one.
    """

    def __init__(self, metrics: Path, logs: Path, epochs: Path) -> None:
        self._mlflow = MlflowRun.from_environment(logs.name)
        remove(logs)  # TensorBoard would draw an earlier run over this one
        remove(epochs)
        epochs.mkdir(parents=True)
        self._metrics = metrics
        self._epochs = epochs
        self._rows: list[dict[str, float]] = []  # one for each epoch
        # Otherwise DVCLive would rewrite dvc.yaml and save an experiment itself.
        self._live = Live(str(metrics), dvcyaml=None, save_dvc_exp=False, report=None)
        self._writers = {split: SummaryWriter(str(logs / split)) for split in ("train", "val")}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._writers.values():
            writer.close()
        self._live.end()
        if self._mlflow is not None:
            self._mlflow.end(failed=error is not None)
        if error is not None:  # TensorBoard's logs stay, to find the cause
            remove(self._metrics)
            remove(self._epochs)

    def record_epoch(self, epoch: int, figures: dict[str, float]) -> None:
        """Record an epoch's figures, such as train_loss and val_accuracy; `epoch` counts from 1."""
        self._rows.append({"epoch": epoch, **figures})
        curves = [{name: value if isfinite(value) else None for name, value in row.items()} for row in self._rows]
        write_json(self._metrics / "epochs.json", curves)
        self._live.step = epoch
        for name, value in figures.items():
            split, quantity = name.split("_", 1)
            self._live.log_metric(f"{split}/{quantity}", value, plot=False)  # epochs.json has the curves
            self._writers[split].add_scalar(quantity, value, epoch)
        self._live.make_summary()
        if self._mlflow is not None:
            self._mlflow.send_epoch(epoch, figures)

    def record_best_epoch(self, epoch: int, figures: dict[str, float]) -> None:
        """Record which epoch was chosen, with its figures, as best/epoch, best/train_loss and so on."""
        table = pd.DataFrame(self._rows)
        table["chosen"] = table["epoch"] == epoch
        with replacing(self._epochs / "epochs.csv") as part:
            table.to_csv(part, index=False, lineterminator="\n")
        self._live.summary["best"] = {"epoch": epoch, **figures}
        self._live.make_summary()
        if self._mlflow is not None:
            self._mlflow.send_best_epoch(epoch, figures)
