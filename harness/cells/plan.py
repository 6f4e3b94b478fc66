"""Which cells are done, missing or stale, and why. Reads the run folder and runs nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from harness.base.errors import UserError
from harness.base.files import file_sha256
from harness.cells.cell import Cells, EvalCell, FitCell
from harness.data.lists.dataset import Dataset
from harness.spec import VideoList
from results.fit_file import FitFile, read_fit_file
from results.measurement import ModelId, keys_of
from results.measurement_words import Difference, differences, differences_of_fits, signature
from results.record import RECORD_SUFFIX, Record, read_record

RENEWED = "the method's card or declared recipe changed; the record is rewritten without computing"
REUSED = "the list was scored for another row; the record is written without computing"
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


@dataclass(frozen=True)
class Plan:
    """The states of all cells of a request.

    Args:
        fits, evals: States of the cells.
        wanted: Keys of fits to compute even if no unfinished eval needs them.
        tensors_of: Argument of `make_plan`.
    """

    fits: tuple[CellState, ...]
    evals: tuple[CellState, ...]
    wanted: frozenset[str] = frozenset()
    tensors_of: TensorsOf = lambda model: ""

    def open_fits(self) -> list[FitCell]:
        """Unfinished fits that were requested directly, or that an unfinished eval or such a fit depends on."""
        needed = set(self.wanted)
        for state in self.evals:
            if state.open and isinstance(state.cell, EvalCell) and state.cell.fit is not None:
                needed.add(state.cell.fit.key)
        cells = {s.cell.key: s.cell for s in self.fits if isinstance(s.cell, FitCell)}
        for cell in cells.values():
            if cell.key in needed and cell.parent is not None:  # a finished child is restored on its parent's weights
                needed.add(cell.parent.key)
        # A fit whose parent is computed again is listed too: only the new parent shows whether its start changed.
        undone = {s.cell.key for s in self.fits if s.open and s.cell.key in needed}
        return [
            cell
            for key, cell in cells.items()
            if key in needed and (key in undone or (cell.parent is not None and cell.parent.key in undone))
        ]

    def open_evals(self) -> list[EvalCell]:
        """Unfinished evals, and evals whose fit is computed again."""
        fits = {cell.key for cell in self.open_fits()}
        cells = [(s.open, s.cell) for s in self.evals if isinstance(s.cell, EvalCell)]
        return [cell for is_open, cell in cells if is_open or (cell.fit is not None and cell.fit.key in fits)]


def make_plan(
    cells: Cells, wanted: frozenset[str] = frozenset(), tensors_of: TensorsOf = lambda model: ""
) -> Plan:  # fmt: skip
    """The state of every cell, from the files on disk.

    Args:
        cells: Cells of the request.
        wanted: Keys of fits to compute even if no unfinished eval needs them.
        tensors_of: Known hashes of the tensors of models; a cell that was computed with other tensors is stale.
    """
    fits = tuple(fit_state(cell, tensors_of) for cell in cells.fits)
    return Plan(fits, tuple(eval_state(cell, tensors_of) for cell in cells.evals), wanted, tensors_of)


def refreshed(plan: Plan) -> Plan:
    """A plan of the same cells, with their states read from disk again."""
    cells = Cells(
        tuple(s.cell for s in plan.fits if isinstance(s.cell, FitCell)),
        tuple(s.cell for s in plan.evals if isinstance(s.cell, EvalCell)), (), False,
    )  # fmt: skip
    return make_plan(cells, plan.wanted, plan.tensors_of)


def select(cells: Cells, keys: frozenset[str]) -> Cells:
    """The cells with given keys, and the fits that they depend on.

    Raises:
        UserError: No cell has one of the keys.
    """
    if unknown := keys - {cell.key for cell in cells.fits} - {cell.key for cell in cells.evals}:
        raise UserError(
            f"{len(unknown)} of {len(keys)} cell keys do not belong to this request (first: {sorted(unknown)[0]}).",
            "A method, a list or the engine changed since the jobs were submitted: run the whole command again.",
        )
    evals = tuple(cell for cell in cells.evals if cell.key in keys)
    needed = keys | {cell.fit.key for cell in evals if cell.fit is not None}
    needed |= {cell.parent.key for cell in cells.fits if cell.key in needed and cell.parent is not None}
    return replace(cells, fits=tuple(cell for cell in cells.fits if cell.key in needed), evals=evals)


def fit_state(cell: FitCell, tensors_of: TensorsOf = lambda model: "") -> CellState:
    """The state of a fit: done if `fit.json` has its key, its start is unchanged, and its weights exist.

    A fit is stale if videos of its list that were missing exist now, if its parent fit has different weights now, or if
    the model has different tensors.

    Raises:
        UserError: The `fit.json` is damaged. It may stand for hours of training, so that it is not replaced silently.
    """
    fitted = read_fit_file(cell.folder)
    if fitted is not None and fitted.key == cell.key:
        if outdated := _fit_outdated(cell, fitted, tensors_of):
            return CellState(cell, "stale", outdated)
        if (cell.folder / fitted.weights.file).is_file():
            return CellState(cell, "done")
        return CellState(cell, "stale", "its weights were removed")
    if any(cell.folder.glob("epoch_*.pth")):
        return CellState(cell, "missing", "interrupted; resumes from its last epoch")
    for other in _sibling_fits(cell):
        return CellState(cell, "stale", _why(differences_of_fits(other.described, cell.described)))
    return CellState(cell, "missing", "not fitted yet")


def _sibling_fits(cell: FitCell) -> list[FitFile]:
    """Finished fits of the same method and list with other keys."""
    siblings = []
    for sibling in sorted(cell.folder.parent.glob(f"{cell.folder.name.rsplit('-', 1)[0]}-*")):
        try:
            other = read_fit_file(sibling) if sibling != cell.folder else None
        except UserError:
            continue
        if other is not None and other.described.training.list.root == cell.described.training.list.root:
            siblings.append(other)
    return siblings


def _fit_outdated(cell: FitCell, fitted: FitFile, tensors_of: TensorsOf) -> str:
    """The reason why a finished fit is stale; empty if it is not stale."""
    training = fitted.described.training
    if more_videos := _more_videos(training.used, cell.train, cell.dataset):
        return more_videos
    if changed := _different_tensors(fitted.described.model, cell.described.model, tensors_of):
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
    if outdated := _fit_outdated(cell.parent, parent, tensors_of):
        return f"its parent fit is stale: {outdated}"
    return ""


def _different_tensors(recorded: ModelId, planned: ModelId, tensors_of: TensorsOf) -> str:
    now = tensors_of(planned)
    if not now or not recorded.tensors_sha256 or now == recorded.tensors_sha256:
        return ""
    return f"the weights {planned.weights} have different tensors ({recorded.tensors_sha256[:8]} then, {now[:8]} now)"


def eval_state(cell: EvalCell, tensors_of: TensorsOf = lambda model: "") -> CellState:
    """The state of an eval: done if its record has its key and its predictions file is unchanged.

    An eval is stale if its fit is stale or has different weights, if the model has different tensors, if videos of its
    list that were missing exist now, or if only the method's card or declared recipe changed (`RENEWED`).
    """
    if cell.record.is_file():
        try:
            record = read_record(cell.record)
        except UserError as error:
            return CellState(cell, "stale", error.message)
        if record.key != cell.key:
            return CellState(cell, "stale", _why(differences(record.measurement, cell.measurement)))
        if not cell.predictions.is_file():
            return CellState(cell, "stale", "its predictions were removed")
        if file_sha256(cell.predictions) != record.predictions.sha256:
            return CellState(cell, "stale", "its predictions were changed")
        if outdated := _eval_outdated(cell, record, tensors_of):
            return CellState(cell, "stale", outdated)
        if renewed(cell, record) != record:
            return CellState(cell, "stale", RENEWED)
        return CellState(cell, "done")
    if scored_before(cell, tensors_of) is not None:
        return CellState(cell, "missing", REUSED)
    for other in _sibling_records(cell):
        return CellState(cell, "stale", _why(differences(other.measurement, cell.measurement)))
    return CellState(cell, "missing", "not evaluated yet")


def scored_before(cell: EvalCell, tensors_of: TensorsOf = lambda model: "") -> Path | None:
    """The file of a record with the same number key in another row, whose predictions can be reused; None without.

    Untrained evals of several protocols share a number key, and so do evals of an unchanged list when another list of
    the row changed.
    """
    for path in sorted(cell.record.parent.glob(f"*-{_escape(cell.test.name)}-*{RECORD_SUFFIX}")):
        try:
            record = read_record(path)
        except UserError:
            continue
        predictions = path.with_name(record.predictions.file)
        if keys_of(record.measurement).number != cell.number or not predictions.is_file():
            continue
        intact = file_sha256(predictions) == record.predictions.sha256
        if intact and not _eval_outdated(cell, record, tensors_of):
            return path
    return None


def _escape(name: str) -> str:
    """A name as a pattern that matches itself."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _sibling_records(cell: EvalCell) -> list[Record]:
    """Records of the same part, repeat and list of the method with other keys."""
    stem = cell.record.name.removesuffix(RECORD_SUFFIX).rsplit("-", 1)[0]
    folders = {cell.record.parent, *(cell.record.parent.parent.parent.glob("*/evals") if cell.fit else [])}
    siblings = []
    for path in sorted(path for folder in folders for path in folder.glob(f"{stem}-*{RECORD_SUFFIX}")):
        try:
            record = read_record(path)
        except UserError:
            continue
        recorded, planned = record.measurement.evaluation.list, cell.measurement.evaluation.list
        same_list = (recorded.name, recorded.root) == (planned.name, planned.root)
        if same_list and record.measurement.protocol.repeat == cell.repeat:
            siblings.append(record)
    return siblings


