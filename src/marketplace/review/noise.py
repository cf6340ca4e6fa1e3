"""The noise of the reviewed metrics: how much they move if only the random seed of training changes."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit  # scipy.stats, with the same quantiles, takes a second to import

from marketplace.common.errors import MarketplaceError
from marketplace.review.files import SUMMARY
from marketplace.review.lock import training_data_hash
from marketplace.review.revisions import WORKSPACE, Revision

CONFIDENCE = 0.95
log = logging.getLogger(__name__)


def measure_noise(root: Path, n_seeds: int) -> dict[str, Any]:
    """Repeat training with the seeds 1 to `n_seeds`, each as a `dvc exp run --temp`: the content of metrics/noise.json.

    The experiments are removed again; their results stay in DVC's cache, so that repeating them costs nothing.
    """
    seeds = range(1, n_seeds + 1)
    summaries = []
    for seed in seeds:
        log.info("Seed %d of %d.", seed, n_seeds)
        summaries.append(_summary_with(root, seed))
    return noise_of(summaries, list(seeds), training_data_hash(Revision.of(root, WORKSPACE).stages))


def noise_of(summaries: list[dict[str, float]], seeds: list[int], training_data: str | None) -> dict[str, Any]:
    """Mean and spread (sample standard deviation) of each metric over `summaries`, one for each seed."""
    metrics = {}
    for name in summaries[0]:
        values = [summary[name] for summary in summaries]
        metrics[name] = {
            "mean": round(float(np.mean(values)), 5),
            "spread": round(float(np.std(values, ddof=1)), 5),
            "values": values,
        }
    return {"seeds": seeds, "training_data": training_data, "metrics": metrics}


def band_of(noise: dict[str, Any], metric: str) -> float | None:
    """The largest difference, in 95 of 100 cases, between two training runs that differ only in their seed.

        t(0.975, n - 1) * s * sqrt(2)

    for the spread s over n seeds: each of the two has the variance s^2, which is itself known from n values only. None
    if the metric was not measured.
    """
    measured = noise["metrics"].get(metric)
    if measured is None:
        return None
    quantile = stdtrit(len(measured["values"]) - 1, (1 + CONFIDENCE) / 2)  # of Student's t distribution
    return float(quantile * measured["spread"] * np.sqrt(2))


def _summary_with(root: Path, seed: int) -> dict[str, float]:
    name = f"noise-{seed}"
    dvc = [sys.executable, "-m", "dvc", "exp"]
    subprocess.run([*dvc, "remove", "--quiet", name], cwd=root, stderr=subprocess.DEVNULL)  # of an interrupted run
    run = [*dvc, "run", "--temp", "--name", name, "--set-param", f"train.seed={seed}"]
    if subprocess.run(run, cwd=root).returncode != 0:
        raise MarketplaceError(f"the training run with train.seed={seed} failed: see above.")
    summary: dict[str, float] = Revision.of(root, name).json(SUMMARY)
    subprocess.run([*dvc, "remove", "--quiet", name], cwd=root, check=True)
    return summary
