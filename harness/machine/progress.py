"""Progress of a run on stderr: bars on a terminal, else lines for pipes, logs of jobs, CI and notebooks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType

from tqdm import tqdm

LINE_SECONDS = 60.0
"""Longest time between two lines of a cell that reports progress."""
EPOCH_SECONDS = 10.0
"""Least time between two lines; shorter epochs share a line."""


class Progress:
    """One bar over the cells of a run and one for the current cell; without a terminal, lines of text.

    Args:
        quiet: Show nothing.
        cells: Number of cells to carry out.
        clock: Current time in seconds.
    """

    def __init__(self, quiet: bool, cells: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.hidden = quiet or not sys.stderr.isatty()
        self.cells = cells
        self._lines = None if quiet or not self.hidden else ProgressLines(cells, clock)
        self._outer: tqdm | None = None
        self._inner: tqdm | None = None

    def __enter__(self) -> Progress:
        self._outer = tqdm(total=self.cells, desc="cells", disable=self.hidden, unit="cell", position=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(advance=False)
        if self._outer is not None:
            self._outer.close()

    def begin(self, name: str, epochs: int = 0) -> None:
        """Start the bar of a cell.

        Args:
            name: Kind and name of the cell.
            epochs: Epochs of a fit; 0 for an eval.
        """
        self._inner = tqdm(desc=name, disable=self.hidden, leave=False, position=1, unit="it")
        if self._lines is not None:
            self._lines.begin(name, epochs)

    def end(self, advance: bool = True) -> None:
        """Close the bar of the current cell."""
        if self._inner is not None:
            self._inner.close()
            self._inner = None
            if advance and self._outer is not None:
                self._outer.update(1)

    def fit_step(self, done: int, total: int, loss: float | None) -> None:
        """Show a fit's iterations and loss; a fit in closed form has none."""
        self._step(done, total)
        if self._inner is not None and loss is not None:
            # `_step` has drawn the bar already; a second refresh per iteration would flicker.
            self._inner.set_postfix_str(f"loss {loss:.3f}", refresh=False)
        if self._lines is not None:
            self._lines.step(done, total, "iterations", loss)

    def eval_step(self, done: int, total: int) -> None:
        """Show an eval's videos."""
        self._step(done, total)
        if self._lines is not None:
            self._lines.step(done, total, "videos")

    def render_step(self, done: int, total: int) -> None:
        """Show the rendering of an embedded dataset."""
        self._step(done, total)
        if self._lines is not None:
            self._lines.step(done, total, "rendered videos")
        # The same bar goes on with the cell whose videos were rendered.
        if done >= total and self._inner is not None:
            self._inner.reset()

    def _step(self, done: int, total: int) -> None:
        if self._inner is not None:
            self._inner.total = total
            # tqdm takes increments; callers state totals, which several processes only estimate.
            self._inner.update(done - self._inner.n)


class ProgressLines:
    """Lines on stderr: one at the begin of the run, and then one an epoch or a minute, at most one in ten seconds.

    Args:
        cells: Number of cells of the run.
        clock: Current time in seconds.
    """

    def __init__(self, cells: int, clock: Callable[[], float]) -> None:
        self._cells, self._clock = cells, clock
        self._index, self._name, self._epochs, self._epoch = 0, "", 0, 0
        self._unit = ""
        self._first: tuple[float, int] | None = None
        self._written: float | None = None

    def begin(self, name: str, epochs: int) -> None:
        """Start a cell; written if the last line is older than ten seconds."""
        self._index += 1
        self._name, self._epochs, self._epoch, self._unit, self._first = name, epochs, 0, "", None
        if self._written is None or self._clock() - self._written >= EPOCH_SECONDS:
            self._write("begins")

    def step(self, done: int, total: int, unit: str, loss: float | None = None) -> None:
        """Take the progress of the current cell, and write it if an epoch or a minute has passed."""
        now = self._clock()
        if unit != self._unit:  # the rendering of a dataset has other steps than the cell that needs it
            self._unit, self._first = unit, None
        if self._first is None:
            self._first = now, done  # a resumed cell starts after the steps of the earlier session
        epoch = done * self._epochs // total if total and unit == "iterations" else 0
        waited = now - (self._written if self._written is not None else now)
        if waited < EPOCH_SECONDS or (epoch <= self._epoch and waited < LINE_SECONDS):
            return
        self._epoch = max(epoch, self._epoch)
        parts = [f"epoch {epoch} of {self._epochs}"] if epoch else []
        parts += [f"{done} of {total} {unit}"] + ([f"loss {loss:.3f}"] if loss is not None else [])
        self._write(", ".join([*parts, *self._left(now, done, total)]))

    def _left(self, now: float, done: int, total: int) -> list[str]:
        """The estimated time left of the current cell; none before a step was timed."""
        start, first = self._first or (now, done)
        if done <= first or now <= start:
            return []
        return [f"{duration((now - start) / (done - first) * (total - done))} left"]

    def _write(self, text: str) -> None:
        self._written = self._clock()
        sys.stderr.write(f"cell {self._index} of {self._cells}: {self._name}: {text}\n")
        sys.stderr.flush()


def duration(seconds: float) -> str:
    """A time in the two largest of its units: `45 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"
