"""The workers of the guarded loader end with the process that started them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.engine.video.guarded_loader import GuardedLoader
from tests.engine.loading import (  # noqa: F401  (the last name is a fixture)
    Numbers,
    batches,
    children,
    hang,
    killed,
    leave,
    nothing_is_left_behind,
    pairs,
)


def consume(behaviour: Callable[[], Any], started: int) -> None:
    stream = iter(GuardedLoader(Numbers(dict.fromkeys(range(4, 40), behaviour)), batches(40, 4), pairs, 2))
    next(stream)
    os.write(started, b"1")
    for _ in stream:
        time.sleep(600)


def run_child(behaviour: Callable[[], Any]) -> int:
    """Start a process that consumes a loader, in a process group of its own; its id once workers are at work."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
        try:
            consume(behaviour, writer)
        except KeyboardInterrupt:
            pass
        finally:
            os._exit(len(children()))
    os.close(writer)
    assert os.read(reader, 1) == b"1"
    os.close(reader)
    time.sleep(0.2)
    return child


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended but was not yet reaped by its new parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: set[int], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(is_running(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("behaviour", [hang, int], ids=["hanging", "waiting"])
def test_workers_end_with_their_parent(number: signal.Signals, behaviour: Callable[[], Any]) -> None:
    """No worker outlives a killed run, whether it hangs in a file or waits for one: it would hold the cell's lock."""
    child = run_child(behaviour)
    workers = children(child)
    assert len(workers) == 2
    os.kill(child, number)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == number
    assert gone(workers, 10)


@pytest.mark.parametrize("behaviour", [hang, int], ids=["hanging", "waiting"])
def test_an_interrupt_leaves_nothing(behaviour: Callable[[], Any]) -> None:
    """Control-C goes to the whole group: workers leave the decision to the run, which stops them before it ends."""
    child = run_child(behaviour)
    workers = children(child)
    assert len(workers) == 2
    os.killpg(child, signal.SIGINT)
    assert os.WEXITSTATUS(os.waitpid(child, 0)[1]) == 0
    assert gone(workers, 0)
