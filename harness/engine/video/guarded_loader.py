"""A data loader whose workers may crash or hang without ending the run.

Video decoders pass foreign bytes to C libraries: some files crash them, on some files they never return. Each clip is
read and decoded in a worker process. A clip has one of three outcomes:

* frames;
* undecodable: its bytes were read, and decoders twice refused them, crashed on them or exceeded the limit of CPU time;
* an error of the run (`MachineFaultError`): twice the file could not be read, memory ran out, the worker was killed
  from outside, or nothing happened for the time limit. No prediction may depend on a fault of the machine.

A worker that dies or stalls is replaced. Batches arrive in order whatever the workers do.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Generic, Self, TypeVar

from torch.utils.data import DataLoader

from harness.engine.video.batches import Draw
from harness.engine.video.clip_sources import Kept, Substitutes
from harness.engine.video.decode import NO_MEMORY, ClipDataset, ClipT, Stage, Task, Undecodable, decode
from harness.engine.video.decode_workers import Worker, Workers
from harness.engine.video.video_bytes import DECODE_SECONDS, MachineFault, MachineFaultError

logger = logging.getLogger(__name__)
CRASHES = 2
"""Number of workers that end on a clip before the clip counts as undecodable."""
FAULTS = 2
"""Number of faults of the machine on a clip before the run ends."""

BatchT = TypeVar("BatchT")
Collate = Callable[[list[Draw], list[ClipT | Undecodable]], BatchT]
"""Function from the draws and clips of a batch to the batch."""


class GuardedLoader(DataLoader[ClipT], Generic[ClipT, BatchT]):
    """A torch `DataLoader` over `Draw`s with guarded workers.

    It derives from `DataLoader` because mmengine's Runner accepts no other loader.

    Args:
        dataset: Clips by draw.
        batches: Lists of draws, iterated anew for each pass.
        collate: Function that makes a batch of draws and clips; clips may be `Undecodable`.
        workers: Number of decode processes; 0 decodes in this process, without guard.
        seconds: Limit of CPU time of a clip, and of waiting time without a byte of it.
        substitutes: For fits: the clips that replace undecodable clips.
        keep_workers: Keep the workers after a complete pass for the next pass.
    """

    def __init__(
        self,
        dataset: ClipDataset[ClipT],
        batches: Iterable[list[Draw]],
        collate: Collate[ClipT, BatchT],
        workers: int,
        seconds: float = DECODE_SECONDS,
        substitutes: Substitutes | None = None,
        keep_workers: bool = False,
    ) -> None:
        super().__init__(dataset, batch_sampler=batches, num_workers=0)  # type: ignore[arg-type]
        self._batches = batches
        self.guard = _Guard(dataset, collate, workers, seconds, substitutes, keep_workers)

    def with_kept(self, kept: Kept[ClipT] | None) -> Self:
        """Return this loader, which takes clips from memory instead of decoding them; None decodes all clips."""
        self.guard.kept = kept
        return self

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
        substitutes: Substitutes | None,
        keep: bool,
    ) -> None:
        self.dataset, self.collate, self.workers, self.seconds = dataset, collate, workers, seconds
        self.substitutes, self.keep = substitutes, keep
        self.kept: Kept[ClipT] | None = None
        self.replaced: set[int] = set()
        self.idle: list[Worker[ClipT]] = []
        self.processes = Workers(dataset)

    def close(self) -> None:
        while self.idle:
            self.idle.pop().stop()
        self.processes.close()

    def run(self, batches: Iterable[list[Draw]]) -> Iterator[BatchT]:
        """Yield the batches of one pass."""
        # What an earlier pass or session replaced is not tried again: a clip that hangs costs its limit once per fit.
        # Clips that this pass replaces do not count, so that the outcome is the same for any number of processes.
        known = frozenset(self.replaced)
        if self.workers == 0:
            for draws in batches:
                yield self.collate(draws, [self._decode_here(draw, known) for draw in draws])
            return
        listed = list(batches)
        pool, self.idle = self.idle, []
        ready = self._ready(listed)
        wanted = min(self.workers, sum(map(len, listed)) - len(ready))
        pool += [self.processes.start() for _ in range(wanted - len(pool))]
        current = _Pass(self, listed, pool, known, ready)
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
                self.processes.close()

    def _ready(self, batches: list[list[Draw]]) -> dict[int, ClipT]:
        """Return the clips in memory by their position among all clips of a pass."""
        if self.kept is None:
            return {}
        draws = enumerate(draw for batch in batches for draw in batch)
        return {number: clip for number, draw in draws if (clip := self.kept.get(draw)) is not None}

    def _decode_here(self, draw: Draw, known: frozenset[int]) -> ClipT | Undecodable:
        """Decode in this process, where a file that hangs or crashes a decoder hangs or crashes the run."""
        if self.kept is not None and (ready := self.kept.get(draw)) is not None:
            return ready
        decoded, attempt = self.first(draw, known)
        while True:
            clip = decode(self.dataset, decoded)
            if isinstance(clip, MachineFault):
                logger.warning("%s is tried again: %s", self.name(decoded), clip.reason)
                clip = decode(self.dataset, decoded)
            if isinstance(clip, MachineFault):
                raise self.error(decoded, clip)
            if not isinstance(clip, Undecodable):
                self.keep_clip(decoded, clip)
                return clip
            other = self.other(draw, attempt + 1, known, clip)
            if other is None:
                return clip
            decoded, attempt = other

    def first(self, draw: Draw, known: frozenset[int]) -> tuple[Draw, int]:
        """Return the draw to decode first for a draw of a batch, and the number of draws before it.

        That is the draw itself, unless its row was replaced before; the draw itself also if every other row was.
        """
        decoded: Draw | None = draw
        attempt = 0
        while self.substitutes is not None and decoded is not None and decoded.index in known:
            attempt += 1
            decoded = self.substitutes.draw(draw, attempt)
        return (draw, 0) if decoded is None else (decoded, attempt)

    def other(self, draw: Draw, attempt: int, known: frozenset[int], clip: Undecodable) -> tuple[Draw, int] | None:
        """Return the draw that replaces a draw after some attempts, and their number; None if no draw is left."""
        other = self.substitutes.draw(draw, attempt) if self.substitutes is not None else None
        while self.substitutes is not None and other is not None and other.index in known:
            attempt += 1
            other = self.substitutes.draw(draw, attempt)
        if self.substitutes is None or other is None:
            return None
        if draw.index not in self.replaced:  # one warning per clip, not per epoch
            self.replaced.add(draw.index)
            self.substitutes.warn(draw, other, clip)
        return other, attempt

    def keep_clip(self, draw: Draw, clip: ClipT) -> None:
        """Keep a decoded clip in memory for later evals."""
        if self.kept is not None:
            self.kept.put(draw, clip)

    def error(self, draw: Draw, fault: MachineFault) -> MachineFaultError:
        """Return the error of the run after a fault of the machine."""
        return MachineFaultError(self.name(draw), fault)

    def name(self, draw: Draw) -> Path | str:
        """Return the file of a draw, or its row if it is not read from a file."""
        return self.dataset.video(draw) or f"clip {draw.index}"


@dataclass(frozen=True)
class _Task:
    """A clip to deliver.

    Args:
        number: Position among all clips of the pass.
        draw: The draw of the batch.
        decoded: The draw that is decoded in this attempt: `draw`, or its replacement.
        attempt: Number of draws that failed before `decoded`.
        crashes: Number of workers that ended on `decoded`.
        faults: Number of faults of the machine on `decoded`.
        failed: The reason why decoders ended on `decoded`; its bytes remain to be hashed.
    """

    number: int
    draw: Draw
    decoded: Draw
    attempt: int = 0
    crashes: int = 0
    faults: int = 0
    failed: str = ""


class _Pass(Generic[ClipT, BatchT]):
    """One pass over the batches. A thread gives clips to workers and puts collated batches in order into `results`.

    Collation runs in this thread, so that a device never waits for copies of frames.

    Attributes:
        results: Batches; an exception or None at the end.
    """

    def __init__(
        self, guard: _Guard[ClipT, BatchT], batches: list[list[Draw]], pool: list[Worker[ClipT]],
        known: frozenset[int], ready: dict[int, ClipT],
    ) -> None:  # fmt: skip
        self.guard, self.batches, self.pool, self.known = guard, batches, pool, known
        # At most two finished batches wait, to bound the memory.
        self.results: queue.Queue[BatchT | BaseException | None] = queue.Queue(maxsize=2)
        self._stop = threading.Event()
        draws = [draw for batch in batches for draw in batch]
        self._todo = deque(
            _Task(number, draw, *guard.first(draw, known)) for number, draw in enumerate(draws) if number not in ready
        )
        self._running: dict[int, _Task] = {}
        self._done: dict[int, ClipT | Undecodable | MachineFault] = {**ready}
        self._faulty: dict[int, Draw] = {}
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
                self._replace_stalled()
            if self._stop.is_set():
                return
            # Batches before a fault are delivered, so that their scores are kept.
            self._put(self.guard.collate(batch, [self._delivered(number) for number in numbers]))
            first = numbers.stop

    def _delivered(self, number: int) -> ClipT | Undecodable:
        clip = self._done.pop(number)
        if isinstance(clip, MachineFault):
            raise self.guard.error(self._faulty[number], clip)
        return clip

    def _give_tasks(self, horizon: int) -> None:
        for index, worker in enumerate(self.pool):
            if worker.task is None and self._todo and self._todo[0].number < horizon:
                task = self._todo.popleft()
                self._running[task.number] = task
                request = Task(task.decoded, self.guard.seconds, task.failed)
                try:
                    worker.give(task.number, request, self.guard.seconds)
                except OSError:  # the worker died while it was idle, which says nothing about the clip
                    self._replace(index).give(task.number, request, self.guard.seconds)

    def _receive_clips(self) -> None:
        ready = wait([worker.connection for worker in self.pool if worker.task is not None], timeout=0.2)
        for index, worker in enumerate(self.pool):
            if worker.task is not None and worker.connection in ready:
                self._receive(index)

    def _receive(self, index: int) -> None:
        worker = self.pool[index]
        number = worker.task
        assert number is not None
        try:
            clip = worker.take()
        except MemoryError:
            self._replace(index)
            self._fault(number, NO_MEMORY)
            return
        except (EOFError, OSError):
            ended = worker.end()
            self.pool[index] = self.guard.processes.start()
            if isinstance(ended, MachineFault):
                self._fault(number, ended)
            else:
                self._crash(number, ended)
            return
        if isinstance(clip, MachineFault):
            self._fault(number, clip)
        elif not isinstance(clip, Stage):
            self._settle(number, clip)

    def _replace_stalled(self) -> None:
        for index, worker in enumerate(self.pool):
            if worker.task is not None and worker.has_stalled():
                number, stall = worker.task, worker.stall
                self._replace(index)
                self._fault(number, stall)

    def _replace(self, index: int) -> Worker[ClipT]:
        self.pool[index].stop()
        self.pool[index] = self.guard.processes.start()
        return self.pool[index]

    def _crash(self, number: int, reason: str) -> None:
        """Decode a clip once more after a decoder ended on it; after the second time only hash its bytes."""
        task = self._running.pop(number)
        crashes = task.crashes + 1
        if crashes < CRASHES:
            logger.warning("%s is decoded again in a fresh worker: %s", self.guard.name(task.decoded), reason)
            self._todo.appendleft(replace(task, crashes=crashes))
        else:
            self._todo.appendleft(replace(task, crashes=crashes, failed=reason))

    def _fault(self, number: int, fault: MachineFault) -> None:
        """Try a clip once more after a fault of the machine; after the second fault the run ends at this clip."""
        task = self._running.pop(number)
        if task.faults + 1 < FAULTS:
            logger.warning("%s is tried again: %s", self.guard.name(task.decoded), fault.reason)
            # In front of the queue: the next batch cannot be delivered without this clip.
            self._todo.appendleft(replace(task, faults=task.faults + 1))
            return
        self._done[number], self._faulty[number] = fault, task.decoded

    def _settle(self, number: int, clip: ClipT | Undecodable) -> None:
        """Keep a decoded clip; queue the replacement of an undecodable clip, or keep its reason if none is left."""
        task = self._running.pop(number)
        if isinstance(clip, Undecodable):
            other = self.guard.other(task.draw, task.attempt + 1, self.known, clip)
            if other is not None:
                self._todo.appendleft(_Task(number, task.draw, *other))
                return
        else:
            self.guard.keep_clip(task.decoded, clip)
        self._done[number] = clip
