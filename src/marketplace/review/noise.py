"""The noise of metrics: how much they vary if only the random seed of training changes."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit  # scipy.stats has the same quantiles, but takes a second to import

from marketplace.common.copies import check_copies
from marketplace.common.errors import MarketplaceError
from marketplace.review.files import SUMMARY
from marketplace.review.lock import training_data_hash
from marketplace.review.revisions import WORKSPACE, Revision

CONFIDENCE = 0.95
log = logging.getLogger(__name__)


def measure_noise(root: Path, n_seeds: int) -> dict[str, Any]:
    """Train with the seeds 1 to `n_seeds`, each as a `dvc exp run --temp`; return the content of metrics/noise.json.

    The experiments are removed afterwards. Their results stay in DVC's cache, so measuring again costs nothing. Raises
    MarketplaceError if one fails, or if DVC would lose its results.
    """
    check_copies(root)
    seeds = list(range(1, n_seeds + 1))
    summaries = []
    for seed in seeds:
        log.info("Seed %d of %d.", seed, n_seeds)
        summaries.append(_train_with_seed(root, seed))
    return summarise_noise(summaries, seeds, training_data_hash(Revision.of(root, WORKSPACE).stages))


def summarise_noise(summaries: list[dict[str, float]], seeds: list[int], training_data: str | None) -> dict[str, Any]:
    """Return the mean and the spread (sample standard deviation) of each metric over `summaries`, one per seed."""
    metrics = {}
    for name in summaries[0]:
        values = [summary[name] for summary in summaries]
        metrics[name] = {
            "mean": round(float(np.mean(values)), 5),
            "spread": round(float(np.std(values, ddof=1)), 5),
            "values": values,
        }
    return {"seeds": seeds, "training_data": training_data, "metrics": metrics}


def noise_band(noise: dict[str, Any], metric: str) -> float | None:
    """Return the largest difference, in 95 of 100 cases, between two training runs that differ only in their seed.

        t(0.975, n - 1) * s * sqrt(2)

    for the spread s over n seeds: each of the two has the variance s^2, which is itself estimated from n values.
    Returns None if the metric was not measured.
    """
    figures = noise["metrics"].get(metric)
    if figures is None:
        return None
    quantile = stdtrit(len(figures["values"]) - 1, (1 + CONFIDENCE) / 2)  # Student's t distribution
    return float(quantile * figures["spread"] * np.sqrt(2))


def _train_with_seed(root: Path, seed: int) -> dict[str, float]:
    """Return the summary of an experiment with another seed. Raises MarketplaceError if it fails."""
    name = f"noise-{seed}"
    experiment = [sys.executable, "-m", "dvc", "exp"]
    remove = [*experiment, "remove", "--quiet", name]
    run = [*experiment, "run", "--temp", "--name", name, "--set-param", f"train.seed={seed}"]
    subprocess.run(remove, cwd=root, stderr=subprocess.DEVNULL)  # an interrupted run may have left it
    if subprocess.run(run, cwd=root).returncode != 0:
        raise MarketplaceError(f"the training run with train.seed={seed} failed: see above.")
    summary = Revision.of(root, name).json(SUMMARY)
    subprocess.run(remove, cwd=root, check=True)
    return summary
