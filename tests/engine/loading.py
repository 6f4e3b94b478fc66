"""A dataset of row numbers whose rows do what decoders do to files, and the loader over it."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import Dataset

from harness.engine.video.batches import Draw
from harness.engine.video.guarded_loader import GuardedLoader


class Numbers(Dataset[Any]):
    """Gives the row number; some rows do what decoders do to files."""

    def __init__(self, behaviour: dict[int, Callable[[], Any]] | None = None, delay: float = 0.0) -> None:
        self.behaviour, self.delay = behaviour or {}, delay

    def __getitem__(self, draw: Draw) -> Any:  # type: ignore[override]
        time.sleep(self.delay)
        if draw.index in self.behaviour:
            self.behaviour[draw.index]()
        return draw.index

    def video(self, draw: Draw) -> None:
        return None


def refuse() -> None:
    raise RuntimeError("cannot\n  decode this")


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def segfault() -> None:
    faulthandler.disable()  # pytest's would print the stack
    os.kill(os.getpid(), signal.SIGSEGV)


def abort() -> None:
    faulthandler.disable()
    os.abort()


def leave() -> None:
    os._exit(3)


def sleep() -> None:
    time.sleep(600)


def hang() -> None:
    """Compute without end."""
    while True:
        pass


def exhaust() -> None:
    raise MemoryError


def batches(count: int, size: int) -> list[list[Draw]]:
    draws = [Draw(i) for i in range(count)]
    return [draws[i : i + size] for i in range(0, count, size)]


def pairs(draws: list[Draw], clips: list[Any]) -> list[tuple[int, Any]]:
    return [(draw.index, clip) for draw, clip in zip(draws, clips, strict=True)]


def load(dataset: Numbers, workers: int, count: int = 12, size: int = 4, seconds: float = 30, **more: Any) -> list[Any]:
    loader = GuardedLoader(dataset, batches(count, size), pairs, workers, seconds, **more)
    return [pair for batch in loader for pair in batch]


def children(parent: int | str = "self") -> set[int]:
    """The decode workers of a process: the children of its worker server."""
    found: set[int] = set()
    for server in _children(parent):
        found |= _children(server)
    return found


def _children(parent: int | str) -> set[int]:
    found: set[int] = set()
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{parent}/task").iterdir():
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Every test here ends with the processes and threads that it began with."""
    before, threads = children(), threading.active_count()
    yield
    assert children() <= before
    assert threading.active_count() <= threads
