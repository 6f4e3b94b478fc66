"""Progress bars on a terminal."""

from __future__ import annotations

import sys
from types import TracebackType

from tqdm import tqdm


class Progress:
    """One bar over the cells of a plan and one for the current cell, on stderr.

    Args:
        quiet: Show nothing. Nothing is shown if stderr is not a terminal, either.
        cells: Number of cells to carry out.
    """

    def __init__(self, quiet: bool, cells: int) -> None:
        self.hidden = quiet or not sys.stderr.isatty()
        self.cells = cells
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

    def begin(self, name: str) -> None:
        """Start the bar of a cell."""
        self._inner = tqdm(desc=name, disable=self.hidden, leave=False, position=1, unit="it")

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

    def eval_step(self, done: int, total: int) -> None:
        """Show an eval's videos."""
        self._step(done, total)

    def render_step(self, done: int, total: int) -> None:
        """Show the rendering of an embedded dataset."""
        self._step(done, total)
        # The same bar goes on with the cell whose videos were rendered.
        if done >= total and self._inner is not None:
            self._inner.reset()

    def _step(self, done: int, total: int) -> None:
        if self._inner is not None:
            self._inner.total = total
            # tqdm takes increments; callers state totals, which several processes only estimate.
            self._inner.update(done - self._inner.n)
