"""Training runs on a real MLflow server on this machine."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from helpers.networks import trunk_of
from helpers.paths import ROOT
from helpers.servers import free_port, wait_for_port
from mlflow import MlflowClient

from marketplace.common.errors import MarketplaceError
from marketplace.models.checkpoints import Checkpoint
from marketplace.settings import Settings
from marketplace.training.data import TrainingData
from marketplace.training.mlflow_run import MlflowRun
from marketplace.training.recorder import Recorder
from marketplace.training.trainer import train

# The server and its requirements. This environment has MLflow's client alone.
SERVER = (
    *("mlflow==3.17.2", "mlflow-tracing==3.17.2", "flask==3.1.3", "flask-cors==6.0.5", "alembic==1.20.1"),
    *("blinker==1.9.0", "docker==7.2.0", "graphene==3.4.3", "graphql-core==3.2.14", "graphql-relay==3.2.0"),
    *("huey==3.5.4", "itsdangerous==2.2.0", "mako==1.4.3", "prettytable==3.18.0", "skops==0.16.0"),
    *("sqlalchemy==2.1.9", "gunicorn==26.2.0"),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server with an empty database."""
    folder = tmp_path_factory.mktemp("mlflow")
    packages = folder / "packages"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    # Without bytecode: the server imports a small part of the packages.
    subprocess.run([*install, "--no-compile", "--target", packages, *SERVER], check=True, capture_output=True)
    port = free_port()
    log = folder / "log"
    options = ["--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    store = ["--backend-store-uri", f"sqlite:///{folder}/runs.db", "--artifacts-destination", f"{folder}/artifacts"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *options, *store],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(packages)},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for_port(port, process, log, seconds=120)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def test_mlflow_gets_the_figures_that_dvclive_records(
    server: str,
    start: Checkpoint,
    data: TrainingData,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)  # for params.yaml
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("DVC_EXP_NAME", "slower")
    linear = settings.train.model_copy(update={"classifier": "linear"})
    with Recorder(tmp_path / "metrics", tmp_path / "logs/train_small", tmp_path / "epochs") as recorder:
        best = train(start, trunk_of(start, data.images.shape[1]), data, linear, 2, recorder)
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("marketplace")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("slower, train_small", "FINISHED")
    table = pd.read_csv(tmp_path / "epochs/epochs.csv").set_index("epoch")
    for name in ("train_loss", "val_loss", "val_accuracy"):
        history = {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, name)}
        assert history == pytest.approx(table[name].to_dict())
    assert run.data.metrics["best_epoch"] == best["epoch"]
    assert run.data.params["train.lr"] == str(settings.train.lr)
    assert run.data.params["train_small.epochs"] == str(settings.train_small.epochs)


def test_a_failed_run_ends_as_failed(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "failures")
    with pytest.raises(MarketplaceError, match="no"), Recorder(tmp_path / "m", tmp_path / "train_full", tmp_path / "e"):
        raise MarketplaceError("no")
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("failures")
    assert experiment is not None
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["FAILED"]


def test_an_unreachable_server_is_reported_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(MarketplaceError, match=r"the MLflow server at http://127.0.0.1:\d+ does not answer"):
        MlflowRun.from_environment("train_small")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert MlflowRun.from_environment("train_small") is None


@pytest.mark.parametrize(
    "uri",
    [
        "mlruns",
        "file:///tmp/mlruns",
        "sqlite:///mlflow.db",
        "postgresql://me:secret@127.0.0.1:1/runs",
        "localhost:5000",
        "ftp://server",
        "http://[::1",
        "http://me:secret@127.0.0.1:1",
        "databricks-uc",
        "\x1b[2J",
    ],
)
def test_an_address_that_is_no_server_is_a_sentence(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(MarketplaceError, match="nothing is sent") as caught:
        MlflowRun.from_environment("train_small")
    assert "secret" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
