"""The state of a fit: done, missing or stale, and why."""

from __future__ import annotations

import glob
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import UserError
from harness.cells.cell import EvalCell, FitCell
from harness.data.lists.dataset import Dataset
from harness.spec import VideoList
from results.fit_file import FitFile, read_fit_file
from results.measurement import ModelId, training_key
from results.measurement_words import Difference, differences_of_fits

TensorsOf = Callable[[ModelId], str]
"""Hash of a model's tensors if it is known without reading the weights, else empty."""


@dataclass(frozen=True)
class CellState:
    """The state of one cell.

    Args:
        cell: The fit or eval.
        state: `done`, `missing` or `stale`.
        reason: The reason if the cell is not done; of a stale cell, the change that made it stale.
    """

    cell: FitCell | EvalCell
    state: str
    reason: str = ""

    @property
    def open(self) -> bool:
        """Whether the cell is not done."""
        return self.state != "done"

    @property
    def kind(self) -> str:
        """`fit` or `eval`."""
        return "fit" if isinstance(self.cell, FitCell) else "eval"


def fit_state(cell: FitCell, tensors_of: TensorsOf = lambda model: "") -> CellState:
    """The state of a fit: done if `fit.json` has its key, its start is unchanged, and its weights exist.

    A fit is stale if videos of its list that were missing exist now, if its parent fit has different weights now, or if
    the model has different tensors.

    Raises:
        UserError: The `fit.json` is damaged. It may stand for hours of training, so that it is not replaced silently.
    """
    fitted = read_fit_file(cell.folder)
    if fitted is not None and fitted.key == cell.key:
        if outdated := fit_outdated(cell, fitted, tensors_of):
            return CellState(cell, "stale", outdated)
        if (cell.folder / fitted.weights.file).is_file():
            return CellState(cell, "done")
        return CellState(cell, "stale", "its weights were removed")
    if any(cell.folder.glob("epoch_*.pth")):
        return CellState(cell, "missing", "interrupted; resumes from its last epoch")
    if (source := finished_training(cell, tensors_of)) is not None:
        return CellState(cell, "missing", f"needs no training: its weights follow from {source[1].name}")
    for _, other in _sibling_fits(cell):
        return CellState(cell, "stale", why(differences_of_fits(other.described, cell.described)))
    return CellState(cell, "missing", "not fitted yet")


def finished_training(cell: FitCell, tensors_of: TensorsOf = lambda model: "") -> tuple[Path, FitFile] | None:
    """The folder and file of a finished fit from which the weights of a cell follow without training; None without.

    The recipes of both evaluate other weights of the same training (`Recipe.trajectory`), and the folder has the
    weights of all epochs that the cell needs.
    """
    key = training_key(cell.described)
    for folder, other in _sibling_fits(cell):
        held = {kept.epoch for kept in other.kept if (folder / kept.file).is_file()}
        if not set(cell.recipe.ingredients) <= held or training_key(other.described) != key:
            continue
        if not fit_outdated(cell, other, tensors_of):
            return folder, other
    return None


def _sibling_fits(cell: FitCell) -> list[tuple[Path, FitFile]]:
    """Finished fits of the same method and list with other keys, each with its folder."""
    siblings = []
    # The name of a folder ends in the first digits of the key of its fit. Before it stands the name of a dataset, which
    # can contain the signs of a pattern.
    stem = glob.escape(cell.folder.name.rsplit("-", 1)[0])
    for sibling in sorted(cell.folder.parent.glob(f"{stem}-*")):
        try:
            other = read_fit_file(sibling) if sibling != cell.folder else None
        except UserError:
            continue
        if other is not None and other.described.training.list.root == cell.described.training.list.root:
            siblings.append((sibling, other))
    return siblings


def fit_outdated(cell: FitCell, fitted: FitFile, tensors_of: TensorsOf) -> str:
    """The reason why a finished fit is stale; empty if it is not stale."""
    training = fitted.described.training
    if arrived := more_videos(training.used, cell.train, cell.dataset):
        return arrived
    if changed := different_tensors(fitted.described.model, cell.described.model, tensors_of):
        return changed
    if cell.parent is None:
        return ""
    try:
        parent = read_fit_file(cell.parent.folder)
    except UserError as error:
        return f"its parent fit cannot be read: {error.message}"
    if parent is None:
        return ""  # the parent is computed again only if an open fit needs it; its weights are compared then
    if parent.key != cell.parent.key or parent.weights.sha256 != training.start.weights_sha256:
        return f"its parent fit {cell.parent.name} was computed again and has different weights"
    if outdated := fit_outdated(cell.parent, parent, tensors_of):
        return f"its parent fit is stale: {outdated}"
    return ""


def different_tensors(recorded: ModelId, planned: ModelId, tensors_of: TensorsOf) -> str:
    """The difference between the tensors of a model then and now, in words; empty if they are equal or not known."""
    now = tensors_of(planned)
    if not now or not recorded.tensors_sha256 or now == recorded.tensors_sha256:
        return ""
    return f"the weights {planned.weights} have different tensors ({recorded.tensors_sha256[:8]} then, {now[:8]} now)"


def more_videos(used: int, videos: VideoList, dataset: Dataset) -> str:
    """The number of missing videos of a list that exist now, in words; empty for none."""
    missing = len(videos) - used
    if missing <= 0:
        return ""
    try:
        now = sum(dataset.locate(path) is not None for path, _ in videos.rows)
    except UserError:  # no folder is configured for the videos: the measurement stays valid
        return ""
    return f"{now - used} of {missing} videos that were missing exist now" if now > used else ""


def why(changes: tuple[Difference, ...]) -> str:
    """At most three changed fields that enter the key, with the old and the new value."""
    texts = [
        f"{change.label} {change.value(change.a)} -> {change.value(change.b)}" for change in changes if change.keyed
    ]
    more = f"; and {len(texts) - 3} more" if len(texts) > 3 else ""
    return "; ".join(texts[:3]) + more or "the lists that the protocol prescribes changed"
