"""An MLflow run alongside DVCLive's records, if $MLFLOW_TRACKING_URI names a server."""

import logging
import os
import re
import time
from collections.abc import Callable
from typing import Any, Self

from marketplace.common.errors import MarketplaceError, first_line
from marketplace.common.params import read_params

log = logging.getLogger(__name__)

# Environment variables that MLflow reads, too.
URI_VARIABLE = "MLFLOW_TRACKING_URI"
EXPERIMENT_VARIABLE = "MLFLOW_EXPERIMENT_NAME"
# By default, MLflow would wait for minutes for a server that is gone.
SHORT_WAITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
SECTIONS = ("model", "resize_images", "train")  # of params.yaml; the section of the stage is added


class MlflowRun:
    """A run on an MLflow server: parameters, the metrics of each epoch, and the chosen epoch.

    Raises MarketplaceError if the server cannot be reached at the start, before any training, or if the address is
    something else, such as a folder. If the server is lost later, there is one warning and training goes on.
    """

    def __init__(self, uri: str, stage: str) -> None:
        for name, value in SHORT_WAITS.items():
            os.environ.setdefault(name, value)
        try:
            from mlflow import MlflowClient
        except ImportError:
            raise MarketplaceError(
                "MLflow's client is not installed: `pip install --no-deps -r requirements-all.lock`, or unset "
                f"${URI_VARIABLE}."
            ) from None
        self._is_lost = False
        try:
            self._client = MlflowClient(uri)
            self._id = self._create_run(stage)
            self._log_params(stage)
        except Exception as error:  # MLflow raises its own errors, its stores' and requests'
            raise MarketplaceError(f"{_explain(uri, error)} Without ${URI_VARIABLE}, nothing is sent.") from None

    @classmethod
    def from_environment(cls, stage: str) -> Self | None:
        """Start a run for a stage on the server that the environment names; None if it names none."""
        uri = os.environ.get(URI_VARIABLE, "").strip()
        return cls(uri, stage) if uri else None

    def send_epoch(self, epoch: int, figures: dict[str, float]) -> None:
        """Send an epoch's figures."""
        self._send_metrics(figures, step=epoch)

    def send_best_epoch(self, epoch: int, figures: dict[str, float]) -> None:
        """Send the chosen epoch and its figures."""
        best = {f"best_{name}": value for name, value in figures.items()}
        self._send_metrics({"best_epoch": epoch, **best}, step=0)

    def end(self, *, failed: bool) -> None:
        """Close the run."""
        self._attempt(lambda: self._client.set_terminated(self._id, "FAILED" if failed else "FINISHED"))

    def _create_run(self, stage: str) -> str:
        """Create a run in the experiment that the environment names; return its id."""
        name = os.environ.get(EXPERIMENT_VARIABLE, "marketplace")
        experiment = self._client.get_experiment_by_name(name)
        experiment_id = experiment.experiment_id if experiment else self._client.create_experiment(name)
        tags = {"dvc.stage": stage, "dvc.baseline": os.environ.get("DVC_EXP_BASELINE_REV", "")}
        run_name = f"{os.environ.get('DVC_EXP_NAME', 'workspace')}, {stage}"
        return self._client.create_run(experiment_id, run_name=run_name, tags=tags).info.run_id

    def _log_params(self, stage: str) -> None:
        from mlflow.entities import Param

        sections = read_params()
        params = [
            Param(f"{section}.{name}", str(value))
            for section in (*SECTIONS, stage)
            for name, value in sections[section].items()
        ]
        self._client.log_batch(self._id, params=params)

    def _send_metrics(self, values: dict[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(name, float(value), now, step) for name, value in values.items()]
        self._attempt(lambda: self._client.log_batch(self._id, metrics=metrics))

    def _attempt(self, send: Callable[[], Any]) -> None:
        """Send something unless the server is lost: a lost server must not cost a training run."""
        if self._is_lost:
            return
        try:
            send()
        except Exception as error:
            self._is_lost = True
            reason = _hide_password(first_line(error))
            log.warning("the MLflow server is lost (%s): training goes on without it", reason)


def _explain(uri: str, error: Exception) -> str:
    """Return why a run cannot be created at an address, as a sentence."""
    address = _hide_password(uri)
    if not uri.startswith(("http://", "https://", "databricks")):
        return (
            f"this MLflow client cannot write to {address!r}: it needs the address of a server, such as "
            "http://localhost:5000. For a folder or a database, start one (`mlflow server --backend-store-uri …`)."
        )
    reason = _hide_password(first_line(error))
    return (
        f"the MLflow server at {address} does not answer as it should ({reason}): is it running, and is the address "
        "right?"
    )


def _hide_password(text: str) -> str:
    """Leave out the user and password of addresses in a text."""
    return re.sub(r"//[^/\s]*@", "//", text)
