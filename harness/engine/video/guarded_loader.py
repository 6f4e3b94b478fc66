"""A data loader whose workers may crash or hang without taking the run with them.

Video decoders run foreign bytes through C libraries: some files crash them, some never return. Each clip is decoded in
a worker process under a time limit; a worker that dies or overruns is replaced and its clip is reported as undecodable,
with the reason. A clip whose worker died is given to a fresh one once: what was short of memory, or hit by a signal
from outside, says nothing about the clip. Batches come in order whatever the workers do.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue
import re
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any

from torch.utils.data import DataLoader, Dataset

from harness.engine.compute.processes import processes_here
from harness.engine.video.batches import Draw
from harness.engine.video.transforms import single_threaded_opencv

logger = logging.getLogger(__name__)
DECODE_SECONDS = 60.0
PARENT_SECONDS = 0.5
CRASHES = 2
"""Workers that may die on a clip before it counts as undecodable."""
Collate = Callable[[list[Draw], list[Any]], Any]
"""From (draws, clips) of a batch to what the loader yields."""


@dataclass(frozen=True)
class Undecodable:
    """Takes the place of a clip that could not be decoded."""

    reason: str


def default_workers(gpu: bool = False) -> int:
    """Decode workers of this process: one per core, the cores shared with the run's other processes on this machine.

    At most 8 beside a CPU, which takes fewer clips a second than one of them decodes, and 32 beside a GPU: an H200
    scores 700 clips of 16 frames a second with a ViT-B/16, one core decodes 35 (benchmarks/results).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(32 if gpu else 8, cores // processes_here()))


def decode(dataset: Dataset[Any], draw: Draw) -> Any:
    """The clip of a draw, or `Undecodable` with the reason: one bad video never ends a run."""
    try:
        return dataset[draw]  # type: ignore[index]
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # decoders raise many types of their own
        return Undecodable(stable_reason(error))


def stable_reason(error: BaseException) -> str:
    """Why a clip did not decode, in one line that is the same in every run: no times, addresses, paths or counters.

    decord puts the time of day, its own build paths and uninitialised numbers into messages; a record must not differ
    between two runs for that.
    """
    text = " ".join(str(error).split())
    if isinstance(error, RuntimeError) and text.startswith("Error reading "):
        return "decord cannot open the file"
    if "cannot find video stream" in text:
        return "the file has no video stream that decord reads"
    text = re.sub(r"\[\d\d:\d\d:\d\d\] \S+:\d+: ", "", text)
    text = re.sub(r" \(-?\w+ vs\. -?\w+\)|0x[0-9a-f]+|(?:/[^/\s:']+)+/", "", text)
    return f"{type(error).__name__}: {text[:160] or 'no message'}"


def _work(dataset: Dataset[Any], connection: Connection, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)  # decoders write to stderr past Python; the reason comes back as data
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    single_threaded_opencv()
    while True:
        try:
            draw = connection.recv()
        except (EOFError, OSError):
            return
        if draw is None:
            return
        connection.send(decode(dataset, draw))


def _leave_with(parent: int) -> None:
    """End this worker when its parent is gone.

    The end of the pipe does not tell: workers hold copies of each other's ends. They hold the lock of the cell too, so
    one that outlived a killed run would keep the next run waiting.
    """
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(1)


class _Worker:
    """One decode process, the pipe to it, and what it is doing."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        context = multiprocessing.get_context("fork")
        self.connection, child = context.Pipe()
        self.process = context.Process(target=_work, args=(dataset, child, os.getpid()), daemon=True)
        self.process.start()
        child.close()
        self.task: int | None = None
        self.deadline = 0.0

    def give(self, task: int, draw: Draw, seconds: float) -> None:
        self.connection.send(draw)
        self.task, self.deadline = task, time.monotonic() + seconds

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()

    @property
    def exit_reason(self) -> str:
        self.process.join(timeout=5)
        code = self.process.exitcode
        return f"the decoder crashed (signal {-code})" if code is not None and code < 0 else "the decoder stopped"


@dataclass(frozen=True)
class _Task:
    """A clip to deliver: its place among all clips, what was drawn, and what is decoded for it at this attempt.

    `crashes` counts the workers that died on what is decoded.
    """

    number: int
    draw: Draw
    decoded: Draw
    attempt: int = 0
    crashes: int = 0


class GuardedLoader(DataLoader):  # type: ignore[type-arg]
    """A torch `DataLoader` over `Draw`s with guarded workers; mmengine's Runner takes it as it is.

    Args:
        dataset: Indexed by `Draw`.
        batches: Iterable of lists of draws, re-iterated for each pass.
        collate: Called with (draws, clips) of a batch; clips may hold `Undecodable`.
        workers: Decode processes; 0 decodes in this process, without guard.
        seconds: Time limit per clip.
        substitute: For fits: the draw to decode instead of an undecodable one, or None where there is none.
        keep_workers: Let the workers live on from one complete pass to the next, until `close`. Forking a process
            with a model in memory anew for every epoch cost more than decoding a small list.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batches: Iterable[list[Draw]],
        collate: Collate,
        workers: int,
        seconds: float = DECODE_SECONDS,
        substitute: Callable[[Draw, int], Draw | None] | None = None,
        keep_workers: bool = False,
    ) -> None:
        super().__init__(dataset, batch_sampler=batches, num_workers=0)  # type: ignore[arg-type]
        self.guard = _Guard(workers, seconds, substitute, keep_workers)
        self.collate = collate

    def close(self) -> None:
        """End the workers that were kept; the loader can still be iterated."""
        self.guard.close()

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        batches: Iterable[list[Draw]] = self.batch_sampler  # type: ignore[assignment]
        return self.guard.run(self.dataset, batches, self.collate)

    @property
    def replaced(self) -> set[int]:
        """Rows of training clips that were replaced because they could not be decoded."""
        return self.guard.replaced


