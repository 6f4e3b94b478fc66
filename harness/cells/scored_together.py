"""The number of videos that an eval scores together, for methods whose scores depend on it."""

from __future__ import annotations

from collections.abc import Iterable

from harness.base.errors import UserError
from harness.cells.cell import EvalCell
from harness.machine.compute_options import ComputeOptions


def check_scored_together(evals: Iterable[EvalCell], compute: ComputeOptions) -> None:
    """Refuse another device batch than that of a method whose scores depend on it: no measurement states the batch.

    Raises:
        UserError: `eval_clips` is given and differs from the method's number of videos.
    """
    for row in {id(cell.row): cell.row for cell in evals}.values():
        together = row.spec.scored_together(row.options)
        if together is not None and compute.eval_clips not in (None, together):
            raise UserError(
                f"{row.name} scores {together} videos together under these options, and --eval-clips is "
                f"{compute.eval_clips}, expected {together}: the scores of a video depend on the videos beside it.",
                "Leave --eval-clips out.",
            )
