"""Weights whose tensors a plan does not know yet. Imports torch only to read such weights."""

from __future__ import annotations

import contextlib

from harness.base.errors import UserError
from harness.cells.backbone import BackboneChoice
from harness.cells.cell import Cells
from harness.machine.settings import Settings
from harness.weights.index import WeightsIndex
from results.measurement_words import model_text


def read_unknown_weights(cells: Cells, index: WeightsIndex, settings: Settings) -> None:
    """Read the weights of tags that finished cells used and whose tensor hashes are not known.

    Weights that are not on this machine stay unknown; finished cells then stay done.
    """
    rows = {model_text(row.model_id): row for row in (cell.row for cell in cells.evals if cell.record.is_file())}
    for row in rows.values():
        model = row.model_id
        if isinstance(row.backbone, BackboneChoice) and not index.of(model) and index.needs(model):
            from harness.running.build import load_chosen_backbone  # imports torch, which known weights do not need

            with contextlib.suppress(UserError):
                load_chosen_backbone(row.backbone, settings)