class _Guard:
    def __init__(
        self, workers: int, seconds: float, substitute: Callable[[Draw, int], Draw | None] | None, keep: bool
    ) -> None:
        self.workers, self.seconds, self.substitute, self.keep = workers, seconds, substitute, keep
        self.replaced: set[int] = set()
        self.idle: list[_Worker] = []

    def close(self) -> None:
        while self.idle:
            self.idle.pop().stop()

    def run(self, dataset: Dataset[Any], batches: Iterable[list[Draw]], collate: Collate) -> Iterator[Any]:
        if self.workers == 0:
            for draws in batches:
                yield collate(draws, [self._inline(dataset, draw) for draw in draws])
            return
        results: queue.Queue[Any] = queue.Queue(maxsize=2)
        stop = threading.Event()
        # Workers are forked before the thread starts, from a process that does nothing else at that moment.
        listed = list(batches)
        pool, self.idle = self.idle, []
        pool += [_Worker(dataset) for _ in range(min(self.workers, sum(map(len, listed))) - len(pool))]
        thread = threading.Thread(target=self._serve, args=(dataset, listed, collate, pool, results, stop), daemon=True)
        thread.start()
        complete = False
        try:
            while True:
                item = results.get()
                if item is None:
                    complete = True
                    return
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            while thread.is_alive():
                try:
                    results.get(timeout=0.05)
                except queue.Empty:
                    continue
            if complete and self.keep:
                self.idle = pool
            else:  # after an abandoned pass workers are still decoding for it
                for worker in pool:
                    worker.stop()

    def _inline(self, dataset: Dataset[Any], draw: Draw) -> Any:
        clip, attempt = decode(dataset, draw), 0
        while isinstance(clip, Undecodable):
            attempt += 1
            other = self._other(draw, attempt, clip)
            if other is None:
                break
            clip = decode(dataset, other)
        return clip

    def _serve(
        self,
        dataset: Dataset[Any],
        batches: Sequence[list[Draw]],
        collate: Collate,
        pool: list[_Worker],
        results: queue.Queue[Any],
        stop: threading.Event,
    ) -> None:
        """Hand out clips, collect them, and put complete batches, collated, in order into `results`.

        Batches are put together here, in the background: a device that waits for copies of frames does nothing.
        """
        try:
            self._collect(dataset, batches, collate, pool, results, stop)
            _put(results, None, stop)
        except BaseException as error:
            _put(results, error, stop)

    def _collect(
        self,
        dataset: Dataset[Any],
        batches: Sequence[list[Draw]],
        collate: Collate,
        pool: list[_Worker],
        results: queue.Queue[Any],
        stop: threading.Event,
    ) -> None:
        draws = [draw for batch in batches for draw in batch]
        todo = deque(_Task(number, draw, draw) for number, draw in enumerate(draws))
        running: dict[int, _Task] = {}
        done: dict[int, Any] = {}
        ends: list[int] = []
        for batch in batches:
            ends.append((ends[-1] if ends else 0) + len(batch))
        finished, ahead = 0, 2 * len(pool) + max(map(len, batches), default=1)
        while finished < len(batches) and not stop.is_set():
            horizon = (ends[finished - 1] if finished else 0) + ahead
            for place, worker in enumerate(pool):
                if worker.task is None and todo and todo[0].number < horizon:
                    task = todo.popleft()
                    running[task.number] = task
                    try:
                        worker.give(task.number, task.decoded, self.seconds)
                    except OSError:
                        worker.stop()
                        pool[place] = worker = _Worker(dataset)
                        worker.give(task.number, task.decoded, self.seconds)
            busy = {worker.connection: place for place, worker in enumerate(pool) if worker.task is not None}
            for connection in wait(list(busy), timeout=0.2):
                self._receive(dataset, pool, busy[connection], running, done, todo)  # type: ignore[index]
            now = time.monotonic()
            for place, worker in enumerate(pool):
                if worker.task is not None and now > worker.deadline:
                    worker.stop()
                    self._settle(
                        worker.task, Undecodable(f"not decoded within {self.seconds:g} s"), running, done, todo
                    )
                    pool[place] = _Worker(dataset)
            while finished < len(batches) and all(
                n in done for n in range(ends[finished] - len(batches[finished]), ends[finished])
            ):
                first = ends[finished] - len(batches[finished])
                clips = [done.pop(n) for n in range(first, ends[finished])]
                _put(results, collate(batches[finished], clips), stop)
                finished += 1

    def _receive(
        self,
        dataset: Dataset[Any],
        pool: list[_Worker],
        place: int,
        running: dict[int, _Task],
        done: dict[int, Any],
        todo: deque[_Task],
    ) -> None:
        worker = pool[place]
        task = worker.task
        assert task is not None
        try:
            clip = worker.connection.recv()
            worker.task = None
        except (EOFError, OSError, MemoryError):
            clip = Undecodable(worker.exit_reason)
            worker.stop()
            pool[place] = _Worker(dataset)
            tried = running[task]
            if tried.crashes + 1 < CRASHES:
                logger.warning("clip %d is tried again in a fresh worker: %s", tried.decoded.index, clip.reason)
                todo.appendleft(replace(running.pop(task), crashes=tried.crashes + 1))
                return
        self._settle(task, clip, running, done, todo)

    def _settle(
        self,
        number: int,
        clip: Any,
        running: dict[int, _Task],
        done: dict[int, Any],
        todo: deque[_Task],
    ) -> None:
        tried = running.pop(number)
        if isinstance(clip, Undecodable):
            other = self._other(tried.draw, tried.attempt + 1, clip)
            if other is not None:
                todo.appendleft(_Task(number, tried.draw, other, tried.attempt + 1))
                return
        done[number] = clip

    def _other(self, draw: Draw, attempt: int, clip: Undecodable) -> Draw | None:
        """What to decode instead of a draw whose clips so far could not be decoded, None if there is nothing."""
        other = self.substitute(draw, attempt) if self.substitute is not None else None
        if other is not None:
            self.replaced.add(draw.index)
            logger.warning("clip %d is replaced by clip %d: %s", draw.index, other.index, clip.reason)
        return other


def _put(results: queue.Queue[Any], item: Any, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            results.put(item, timeout=0.1)
            return
        except queue.Full:
            continue
