"""Columns of cost: GFLOPs, throughput and trained parameters of a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from reports.row import Row
from reports.throughput import throughput

COSTS: Mapping[str, Callable[[Row], float | str | None]] = {
    "gflops": lambda row: row.gflops,
    "throughput": throughput,
    "params_m": lambda row: row.params_trained / 1e6,
}
"""By printed column our value: 10^9 multiply-adds of one view, videos per second, millions of trained parameters."""


def cost_of(row: Row, column: str) -> float | str | None:
    """A row's value in a column of cost, a word where it has none; None if it is unknown or no cost."""
    cost = COSTS.get(column)
    return cost(row) if cost else None
