"""Reasons for which `run` would refuse the open cells of a plan, found without torch and without decoding videos."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import UserError
from harness.cells.architecture_table import ARCHITECTURES
from harness.cells.architectures import check_backbone, weights_on_disk
from harness.cells.backbone import BackboneChoice
from harness.cells.cell import EvalCell, FitCell, MethodRow
from harness.cells.leakage import audit_cell
from harness.cells.plan import Plan
from harness.data.equal_clips import ByteComparison
from harness.data.lists.dataset import Dataset
from harness.machine.settings import Settings
from harness.plugins import registry
from harness.spec import VideoList
from harness.spec.updates import plan_updates
from harness.weights.hub import is_hub, repository_of
from harness.weights.owner import require_owner

Cell = FitCell | EvalCell
_MOST_COMPARED = 64 * 2**20
"""Bytes of clips that a plan compares, which takes less than a tenth of a second."""
NOT_CHECKED = "videos are not decoded, and class texts are not tokenized"


@dataclass(frozen=True)
class Finding:
    """A fact about open cells that `run` will meet.

    Args:
        message: The fact, and how to change it.
        cells: Names of the cells, in the order of the plan.
        refused: Whether `run` refuses the cells; otherwise it goes on.
        checked: Whether the fact was checked; otherwise the message names what only `run` can check.
    """

    message: str
    cells: tuple[str, ...]
    refused: bool = True
    checked: bool = True

    def __str__(self) -> str:
        more = f" and {len(self.cells) - 1} more" if len(self.cells) > 1 else ""
        state = "refused" if self.refused else "note" if self.checked else "not checked"
        return f"{state}: {self.cells[0]}{more}: {self.message}" if self.cells else f"{state}: {self.message}"


@dataclass(frozen=True)
class _Fact:
    message: str
    refused: bool = True
    checked: bool = True


def findings(plan: Plan, settings: Settings, allow_missing: bool = False) -> list[Finding]:
    """The facts that `run` meets in the open cells of a plan; an equal fact of several cells is one finding.

    Args:
        plan: The plan.
        settings: Folders of this machine.
        allow_missing: Whether lists with missing videos are allowed.
    """
    fits, evals = plan.open_fits(), plan.open_evals()
    videos, compared = _Videos(allow_missing), ByteComparison(_MOST_COMPARED)
    by_fact: dict[_Fact, list[str]] = {}
    cells: list[Cell] = [*fits, *evals]
    for cell in cells:
        kind = "fit" if isinstance(cell, FitCell) else "eval"
        for fact in _facts(cell, videos, compared, settings.weights.path):
            by_fact.setdefault(fact, []).append(f"{kind} {cell.name}")
    for cell in plan.unfitted_evals():
        by_fact.setdefault(_Fact(" ".join(str(cell.unfitted).split())), []).append(f"eval {cell.name}")
    found = [Finding(f.message, tuple(names), f.refused, f.checked) for f, names in by_fact.items()]
    if compared.left_out:
        found.append(Finding(_not_compared(sorted(compared.left_out)), (), refused=False, checked=False))
    if fits or evals:
        found.append(Finding(NOT_CHECKED, (), refused=False, checked=False))
    return sorted(found, key=lambda finding: (not finding.refused, not finding.checked))


def _not_compared(pairs: list[tuple[str, str]]) -> str:
    """The pairs of clips of which a plan does not know whether they are copies."""
    number = "1 pair" if len(pairs) == 1 else f"{len(pairs)} pairs"
    return (
        f"{number} of clips with equal size and ends are too large to be compared by `plan` (first: "
        f"{pairs[0][0]} and {pairs[0][1]}); `check data` and `run` compare them and refuse copies"
    )


def _facts(cell: Cell, videos: _Videos, compared: ByteComparison, weights: Path) -> Iterator[_Fact]:
    """The facts of one cell."""
    rows = cell.train if isinstance(cell, FitCell) else cell.test
    yield from videos.facts(cell.dataset, rows)
    yield from _model_facts(cell.row, weights)
    if isinstance(cell, FitCell):
        yield from _refusals(lambda: plan_updates(videos.present(cell.dataset, rows), cell.recipe))
    else:
        yield from _refusals(lambda: audit_cell(cell, compared))


def _model_facts(row: MethodRow, weights: Path) -> Iterator[_Fact]:
    backbone = row.backbone
    if not isinstance(backbone, BackboneChoice):
        return
    checkpoint = row.choice.checkpoint
    if checkpoint is not None and registry.sources("method")[row.name].origin == "built-in":
        yield from _refusals(lambda: require_owner(checkpoint, row.name))
    yield from _refusals(lambda: check_backbone(backbone))
    arch = row.model_id.arch
    if weights_on_disk(backbone, weights) is False:
        tag = backbone.weights or "openai"
        name, where = f"{arch}/{tag}", f"save them as {weights / f'{arch}-{tag}.safetensors'}"
        if is_hub(tag):
            name, where = tag, f"copy `hf download {repository_of(tag)}` into the hub's cache"
        yield _Fact(
            f"the weights {name} are not on this machine: `run` downloads them. Without network, {where}",
            refused=False,
        )
    if backbone.is_mini:
        return
    if arch not in ARCHITECTURES:
        yield _Fact(f"whether {row.name} works on {arch}, which is not in the table", refused=False, checked=False)
    elif row.changed and row.name in ARCHITECTURES[arch].refused:
        text = f"whether {row.shown} works on {arch}: with its default options it does not"
        yield _Fact(text, refused=False, checked=False)


def _refusals(check: Callable[[], object]) -> Iterator[_Fact]:
    """The error of a check as a fact; nothing if the check passes."""
    try:
        check()
    except UserError as error:
        yield _Fact(" ".join(str(error).split()))


class _Videos:
    """The videos of lists that exist on this machine; each list is looked up once."""

    def __init__(self, allow_missing: bool) -> None:
        self._allow_missing = allow_missing
        self._absent: dict[tuple[int, str], list[str]] = {}

    def facts(self, dataset: Dataset, rows: VideoList) -> Iterator[_Fact]:
        """Missing videos of a list, n of m."""
        try:
            absent = self._missing(dataset, rows)
        except UserError as error:
            yield _Fact(" ".join(str(error).split()))  # a finding is one line of `plan`
            return
        if not absent:
            return
        text = (
            f"{len(absent)} of {len(rows)} videos of the list {rows.name!r} of {dataset.shown} were not found "
            f"(first: {', '.join(absent[:3])})"
        )
        if self._allow_missing:
            outcome = "left out" if len(absent) == len(rows) else "marked incomplete and not ranked"
            yield _Fact(f"{text}; with --allow-missing it is {outcome}", refused=False)
        else:
            yield _Fact(f"{text}. Complete the dataset, give its folder with --data NAME=DIR, or pass --allow-missing")

    def present(self, dataset: Dataset, rows: VideoList) -> int:
        """Number of videos of a list that `run` would use; all of them where that is not known."""
        try:
            absent = len(self._missing(dataset, rows))
        except UserError:
            absent = 0
        return len(rows) - absent if absent < len(rows) else len(rows)

    def _missing(self, dataset: Dataset, rows: VideoList) -> list[str]:
        if dataset.kind == "embedded":  # rendered by `run`
            return []
        key = id(dataset), rows.sha256
        if key not in self._absent:
            self._absent[key] = [path for path, _ in rows.rows if dataset.locate(path) is None]
        return self._absent[key]
