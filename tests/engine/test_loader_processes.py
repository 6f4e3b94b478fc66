"""The workers of the guarded loader: who forks them, and that they end with the process that uses them."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.engine.video.guarded_loader import GuardedLoader
from harness.engine.video.worker_server import worker_server
from tests.engine.loading import (  # noqa: F401  (the last name is a fixture)
    Numbers,
    batches,
    children,
    hang,
    killed,
    leave,
    nothing_is_left_behind,
    pairs,
    segfault,
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


@pytest.mark.slow
def test_no_process_with_threads_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """B35: workers and their replacements are forked by a process with one thread, never by this one."""
    server = worker_server()
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("this process forked"))
    holder = threading.Event()
    thread = threading.Thread(target=holder.wait)
    thread.start()
    try:
        loader = GuardedLoader(Numbers({3: segfault, 7: leave}), batches(12, 4), pairs, 2)
        clips = [pair for batch in loader for pair in batch]
    finally:
        holder.set()
        thread.join()
    assert [index for index, clip in clips if index != clip] == [3, 7]
    assert "Threads:\t1\n" in Path(f"/proc/{server.pid}/status").read_text()


@pytest.mark.slow
def test_the_server_holds_no_file_of_its_owner() -> None:
    """The pipe to another child must end when this process closes it; a lock likewise."""
    worker_server().close()
    other = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    server = worker_server()
    assert other.stdin is not None
    other.stdin.close()
    assert other.wait(timeout=10) == 0
    list(GuardedLoader(Numbers(), batches(2, 2), pairs, 1))  # the server has begun to answer
    links = {str(path.readlink()) for path in Path(f"/proc/{server.pid}/fd").iterdir()}
    assert all(link == os.devnull or link.startswith("socket:") for link in links), links


@pytest.mark.slow
def test_a_server_that_is_killed_is_replaced() -> None:
    worker_server().close()
    loader = GuardedLoader(Numbers(), batches(6, 2), pairs, 2, keep_workers=True)
    first = list(loader)
    os.kill(worker_server().pid, signal.SIGKILL)
    assert list(loader) == first
    loader.close()


@pytest.mark.slow
def test_a_process_with_threads_starts_the_server_as_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a notebook, where a fork would copy the locks of other threads."""
    monkeypatch.setattr("harness.engine.video.worker_server.HARMLESS_THREADS", threading.active_count() - 1)
    worker_server().close()
    holder = threading.Event()
    threading.Thread(target=holder.wait).start()
    try:
        loader = GuardedLoader(Numbers({3: segfault}), batches(6, 2), pairs, 2)
        clips = [pair for batch in loader for pair in batch]
        command = Path(f"/proc/{worker_server().pid}/cmdline").read_bytes().split(b"\0")
    finally:
        holder.set()
        worker_server().close()
    assert [index for index, clip in clips if index != clip] == [3] and b"-c" in command


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
