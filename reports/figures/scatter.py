"""Scatter figures: the two accuracies of a harmonic mean, and accuracy against cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from reports.columns import rules_of
from reports.figures.axes import Box, Scale, cost_scale, draw_axes, number_text, percent_scale, round_step
from reports.figures.labels import label_points
from reports.figures.palette import LABELLED, style_of
from reports.figures.svg import HEIGHT, WIDTH, Drawing, Figure, Pen, Point
from reports.labels import legend_of
from reports.layout import column_title
from reports.row import Cell, Row, harmonic_columns
from results.statistics.intervals import Interval

_LABELS = 130.0
"""Width in pixels right of the axes, for names; in a narrow figure a quarter of it."""
_CURVE_POINTS = 24
_MOST_CURVES = 7


def base_novel(rows: Sequence[Row], title: str, width: float = WIDTH) -> Figure | None:
    """Each row at the two accuracies of its harmonic mean; None where no row has such a column.

    The axes are the two columns of the first harmonic mean, in percent; for base-to-novel they are base and novel
    accuracy. Repeats are small dots, bars are 95 % intervals, and dashed curves have equal harmonic means.

    Args:
        rows: Rows of one group, the best first; rows without both accuracies are left out.
        title: Title of the group, for screen readers.
        width: Width of the figure in pixels.
    """
    pair = next(iter(harmonic_columns(rules_of(rows)).values()), None)
    if pair is None:
        return None
    first, second = (rule.name for rule in pair)
    rows = [row for row in rows if first in row.cells and second in row.cells]
    if not rows:
        return None
    names = legend_of(rows)
    ends = {column: _ends(row.cells[column] for row in rows) for column in (first, second)}
    box = _box(width)
    x, y = percent_scale(ends[first], box.left, box.right), percent_scale(ends[second], box.bottom, box.top)
    drawing = Drawing(width, HEIGHT)
    titles = column_title(first), column_title(second)
    draw_axes(drawing, box, x, y, (f"{titles[0]} top-1 (%)", f"{titles[1]} top-1 (%)"))
    _equal_means(drawing, x, y)
    points = []
    # From the worst to the best row, so that the best rows are drawn on top.
    for number, (row, name) in reversed(list(enumerate(zip(rows, names, strict=True)))):
        a, b = row.cells[first], row.cells[second]
        colour, shape = style_of(number)
        if shape != "dot":
            drawing.dots([(x(base), y(novel)) for base, novel in _pairs(a, b)], Pen(colour, opacity=0.45))
            for line in _bars(a, b, x, y):
                drawing.line(line, Pen(colour, opacity=0.5))
        centre = x(a.mean), y(b.mean)
        drawing.marker(centre, shape, Pen(colour), f"{name}: {a.mean:.1f}, {b.mean:.1f}")
        points.append((centre, name))
    label_points(drawing, box, points[::-1][:LABELLED])
    texts = []
    for heading, column in zip(titles, (first, second), strict=True):
        means = [row.cells[column].mean for row in rows]
        texts.append(f"{heading} is highest for {names[means.index(max(means))]} ({max(means):.1f} %)")
    text = f"{'; '.join(texts)}. Dashed curves have equal harmonic means (HM); small dots are repeats."
    return Figure(drawing.svg(f"{titles[0]} against {titles[1].lower()} accuracy: {title}"), text)


def _box(width: float) -> Box:
    """The area inside the axes of a figure of this width."""
    return Box(52, 14, width - min(_LABELS, 0.24 * width), HEIGHT - 44)


def _ends(cells: Iterable[Cell]) -> list[float]:
    """The values that an axis must show: means, repeats and the ends of intervals."""
    values = []
    for cell in cells:
        values += [cell.mean, *(repeat.value for repeat in cell.repeats), *(cell.interval or ())]
    return values


def _pairs(base: Cell, novel: Cell) -> list[Point]:
    """The two accuracies of each repeat that has both."""
    # A repeat of both columns has one index, because all its parts come from one fit.
    by_index = {repeat.index: repeat.value for repeat in novel.repeats}
    return [(repeat.value, by_index[repeat.index]) for repeat in base.repeats if repeat.index in by_index]


def _bars(a: Cell, b: Cell, x: Scale, y: Scale) -> list[list[Point]]:
    """The horizontal and the vertical interval of a point, as lines in pixels."""
    across, upright = a.interval or Interval(a.mean, a.mean), b.interval or Interval(b.mean, b.mean)
    return [
        [(x(across.low), y(b.mean)), (x(across.high), y(b.mean))],
        [(x(a.mean), y(upright.low)), (x(a.mean), y(upright.high))],
    ]


def _equal_means(drawing: Drawing, x: Scale, y: Scale) -> None:
    """Draw curves of equal harmonic mean inside the axes, at round values whose step follows the range of the axes."""
    low, high = (2 * a * b / (a + b) if a + b > 0 else 0.0 for a, b in ((x.low, y.low), (x.high, y.high)))
    step = round_step((high - low) / _MOST_CURVES)
    mean = step * (low // step + 1)
    while mean < high:
        # mean = 2ab / (a + b) solved for b; it has a pole at a = mean / 2, so the curve starts right of it.
        first = max(x.low, mean / 2 + 0.1)
        values = [first + (x.high - first) * n / _CURVE_POINTS for n in range(_CURVE_POINTS + 1)]
        curve = [(a, mean * a / (2 * a - mean)) for a in values]
        points = [(x(a), y(b)) for a, b in curve if y.low <= b <= y.high]
        if len(points) > 1:
            drawing.line(points, Pen(width=0.7, opacity=0.35, dash="4 3"))
            if points[-1][0] > x.start + 60:
                drawing.text((points[-1][0], points[-1][1] - 3), f"HM {number_text(mean)}", "end", 9.0)
        mean += step


@dataclass(frozen=True)
class CostKind:
    """A cost of a row.

    Args:
        name: Registered name.
        title: Title of the axis with the unit.
        unit: Unit for sentences.
        value: The cost of a row; None where it is unknown.
        one_device: Whether the cost depends on the device, so that only rows of one device are shown.
    """

    name: str
    title: str
    unit: str
    value: Callable[[Row], float | None]
    one_device: bool = False


def _fit_minutes(row: Row) -> float | None:
    """Mean wall time of the row's fits in minutes; 0 for an untrained method."""
    fits = {entry.record.fit.name: entry.record.fit.seconds for entry in row.entries if entry.record.fit}
    return sum(fits.values()) / len(fits) / 60.0 if fits else 0.0


