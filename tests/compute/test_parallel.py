import gc
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.paths import ROOT

from marketplace.common.errors import MarketplaceError
from marketplace.compute.parallel import run_in_parallel

PROGRAM = """
import sys
from marketplace.compute.parallel import run_in_parallel
print("ready", flush=True)
try:
    for _ in run_in_parallel(pow, [(3, 20_000 + i) for i in range(3000)]):
        pass
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_results_come_in_the_order_of_the_tasks() -> None:
    assert list(run_in_parallel(pow, [(i, 2) for i in range(50)])) == [i**2 for i in range(50)]


class Inherited:
    """An object that only the process that made it may destroy, like a network with threads."""

    def __init__(self, note: Path) -> None:
        self.note = note
        self.itself = self  # a cycle: garbage that waits for a collection

    def __del__(self) -> None:
        with self.note.open("a") as file:
            file.write(f"{os.getpid()}\n")


def test_workers_do_not_destroy_inherited_objects(tmp_path: Path) -> None:
    gc.disable()
    try:
        Inherited(tmp_path / "note")
        list(run_in_parallel(gc.collect, [()] * 8))
        assert not (tmp_path / "note").exists()
    finally:
        gc.enable()
    gc.collect()
    assert (tmp_path / "note").read_text() == f"{os.getpid()}\n"


def test_a_workers_error_is_raised_without_waiting_for_the_other_tasks() -> None:
    started = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        list(run_in_parallel(divmod_or_sleep, [(0,), *[(1,)] * 100]))
    assert time.monotonic() - started < 20


def divmod_or_sleep(seconds: int) -> None:
    divmod(1, seconds)
    time.sleep(seconds)


INTERRUPTED = """
import signal
from marketplace.compute.interrupts import deferred_interrupts

before = signal.getsignal(signal.SIGINT)
try:
    with deferred_interrupts() as raise_pending:
        signal.raise_signal(signal.SIGINT)
        print("deferred")
        raise_pending()
        print("too far")
except KeyboardInterrupt:
    print("raised")
try:
    with deferred_interrupts():
        signal.raise_signal(signal.SIGINT)
        print("until the end")
except KeyboardInterrupt:
    print("raised")
print(signal.getsignal(signal.SIGINT) is before)
"""


def test_an_interrupt_waits_for_a_safe_place_and_is_not_lost() -> None:
    """In a separate process: a stray interrupt would end the whole test run."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["deferred", "raised", "until the end", "raised", "True"]


def test_ctrl_c_ends_it_whenever_it_comes() -> None:
    """An interrupt while a pool takes its locks must not leave one locked."""
    for _ in range(25):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": str(ROOT / "src")},
            start_new_session=True,
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(random.uniform(0, 0.2))
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
        assert process.returncode in (0, 130, -signal.SIGINT), errors


SLEEPING = """
import sys, time
from marketplace.compute.parallel import run_in_parallel

def work(number):
    print(__import__("os").getpid(), flush=True)
    time.sleep(600)

list(run_in_parallel(work, [(1,), (2,)]))
"""


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_a_killed_parent(kill: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEPING], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.send_signal(kill)
    for _ in range(100):
        if not is_alive(worker):
            return
        time.sleep(0.05)
    raise AssertionError("the worker outlived its parent")


def is_alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().split(")")[1].split()[0]
    except FileNotFoundError:
        return False


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_ends_the_run_with_a_sentence() -> None:
    with pytest.raises(MarketplaceError, match="most likely because memory ran out"):
        list(run_in_parallel(die, [(1,), (2,)]))
