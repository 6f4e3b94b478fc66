"""Figure of probes: the loss of each method under each view transform, with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from matplotlib.figure import Figure

from harness.spec.view_transforms import BUILT_IN
from reports.labels import named, shorten
from reports.plot import COLOURS, MARKERS, canvas, svg
from reports.probes import TITLE, ProbeRow

_TITLE = 30
_SPREAD = 0.6
"""Width of the markers of one part, in distances between parts."""


def probe_figure(probes: Sequence[ProbeRow], title: str, name: str = "probes") -> str:
    """An SVG of the losses of some rows on one dataset.

    Args:
        probes: Rows of one dataset; rows beyond eight are left out.
        title: Title of the dataset.
        name: Prefix that makes the ids unique on a page.
    """
    with probe_canvas(probes, title) as figure:
        return svg(figure, name, f"{TITLE}: {title}")


@contextmanager
def probe_canvas(probes: Sequence[ProbeRow], title: str) -> Iterator[Figure]:
    """The figure as a matplotlib figure: loss in percent points by part, intervals as bars."""
    shown = probes[: len(COLOURS)]
    found = dict.fromkeys(part for probe in shown for part in probe.losses)
    parts = [*(part for part in BUILT_IN if part in found), *sorted(part for part in found if part not in BUILT_IN)]
    names = [shorten(named(probe.row.title, probe.label), _TITLE) for probe in shown]
    with canvas(width=0.42 * len(parts) + 0.4, height=3.6, legend=names, below=1.05) as (figure, axes):
        for number, probe in enumerate(shown):
            offset = _SPREAD * ((number + 0.5) / len(shown) - 0.5)
            losses = [(x, probe.losses[part]) for x, part in enumerate(parts) if part in probe.losses]
            drawn = [(x + offset, loss) for x, loss in losses if loss.loss is not None]
            colour = COLOURS[number]
            for x, loss in drawn:
                if loss.interval:
                    axes.vlines(x, *loss.interval, color=colour, alpha=0.35, linewidth=3, zorder=2)
            ys = [loss.loss for _, loss in drawn]
            axes.plot(
                [x for x, _ in drawn], ys, MARKERS[number], color=colour, markersize=4, label=names[number], zorder=3
            )
        axes.axhline(0.0, color="#888888", linewidth=0.8, zorder=1)
        axes.set_xticks(range(len(parts)), [part.replace("_", " ") for part in parts], rotation=60, ha="right")
        axes.set(ylabel="Loss against clean (points)", title=shorten(f"{TITLE}: {title}", 80))
        axes.grid(axis="y", alpha=0.15)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
        yield figure
