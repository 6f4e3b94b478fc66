"""Which cells are done, missing or stale, and why. Reads the run folder and runs nothing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.base.errors import EXIT_FAILED, UserError
from harness.cells.cell import Cells, EvalCell, FitCell
from harness.data.dataset import Dataset
from harness.spec import VideoList, changed
from results.record import RECORD_SUFFIX, Record, read_record

FIT_FILE = "fit.json"
FIT_SCHEMA = 1
_FIT_ENTRIES: dict[str, dict[str, tuple[type, ...]]] = {
    "identity": {"method": (dict,)},
    "train": {"n": (int,), "n_used": (int,)},
    "weights": {"file": (str,), "sha256": (str,)},
    "outcome": {"updates": (int,), "seconds": (float, int), "peak_memory_gib": (float, int)},
}


@dataclass(frozen=True)
class CellState:
    """The state of one cell.

    Args:
        cell: The fit or eval.
        state: `done`, `missing` or `stale`.
        reason: Why it is not done; for stale cells what changed since.
    """

    cell: FitCell | EvalCell
    state: str
    reason: str = ""

    @property
    def open(self) -> bool:
        """Whether it is still to be done."""
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
        wanted: Keys of fits to be done whether or not an open eval needs them.
    """

    fits: tuple[CellState, ...]
    evals: tuple[CellState, ...]
    wanted: frozenset[str] = frozenset()

    def open_fits(self) -> list[FitCell]:
        """Fits to run: those that are not done and are wanted or have an eval that is not done."""
        needed = set(self.wanted)
        for state in self.evals:
            if state.state != "done" and isinstance(state.cell, EvalCell) and state.cell.fit is not None:
                needed.add(state.cell.fit.key)
        undone = {s.cell.key: s.cell for s in self.fits if s.state != "done"}
        for cell in undone.values():
            if cell.key in needed and isinstance(cell, FitCell) and cell.parent is not None:
                needed.add(cell.parent.key)
        return [s.cell for s in self.fits if s.state != "done" and s.cell.key in needed]  # type: ignore[misc]

    def open_evals(self) -> list[EvalCell]:
        """Evals to run."""
        return [s.cell for s in self.evals if s.state != "done"]  # type: ignore[misc]


def make_plan(cells: Cells, wanted: frozenset[str] = frozenset()) -> Plan:
    """The state of every cell, judged from the files on disk; fits with keys in `wanted` are to be done anyway."""
    fits = tuple(fit_state(cell) for cell in cells.fits)
    return Plan(fits, tuple(eval_state(cell) for cell in cells.evals), wanted)


def refreshed(plan: Plan) -> Plan:
    """The same cells in the states that they have now."""
    fits, evals = tuple(fit_state(s.cell) for s in plan.fits), tuple(eval_state(s.cell) for s in plan.evals)  # type: ignore[arg-type]
    return replace(plan, fits=fits, evals=evals)


def select(cells: Cells, keys: frozenset[str]) -> Cells:
    """The cells with given keys, and the fits that these need.

    Raises:
        UserError: A key that no cell has.
    """
    if unknown := keys - {cell.key for cell in (*cells.fits, *cells.evals)}:
        raise UserError(
            f"{len(unknown)} of {len(keys)} cells are none of this request (first: {sorted(unknown)[0]}).",
            "A method, a list or the engine changed since they were planned: give the command for the whole again.",
        )
    evals = tuple(cell for cell in cells.evals if cell.key in keys)
    needed = keys | {cell.fit.key for cell in evals if cell.fit is not None}
    needed |= {cell.parent.key for cell in cells.fits if cell.key in needed and cell.parent is not None}
    return replace(cells, fits=tuple(cell for cell in cells.fits if cell.key in needed), evals=evals)


def read_fit(folder: Path) -> dict[str, Any] | None:
    """The content of a finished fit's `fit.json`, or None if there is none.

    Raises:
        UserError: The file is there but not readable.
    """
    path = folder / FIT_FILE
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error}", "Remove the file to fit again.", EXIT_FAILED) from None
    if not isinstance(value, dict) or value.get("schema") != FIT_SCHEMA:
        return None
    problem = _fit_problem(value)
    if problem:
        raise UserError(f"{path}: {problem}.", "Remove the file to fit again.", EXIT_FAILED)
    return value


def _fit_problem(value: dict[str, Any]) -> str:
    """What a `fit.json` lacks of what evals and records read from it; empty if nothing."""
    if not isinstance(value.get("key"), str):
        return f"key is {value.get('key')!r}, expected the hex key of the fit"
    for section, entries in _FIT_ENTRIES.items():
        content = value.get(section)
        if not isinstance(content, dict):
            return f"{section} is {content!r}, expected an object"
        for name, kinds in entries.items():
            if not isinstance(content.get(name), kinds) or isinstance(content.get(name), bool):
                return f"{section}.{name} is {content.get(name)!r}, expected {kinds[0].__name__}"
    file = value["weights"]["file"]
    return "" if file and Path(file).name == file else f"weights.file is {file!r}, expected a name in the fit's folder"


