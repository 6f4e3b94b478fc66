"""Estimated cost of a plan: hours from the throughput of finished cells, disk space from the sizes of finished fits."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import UserError
from harness.cells.cell import EvalCell, FitCell, MethodRow
from harness.cells.fit_state import finished_training
from harness.cells.plan import Plan
from results.fit_file import FIT_FILE, read_fit_file
from results.record import find_records, read_record


@dataclass(frozen=True)
class Budget:
    """An estimate of the open cells of a plan.

    Args:
        fit_hours, eval_hours: Hours; None without a finished cell of the same backbone.
        measured_fits, measured_evals: Finished cells from which the estimate is made.
        disk_gib: Weights of the open fits while they run (two checkpoints with optimiser state) and after, None if
            unknown.
    """

    fit_hours: float | None
    eval_hours: float | None
    measured_fits: int
    measured_evals: int
    disk_gib: float | None

    def __str__(self) -> str:
        fits = "unknown" if self.fit_hours is None else f"{self.fit_hours:.2f} h"
        evals = "unknown" if self.eval_hours is None else f"{self.eval_hours:.2f} h"
        disk = "unknown" if self.disk_gib is None else f"{self.disk_gib:.2f} GiB"
        basis = f"from {self.measured_fits} finished fits and {self.measured_evals} finished evals on this run folder"
        return f"estimate: fits {fits}, evals {evals}, disk {disk} ({basis})"


def estimate(plan: Plan, runs: Path) -> Budget:
    """The budget of a plan's open cells, from the finished cells of the run folder.

    The time of a fit is proportional to clips x epochs x frames, the time of an eval to videos x views x frames. The
    rate is the median over finished cells of the same method and backbone, else of the same backbone.
    """
    fits, evals = plan.open_fits(), plan.open_evals()
    fit_rates, sizes = _fit_rates(runs)
    eval_rates = _eval_rates(runs)
    fit_seconds = [_seconds(cell.row, fit_work(cell), fit_rates) for cell in fits]
    eval_seconds = [_seconds(cell.row, eval_work(cell), eval_rates) for cell in evals]
    disk = [sizes.get((cell.row.backbone.slug(), cell.row.name)) for cell in fits]
    return Budget(
        _hours(fit_seconds),
        _hours(eval_seconds),
        sum(map(len, fit_rates.values())),
        sum(map(len, eval_rates.values())),
        # Every fit leaves its weights. The running fit also has two checkpoints, each of weights and two Adam moments.
        None if None in disk else (sum(filter(None, disk)) + 6 * max(filter(None, disk), default=0)) / 2**30,
    )


def fit_work(cell: FitCell) -> float:
    """Clips x epochs x frames of a fit; 0 if its weights follow from a finished fit without training."""
    if finished_training(cell) is not None:
        return 0.0
    return float(len(cell.train) * cell.recipe.epochs * cell.views.frames)


def eval_work(cell: EvalCell) -> float:
    """Videos x views x frames of an eval."""
    return float(len(cell.test) * cell.views.count * cell.views.frames)


Rates = dict[tuple[str, str], list[float]]


def _fit_rates(runs: Path) -> tuple[Rates, dict[tuple[str, str], float]]:
    rates: Rates = {}
    sizes: dict[tuple[str, str], float] = {}
    for path in sorted(runs.glob(f"*/*/*/{FIT_FILE}")):
        try:
            fitted = read_fit_file(path.parent)
        except UserError:
            continue
        if fitted is None:
            continue
        training = fitted.described.training
        # Files are BACKBONE/METHOD/FIT/fit.json, and the folder of the backbone has the name that plans use.
        key = (path.parents[2].name, fitted.described.method.name)
        work = training.used * training.recipe.epochs * training.views.frames
        rates.setdefault(key, []).append(fitted.outcome.seconds / work)
        weights = path.parent / fitted.weights.file
        if weights.is_file():
            sizes[key] = float(weights.stat().st_size)
    return rates, sizes


def _eval_rates(runs: Path) -> Rates:
    rates: Rates = {}
    for path in find_records(runs) if runs.is_dir() else []:
        try:
            record = read_record(path)
        except UserError:
            continue
        views, cost = record.measurement.evaluation.views, record.cost
        # With cached features an eval does not run the vision tower: its rate says nothing about other evals.
        if cost.videos_per_second > 0 and not cost.features_cached:
            # Files are BACKBONE/METHOD/FIT/evals/RECORD.
            key = (path.parents[3].name, record.measurement.method.name)
            rates.setdefault(key, []).append(1.0 / (cost.videos_per_second * views.count * views.frames))
    return rates


def _seconds(row: MethodRow, work: float, rates: Rates) -> float | None:
    backbone, name = row.backbone.slug(), row.name
    own = rates.get((backbone, name)) or [r for (b, _), rows in rates.items() if b == backbone for r in rows]
    return work * statistics.median(own) if own else None


def _hours(seconds: Iterable[float | None]) -> float | None:
    values = list(seconds)
    return None if None in values else sum(v for v in values if v is not None) / 3600.0