def _eval_outdated(cell: EvalCell, record: Record, tensors_of: TensorsOf) -> str:
    """The reason why a finished eval is stale; empty if it is not stale."""
    if changed := _different_tensors(record.measurement.model, cell.measurement.model, tensors_of):
        return changed
    try:
        fitted = read_fit_file(cell.fit.folder) if cell.fit is not None else None
    except UserError as error:
        return f"its fit cannot be read: {error.message}"
    if cell.fit is not None and fitted is not None and fitted.key == cell.fit.key:
        if outdated := _fit_outdated(cell.fit, fitted, tensors_of):
            return f"its fit is stale: {outdated}"
        training = record.measurement.fitted
        if training is None or training.weights_sha256 != fitted.weights.sha256:
            return "its fit was computed again and has different weights"
    return _more_videos(record.measurement.evaluation.evaluated, cell.test, cell.dataset)


def renewed(cell: EvalCell, record: Record) -> Record:
    """A record with the scores of `record`, and the row, the declared recipe and the card of the cell.

    It equals `record` if none of them changed.
    """
    planned, recorded = cell.measurement, record.measurement
    training = planned.fitted
    if training is not None and recorded.fitted is not None:
        training = replace(
            training,
            list=replace(training.list, root=recorded.fitted.list.root),
            start=replace(recorded.fitted.start, name=training.start.name),
            precision=recorded.fitted.precision,
            used=recorded.fitted.used,
            weights_sha256=recorded.fitted.weights_sha256,
        )
    evaluation = replace(
        planned.evaluation,
        list=replace(planned.evaluation.list, root=recorded.evaluation.list.root),
        precision=recorded.evaluation.precision,
        evaluated=recorded.evaluation.evaluated,
    )
    # The folder of a custom dataset may have moved since; its fingerprint is that of the time of the record.
    protocol = replace(planned.protocol, table_root=recorded.protocol.table_root)
    measurement = replace(planned, protocol=protocol, model=recorded.model, training=training, evaluation=evaluation)
    card = cell.row.card
    method = replace(
        record.method, title=card.title, family=card.family, paper=card.paper, source=card.source,
        unverified=card.unverified, defaults=cell.row.defaults.as_dict(),
    )  # fmt: skip
    return replace(
        record, key=cell.key, measurement=measurement, signature=signature(measurement), method=method,
        columns=cell.protocol.columns,
    )  # fmt: skip


def _more_videos(used: int, videos: VideoList, dataset: Dataset) -> str:
    """The number of missing videos of a list that exist now, in words; empty for none."""
    missing = len(videos) - used
    if missing <= 0:
        return ""
    try:
        now = sum(dataset.locate(path) is not None for path, _ in videos.rows)
    except UserError:  # no folder is configured for the videos: the measurement stays valid
        return ""
    return f"{now - used} of {missing} videos that were missing exist now" if now > used else ""


def _why(changes: tuple[Difference, ...]) -> str:
    """At most three changed fields that enter the key, with the old and the new value."""
    texts = [
        f"{change.label} {change.value(change.a)} -> {change.value(change.b)}" for change in changes if change.keyed
    ]
    more = f"; and {len(texts) - 3} more" if len(texts) > 3 else ""
    return "; ".join(texts[:3]) + more or "the lists that the protocol prescribes changed"