def _fit_memory(row: Row) -> float | None:
    """Largest peak device memory of the row's fits in GiB; None if it was not measured, as on a CPU."""
    return max((entry.record.fit.peak_memory_gib for entry in row.entries if entry.record.fit), default=0.0) or None


COSTS: Mapping[str, CostKind] = {
    kind.name: kind
    for kind in (
        CostKind("params_trained", "Trained parameters (millions)", "M", lambda row: row.params_trained / 1e6),
        CostKind("gflops", "GFLOPs per view", "GFLOPs", lambda row: row.gflops),
        CostKind("fit_minutes", "Training time of a fit (minutes)", "minutes", _fit_minutes, one_device=True),
        CostKind("fit_memory", "Peak memory of a fit (GiB)", "GiB", _fit_memory, one_device=True),
    )
}
"""The costs that figures show, by name."""


def accuracy_cost(
    rows: Sequence[Row], column: str, title: str, cost: str = "params_trained", width: float = WIDTH
) -> Figure | None:
    """Accuracy in percent over cost with the Pareto step; None if no two rows have different costs.

    Args:
        rows: Rows of one group, the best first.
        column: The column whose accuracy is shown.
        title: Title of the group, for screen readers.
        cost: A name of `COSTS`.
        width: Width of the figure in pixels.
    """
    kind = COSTS[cost]
    known = [(value, row) for row in _of_one_device(rows, kind) if column in row.cells
             and (value := kind.value(row)) is not None]  # fmt: skip
    costs = [value for value, _ in known]
    positive = [value for value in costs if value > 0]
    # Costs that differ by less than 5 % say nothing about the choice of a method.
    if len(known) < 2 or not positive or (len(positive) > 1 and max(positive) <= 1.05 * min(positive)):
        return None
    names = legend_of([row for _, row in known])
    box = _box(width)
    x = cost_scale(costs, box.left, box.right)
    y = percent_scale(_ends(row.cells[column] for _, row in known), box.bottom, box.top)
    drawing = Drawing(width, HEIGHT)
    draw_axes(drawing, box, x, y, (kind.title, f"{column_title(column)} (%)"))
    best = pareto([(value, row.cells[column].mean) for value, row in known])
    _pareto_line(drawing, x, y, [(known[i][0], known[i][1].cells[column].mean) for i in best])
    points = []
    # From the worst to the best row, so that the best rows are drawn on top.
    for number, ((value, row), name) in reversed(list(enumerate(zip(known, names, strict=True)))):
        cell = row.cells[column]
        colour, shape = style_of(number)
        if cell.interval and shape != "dot":
            ends = [(x(value), y(end)) for end in cell.interval]
            drawing.line(ends, Pen(colour, 2.0, 0.4))
        drawing.marker((x(value), y(cell.mean)), shape, Pen(colour), f"{name}: {cell.mean:.1f} at {value:.3g}")
        points.append(((x(value), y(cell.mean)), name))
    label_points(drawing, box, points[::-1][:LABELLED])
    steps = [f"{names[i]} ({known[i][0]:.3g} {kind.unit}, {known[i][1].cells[column].mean:.1f} %)" for i in best]
    text = f"On the Pareto step: {'; '.join(steps)}. No other row is as accurate at the same or a lower cost."
    if kind.one_device:
        text += f" Rows measured on {_device(known[0][1]) or 'an unknown device'}."
    return Figure(drawing.svg(f"{column_title(column)} against {kind.title.lower()}: {title}"), text)


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points (cost, accuracy) that no point of at most the same cost reaches, by rising cost."""
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    best: list[int] = []
    for i in order:
        if not best or points[i][1] > points[best[-1]][1]:
            best.append(i)
    return best


def _pareto_line(drawing: Drawing, x: Scale, y: Scale, points: Sequence[tuple[float, float]]) -> None:
    line: list[Point] = []
    for cost, accuracy in points:
        if line:
            line.append((x(cost), line[-1][1]))
        line.append((x(cost), y(accuracy)))
    line.append((x.end, line[-1][1]))
    drawing.line(line, Pen(width=1.2, opacity=0.45, dash="2 2"))


def _device(row: Row) -> str:
    return row.record.environment.device


def _of_one_device(rows: Sequence[Row], kind: CostKind) -> list[Row]:
    """The rows; for times and memory only those of the device on which most rows were measured."""
    if not kind.one_device or not rows:
        return list(rows)
    counts = Counter(_device(row) for row in rows)
    most = max(counts.values())
    device = min(device for device, n in counts.items() if n == most)
    return [row for row in rows if _device(row) == device]
