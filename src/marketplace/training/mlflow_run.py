"""An MLflow run beside DVCLive's records, where $MLFLOW_TRACKING_URI names a server; without it, nothing happens."""

import logging
import os
import time
from collections.abc import Callable
from typing import Any, Self

from marketplace.common.errors import MarketplaceError, first_line
from marketplace.common.params import read_params

log = logging.getLogger(__name__)

URI, EXPERIMENT = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"  # environment variables, as MLflow reads them
# By default, MLflow would wait for minutes for a server that is gone.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
SECTIONS = ("model", "resize_images", "train")


class MlflowRun:
    """A run on an MLflow server: parameters, the metrics of each epoch, and the chosen epoch.

    A server that cannot be reached at the start ends the training before it begins; one that is lost later is warned
    of, once, and training goes on.
    """

    def __init__(self, uri: str, stage: str) -> None:
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        try:
            from mlflow import MlflowClient
        except ImportError:
            raise MarketplaceError(
                f"MLflow's client is not installed: `pip install -r requirements.lock`, or unset ${URI}."
            ) from None
        name = os.environ.get(EXPERIMENT, "marketplace")
        self._client = MlflowClient(uri)
        self._lost = False
        try:
            known = self._client.get_experiment_by_name(name)
            experiment = known.experiment_id if known else self._client.create_experiment(name)
            tags = {"dvc.stage": stage, "dvc.baseline": os.environ.get("DVC_EXP_BASELINE_REV", "")}
            run_name = f"{os.environ.get('DVC_EXP_NAME', 'workspace')}, {stage}"
            self._id = self._client.create_run(experiment, run_name=run_name, tags=tags).info.run_id
            self._log_params(stage)
        except Exception as error:  # MLflow's own, those of requests and of its stores
            raise MarketplaceError(
                f"the MLflow server at {uri} does not answer as it should ({first_line(error)}): is it running, and "
                f"is the address right? Without ${URI}, nothing is sent."
            ) from None

    @classmethod
    def from_environment(cls, stage: str) -> Self | None:
        """A run for a stage on the server that the environment names, or None."""
        uri = os.environ.get(URI, "").strip()
        return cls(uri, stage) if uri else None

    def epoch(self, epoch: int, figures: dict[str, float]) -> None:
        """Send an epoch's figures."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(name, float(value), now, epoch) for name, value in figures.items()]
        self._sent(lambda: self._client.log_batch(self._id, metrics=metrics))

    def best(self, epoch: int, figures: dict[str, float]) -> None:
        """Send the chosen epoch and its figures."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        chosen = {"best_epoch": float(epoch)} | {f"best_{name}": float(value) for name, value in figures.items()}
        metrics = [Metric(name, value, now, 0) for name, value in chosen.items()]
        self._sent(lambda: self._client.log_batch(self._id, metrics=metrics))

    def end(self, *, failed: bool) -> None:
        """Close the run."""
        self._sent(lambda: self._client.set_terminated(self._id, "FAILED" if failed else "FINISHED"))

    def _log_params(self, stage: str) -> None:
        from mlflow.entities import Param

        params = read_params()
        values = {
            f"{section}.{name}": value for section in (*SECTIONS, stage) for name, value in params[section].items()
        }
        self._client.log_batch(self._id, params=[Param(name, str(value)) for name, value in values.items()])

    def _sent(self, send: Callable[[], Any]) -> None:
        if self._lost:
            return
        try:
            send()
        except Exception as error:  # a server that is gone must not cost a training run
            self._lost = True
            log.warning("the MLflow server is lost (%s): training goes on without it", first_line(error))
