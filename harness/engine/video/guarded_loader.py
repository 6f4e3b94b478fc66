"""A data loader whose workers may crash or hang without ending the run.

Video decoders pass foreign bytes to C libraries: some files crash them, on some files they never return. Each clip is
decoded in a worker process under a time limit. A worker that dies or overruns the limit is replaced, and its clip is
reported as undecodable with the reason. A clip whose worker died is decoded once more by a fresh worker, because lack
of memory or a signal from outside may have ended the worker. Batches arrive in order whatever the workers do.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from typing import Generic, TypeVar

from torch.utils.data import DataLoader

from harness.engine.video.batches import Draw
from harness.engine.video.decode_workers import ClipDataset, ClipT, Undecodable, Worker, decode

logger = logging.getLogger(__name__)
DECODE_SECONDS = 60.0
CRASHES = 2
"""Number of workers that die on a clip before the clip counts as undecodable."""

BatchT = TypeVar("BatchT")
Collate = Callable[[list[Draw], list[ClipT | Undecodable]], BatchT]
"""Function from the draws and clips of a batch to the batch."""
Substitute = Callable[[Draw, int], Draw | None]
"""Function from a draw and the number of failed attempts to the draw that replaces it; None if no draw is left."""


class GuardedLoader(DataLoader[ClipT], Generic[ClipT, BatchT]):
    """A torch `DataLoader` over `Draw`s with guarded workers.

    It derives from `DataLoader` because mmengine's Runner accepts no other loader.

    Args:
        dataset: Clips by draw.
        batches: Lists of draws, iterated anew for each pass.
        collate: Function that makes a batch of draws and clips; clips may be `Undecodable`.
        workers: Number of decode processes; 0 decodes in this process, without guard.
        seconds: Time limit of a clip.
        substitute: For fits: the draw that replaces an undecodable clip.
        keep_workers: Keep the workers after a complete pass for the next pass.
    """

    def __init__(
        self,
        dataset: ClipDataset[ClipT],
        batches: Iterable[list[Draw]],
        collate: Collate[ClipT, BatchT],
        workers: int,
        seconds: float = DECODE_SECONDS,
        substitute: Substitute | None = None,
        keep_workers: bool = False,
    ) -> None:
        super().__init__(dataset, batch_sampler=batches, num_workers=0)  # type: ignore[arg-type]
        self._batches = batches
        self.guard = _Guard(dataset, collate, workers, seconds, substitute, keep_workers)

    def close(self) -> None:
        """End the workers that were kept. The loader can still be iterated."""
        self.guard.close()

    def __iter__(self) -> Iterator[BatchT]:  # type: ignore[override]
        return self.guard.run(self._batches)

    @property
    def replaced(self) -> set[int]:
        """Rows of training clips that were replaced because they could not be decoded."""
        return self.guard.replaced


class _Guard(Generic[ClipT, BatchT]):
    """The settings of a loader, its idle workers, and the clips that it replaced; the arguments are the loader's."""

    def __init__(
        self,
        dataset: ClipDataset[ClipT],
        collate: Collate[ClipT, BatchT],
        workers: int,
        seconds: float,
        substitute: Substitute | None,
        keep: bool,
    ) -> None:
        self.dataset, self.collate, self.workers, self.seconds = dataset, collate, workers, seconds
        self.substitute, self.keep = substitute, keep
        self.replaced: set[int] = set()
        self.idle: list[Worker[ClipT]] = []

    def close(self) -> None:
        while self.idle:
            self.idle.pop().stop()

    def run(self, batches: Iterable[list[Draw]]) -> Iterator[BatchT]:
        """Yield the batches of one pass."""
        if self.workers == 0:
            for draws in batches:
                yield self.collate(draws, [self._decode_here(draw) for draw in draws])
            return
        # Workers are forked before the thread starts, because a fork copies locks that another thread holds.
        listed = list(batches)
        pool, self.idle = self.idle, []
        wanted = min(self.workers, sum(map(len, listed)))
        pool += [Worker(self.dataset) for _ in range(wanted - len(pool))]
        current = _Pass(self, listed, pool)
        complete = False
        try:
            while (item := current.results.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
            complete = True
        finally:
            current.end()
            if complete and self.keep:
                self.idle = pool
            else:  # after an abandoned pass workers are still decoding clips of it
                for worker in pool:
                    worker.stop()

    def _decode_here(self, draw: Draw) -> ClipT | Undecodable:
        clip, attempt = decode(self.dataset, draw), 0
        while isinstance(clip, Undecodable):
            attempt += 1
            other = self.other(draw, attempt, clip)
            if other is None:
                break
            clip = decode(self.dataset, other)
        return clip

    def other(self, draw: Draw, attempt: int, clip: Undecodable) -> Draw | None:
        """Return the draw that replaces a draw after some attempts; None if no draw is left."""
        other = self.substitute(draw, attempt) if self.substitute is not None else None
        if other is not None:
            self.replaced.add(draw.index)
            logger.warning("clip %d is replaced by clip %d: %s", draw.index, other.index, clip.reason)
        return other


@dataclass(frozen=True)
class _Task:
    """A clip to deliver.

    Args:
        number: Position among all clips of the pass.
        draw: The draw of the batch.
        decoded: The draw that is decoded in this attempt: `draw`, or its replacement.
        attempt: Number of draws that failed before `decoded`.
        crashes: Number of workers that died while they decoded `decoded`.
    """

    number: int
    draw: Draw
    decoded: Draw
    attempt: int = 0
    crashes: int = 0


class _Pass(Generic[ClipT, BatchT]):
    """One pass over the batches. A thread gives clips to workers and puts collated batches in order into `results`.

    Collation runs in this thread, so that a device never waits for copies of frames.

    Attributes:
        results: Batches; an exception or None at the end.
    """

    def __init__(self, guard: _Guard[ClipT, BatchT], batches: list[list[Draw]], pool: list[Worker[ClipT]]) -> None:
        self.guard, self.batches, self.pool = guard, batches, pool
        # At most two finished batches wait, to bound the memory.
        self.results: queue.Queue[BatchT | BaseException | None] = queue.Queue(maxsize=2)
        self._stop = threading.Event()
        draws = [draw for batch in batches for draw in batch]
        self._todo = deque(_Task(number, draw, draw) for number, draw in enumerate(draws))
        self._running: dict[int, _Task] = {}
        self._done: dict[int, ClipT | Undecodable] = {}
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """End the thread, which may wait for room in `results`."""
        self._stop.set()
        while self._thread.is_alive():
            try:
                self.results.get(timeout=0.05)
            except queue.Empty:
                continue

    def _serve(self) -> None:
        try:
            self._collect()
            self._put(None)
        except BaseException as error:
            self._put(error)

    def _put(self, item: BatchT | BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                self.results.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def _collect(self) -> None:
        """Serve the workers until all batches are delivered."""
        # Clips are decoded at most this far ahead of the first batch that is not delivered, to bound the memory.
        ahead = 2 * len(self.pool) + max(map(len, self.batches), default=1)
        first = 0
        for batch in self.batches:
            numbers = range(first, first + len(batch))
            while not self._stop.is_set() and not all(number in self._done for number in numbers):
                self._give_tasks(horizon=first + ahead)
                self._receive_clips()
                self._replace_overrun()
            if self._stop.is_set():
                return
            self._put(self.guard.collate(batch, [self._done.pop(number) for number in numbers]))
            first = numbers.stop

    def _give_tasks(self, horizon: int) -> None:
        for index, worker in enumerate(self.pool):
            if worker.task is None and self._todo and self._todo[0].number < horizon:
                task = self._todo.popleft()
                self._running[task.number] = task
                try:
                    worker.give(task.number, task.decoded, self.guard.seconds)
                except OSError:  # the worker died while it was idle, which says nothing about the clip
                    self._replace(index).give(task.number, task.decoded, self.guard.seconds)

    def _receive_clips(self) -> None:
        ready = wait([worker.connection for worker in self.pool if worker.task is not None], timeout=0.2)
        for index, worker in enumerate(self.pool):
            if worker.task is not None and worker.connection in ready:
                self._receive(index)

    def _receive(self, index: int) -> None:
        worker = self.pool[index]
        number = worker.task
        assert number is not None
        clip: ClipT | Undecodable
        try:
            clip = worker.take()
        except (EOFError, OSError, MemoryError):
            clip = Undecodable(worker.exit_reason)
            self._replace(index)
            task = self._running[number]
            if task.crashes + 1 < CRASHES:
                logger.warning("clip %d is tried again in a fresh worker: %s", task.decoded.index, clip.reason)
                # In front of the queue: the next batch cannot be delivered without this clip.
                self._todo.appendleft(replace(self._running.pop(number), crashes=task.crashes + 1))
                return
        self._settle(number, clip)

    def _replace_overrun(self) -> None:
        now = time.monotonic()
        for index, worker in enumerate(self.pool):
            if worker.task is not None and now > worker.deadline:
                number = worker.task
                self._replace(index)
                self._settle(number, Undecodable(f"not decoded within {self.guard.seconds:g} s"))

    def _replace(self, index: int) -> Worker[ClipT]:
        self.pool[index].stop()
        self.pool[index] = Worker(self.guard.dataset)
        return self.pool[index]

    def _settle(self, number: int, clip: ClipT | Undecodable) -> None:
        """Keep a decoded clip; queue the replacement of an undecodable clip, or keep its reason if none is left."""
        task = self._running.pop(number)
        if isinstance(clip, Undecodable):
            other = self.guard.other(task.draw, task.attempt + 1, clip)
            if other is not None:
                self._todo.appendleft(_Task(number, task.draw, other, task.attempt + 1))
                return
        self._done[number] = clip
