"""Prototype of a guarded loader on `pebble.ProcessPool`, measured by `benchmarks/decode_pool.py`.

It gives the guarantees of `harness.engine.video.guarded_loader` as far as pebble can: a time limit for each clip, dead
workers replaced, one retry of a clip whose worker died, substitutes, and batches in order.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any

from pebble import ProcessExpired, ProcessFuture, ProcessPool
from torch.utils.data import Dataset

from harness.engine.video.batches import Draw
from harness.engine.video.guarded_loader import GuardedLoader, Undecodable, decode
from harness.engine.video.transforms import single_threaded_opencv

# The logger of the loader that the prototype replaces: its tests read the log.
logger = logging.getLogger("harness.engine.video.guarded_loader")
CRASHES = 2
_worker_dataset: list[Dataset[Any]] = []  # set in each worker by `_begin`


def _begin(dataset: Dataset[Any], parent: int) -> None:
    """Prepare a worker as the workers of the harness are prepared."""
    _worker_dataset[:] = [dataset]
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    single_threaded_opencv()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _decode_here(draw: Draw) -> Any:
    return decode(_worker_dataset[0], draw)


@dataclass
class _Waiting:
    """A clip that was scheduled: its draw, and the draw that is decoded for it."""

    draw: Draw
    decoded: Draw
    future: ProcessFuture[Any]


class PebbleGuard:
    """The part of a `GuardedLoader` that hands out clips and collects them, on `pebble.ProcessPool`."""

    passes = 0

    def __init__(
        self, workers: int, seconds: float, substitute: Callable[[Draw, int], Draw | None] | None, keep: bool
    ) -> None:
        self.workers, self.seconds, self.substitute, self.keep = workers, seconds, substitute, keep
        self.replaced: set[int] = set()
        self.pool: ProcessPool | None = None

    def close(self) -> None:
        """End the workers."""
        if self.pool is not None:
            self.pool.stop()
            self.pool.join()
            self.pool = None

    def run(self, dataset: Dataset[Any], batches: Iterable[list[Draw]], collate: Callable[..., Any]) -> Iterator[Any]:
        """Yield the collated batches in order; they are decoded and collated in the background."""
        PebbleGuard.passes += 1
        listed = list(batches)
        clips = sum(map(len, listed))
        if not clips:
            return
        if self.pool is None:
            context = multiprocessing.get_context("fork")
            self.pool = ProcessPool(
                min(self.workers, clips), initializer=_begin, initargs=(dataset, os.getpid()), context=context
            )
        results: queue.Queue[Any] = queue.Queue(maxsize=2)
        stop = threading.Event()
        thread = threading.Thread(target=self._serve, args=(listed, collate, results, stop), daemon=True)
        thread.start()
        complete = False
        try:
            while (item := results.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
            complete = True
        finally:
            stop.set()
            if not (complete and self.keep):
                self.close()
            thread.join()

    def _serve(
        self, batches: list[list[Draw]], collate: Callable[..., Any], results: queue.Queue[Any], stop: threading.Event
    ) -> None:
        try:
            self._collect(batches, collate, results, stop)
            _put(results, None, stop)
        except BaseException as error:
            _put(results, error, stop)

    def _collect(
        self, batches: list[list[Draw]], collate: Callable[..., Any], results: queue.Queue[Any], stop: threading.Event
    ) -> None:
        todo = deque(draw for batch in batches for draw in batch)
        scheduled: deque[_Waiting] = deque()
        ahead = 2 * self.workers + max(map(len, batches))
        for batch in batches:
            clips = []
            for number in range(len(batch)):
                # As in the harness: at most `ahead` clips beyond the last complete batch.
                while todo and len(scheduled) < ahead - number:
                    draw = todo.popleft()
                    scheduled.append(_Waiting(draw, draw, self._schedule(draw)))
                clips.append(self._clip(scheduled.popleft(), stop))
                if stop.is_set():
                    return
            _put(results, collate(batch, clips), stop)

    def _schedule(self, draw: Draw) -> ProcessFuture[Any]:
        if self.pool is None:
            raise RuntimeError("the pool is closed")
        return self.pool.schedule(_decode_here, args=(draw,), timeout=self.seconds)

    def _clip(self, waiting: _Waiting, stop: threading.Event) -> Any:
        """The clip of a draw, after one retry where a worker died, and after substitutes where it did not decode."""
        attempt = crashes = 0
        while True:
            clip, crashed = self._outcome(waiting.future, stop)
            if stop.is_set():
                return None
            crashes += crashed
            if crashed and crashes < CRASHES:
                index = waiting.decoded.index
                logger.warning("clip %d is tried again in a fresh worker: %s", index, clip.reason)
                waiting.future = self._schedule(waiting.decoded)
                continue
            if not isinstance(clip, Undecodable):
                return clip
            attempt, crashes = attempt + 1, 0
            substitute = self.substitute(waiting.draw, attempt) if self.substitute is not None else None
            if substitute is None:
                return clip
            self.replaced.add(waiting.draw.index)
            waiting.decoded, waiting.future = substitute, self._schedule(substitute)

    def _outcome(self, future: ProcessFuture[Any], stop: threading.Event) -> tuple[Any, bool]:
        """The clip or an `Undecodable`, and whether the worker died."""
        while not future.done():
            if stop.is_set():
                return None, False
            with contextlib.suppress(FutureTimeoutError):
                future.exception(timeout=0.2)
        error = future.exception()
        if error is None:
            return future.result(), False
        if isinstance(error, FutureTimeoutError):
            return Undecodable(f"not decoded within {self.seconds:g} s"), False
        if isinstance(error, ProcessExpired):
            code = error.exitcode
            return Undecodable(f"the decoder crashed (signal {-code})" if code < 0 else "the decoder stopped"), True
        return Undecodable(f"{type(error).__name__}: {error}"), False


def _put(results: queue.Queue[Any], item: Any, stop: threading.Event) -> None:
    while not stop.is_set():
        with contextlib.suppress(queue.Full):
            results.put(item, timeout=0.1)
            return


class PebbleLoader(GuardedLoader):
    """A `GuardedLoader` whose workers are those of a `pebble.ProcessPool`; without workers it is unchanged."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        if self.guard.workers:
            guard = self.guard
            self.guard = PebbleGuard(guard.workers, guard.seconds, guard.substitute, guard.keep)  # type: ignore[assignment]
