"""A first estimate of hours before anything was measured in a run folder, from multiply-adds of the vision tower."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.cells.architecture_table import ARCHITECTURES
from harness.cells.backbone import BackboneChoice
from harness.cells.cell import EvalCell, FitCell
from harness.cells.estimate import eval_work, fit_work


@dataclass(frozen=True)
class Machine:
    """Measured rates of a machine, in 10^9 multiply-adds of one forward pass of the vision tower per second.

    Args:
        name: Name in the output.
        fit: Rate of fits: forward and backward pass of both towers, and the update.
        eval: Rate of evals.
    """

    name: str
    fit: float
    eval: float


# ViT-B/16 with 17.56 GMACs per frame. H200: median over methods at 16 frames in bf16 without compilation, 130 clips/s
# in fits and 385 in evals (benchmarks/results/throughput-h200.json). CPU: 0.506 clips of 8 frames per processor second
# in fp32 (benchmarks/results/cpu-precision.json); a training step takes three times as long.
MACHINES = (Machine("one H200", 36_500.0, 108_000.0), Machine("one CPU core", 24.0, 71.0))


def first_estimate(fits: Iterable[FitCell], evals: Iterable[EvalCell]) -> str:
    """Hours of open cells on reference machines as a sentence; empty if the table lacks an architecture of them.

    Decoding and cached features are not part of the estimate.
    """
    fit_work_of = [(_gmacs(cell), fit_work(cell)) for cell in fits]
    eval_work_of = [(_gmacs(cell), eval_work(cell)) for cell in evals]
    if not (fit_work_of or eval_work_of) or any(gmacs is None for gmacs, _ in (*fit_work_of, *eval_work_of)):
        return ""
    fitted = sum(gmacs * work for gmacs, work in fit_work_of if gmacs is not None)
    evaluated = sum(gmacs * work for gmacs, work in eval_work_of if gmacs is not None)
    times = [
        f"fits {_hours(fitted / machine.fit)}, evals {_hours(evaluated / machine.eval)} on {machine.name}"
        for machine in MACHINES
    ]
    return f"first estimate from multiply-adds, without decoding: {'; '.join(times)}"


def _gmacs(cell: FitCell | EvalCell) -> float | None:
    """10^9 multiply-adds of a frame; None for a model that is not in the table."""
    backbone = cell.row.backbone
    if not isinstance(backbone, BackboneChoice):
        return None
    known = ARCHITECTURES.get(backbone.arch or "ViT-B-16")
    return known.gmacs if known else None


def _hours(seconds: float) -> str:
    hours = seconds / 3600.0
    return f"{hours:,.0f} h" if hours >= 10 else f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.0f} min"