def fit_state(cell: FitCell) -> CellState:
    """The state of a fit: done when `fit.json` carries its key and the weights are there.

    Stale where videos of its list were missing then and some of them are there now.
    """
    found = read_fit(cell.folder)
    if found is not None and found["key"] == cell.key:
        if found_since := _found_since(found["train"]["n_used"], cell.train, cell.dataset):
            return CellState(cell, "stale", found_since)
        if (cell.folder / found["weights"]["file"]).is_file():
            return CellState(cell, "done")
        return CellState(cell, "stale", "its weights were removed")
    if any(cell.folder.glob("epoch_*.pth")):
        return CellState(cell, "missing", "interrupted; resumes from its last epoch")
    for sibling in sorted(cell.folder.parent.glob(f"{cell.folder.name.rsplit('-', 1)[0]}-*")):
        other = read_fit(sibling) if sibling != cell.folder else None
        if other is not None:
            return CellState(cell, "stale", _why(other["identity"], cell.identity))
    return CellState(cell, "missing", "not fitted yet")


def eval_state(cell: EvalCell) -> CellState:
    """The state of an eval: done when its record carries its key and the predictions are the recorded ones.

    Stale where its fit has other weights by now or is to be computed again, and where videos of its list were missing
    then and some of them are there now.
    """
    if cell.record.is_file():
        try:
            record = read_record(cell.record)
        except UserError as error:
            return CellState(cell, "stale", error.message)
        if record.cell != cell.key:
            return CellState(cell, "stale", _why(record.identity, cell.identity))
        if not cell.predictions.is_file():
            return CellState(cell, "stale", "its predictions were removed")
        if hashlib.sha256(cell.predictions.read_bytes()).hexdigest() != record.predictions["sha256"]:
            return CellState(cell, "stale", "its predictions were changed")
        outdated = _outdated(cell, record)
        return CellState(cell, "stale" if outdated else "done", outdated)
    stem = cell.record.name.removesuffix(RECORD_SUFFIX).rsplit("-", 1)[0]
    folders = {cell.record.parent, *(cell.record.parent.parent.parent.glob("*/evals") if cell.fit else [])}
    for folder in sorted(folders):
        for sibling in sorted(folder.glob(f"{stem}-*{RECORD_SUFFIX}")):
            try:
                identity = read_record(sibling).identity
            except UserError:
                continue
            if identity.get("test", {}).get("list") == cell.test.name and _same_repeat(identity, cell.identity):
                return CellState(cell, "stale", _why(identity, cell.identity))
    return CellState(cell, "missing", "not evaluated yet")


def _outdated(cell: EvalCell, record: Record) -> str:
    """What came about since an eval that makes it another measurement; empty if nothing did."""
    if cell.fit is not None and (fitted := read_fit(cell.fit.folder)) is not None and fitted["key"] == cell.fit.key:
        if found_since := _found_since(fitted["train"]["n_used"], cell.fit.train, cell.fit.dataset):
            return f"its fit is stale: {found_since}"
        if (record.fit or {}).get("weights_sha256", fitted["weights"]["sha256"]) != fitted["weights"]["sha256"]:
            return "its fit was computed again and has other weights"
    return _found_since(record.data["n_evaluated"], cell.test, cell.dataset)


def _found_since(used: int, videos: VideoList, dataset: Dataset) -> str:
    """How many videos of a list that were missing are there now, in words; empty for none."""
    missing = len(videos) - used
    if missing <= 0:
        return ""
    try:
        now = sum(dataset.locate(path) is not None for path, _ in videos.rows)
    except UserError:  # no place is configured for them: what was measured stays
        return ""
    return f"{now - used} of {missing} videos that were missing are there now" if now > used else ""


def _same_repeat(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return bool(a.get("protocol", {}).get("repeat") == b["protocol"]["repeat"])


def _why(old: dict[str, Any], new: dict[str, Any]) -> str:
    """What changed between two identities, at most three entries; hashes are named, not printed."""
    rows = changed(old, new)
    texts = []
    for row in rows[:3]:
        path, _, values = row.partition(" ")
        is_hash = path.split(".")[-1] in ("sha256", "code", "labels", "fit", "weights", "content") and len(values) > 40
        texts.append(f"{path} changed" if is_hash or path == "fit" else row)
    return "; ".join(texts) + (f"; and {len(rows) - 3} more" if len(rows) > 3 else "")
