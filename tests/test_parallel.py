import random
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from marketplace.parallel import process_pool

PROGRAM = """
import sys
from marketplace.parallel import process_pool
print("ready", flush=True)
try:
    with process_pool(2) as pool:
        futures = [pool.submit(pow, 3, 20_000 + i) for i in range(3000)]
        for future in futures:
            future.result()
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_results_come_in_the_order_of_the_tasks() -> None:
    with process_pool(2) as pool:
        assert list(pool.map(pow, range(50), [2] * 50, chunksize=3)) == [i**2 for i in range(50)]


def test_a_workers_error_is_raised_and_the_rest_is_not_waited_for() -> None:
    started = time.monotonic()
    with pytest.raises(ZeroDivisionError), process_pool(2) as pool:
        failing = pool.submit(divmod, 1, 0)
        for _ in range(100):
            pool.submit(time.sleep, 1)
        failing.result()
    assert time.monotonic() - started < 20


def test_ctrl_c_ends_it_whenever_it_comes() -> None:
    """An interrupt that finds this process among a pool's locks must not leave one held."""
    for _ in range(25):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={"PYTHONPATH": str(ROOT / "src")}, start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(random.uniform(0, 0.2))
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
        assert process.returncode in (0, 130, -signal.SIGINT), errors
