"""Published numbers of papers and repositories, with table, setting, authors of the measurement, and known errors.

The data are in `results/published/`, one JSON file per source. A table is a list of columns and a list of rows with
printed cells; `**...**` marks bold, `__...__` underlined print. A row names a setting of its file. A note applies to
all cells that match its `where`; `cell_settings` are settings of such cells in place of those of their row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

import msgspec

from harness.base.errors import UserError
from harness.spec import Views

FOLDER = Path(__file__).with_name("published")
METHODS_FILE = "methods.json"
SCHEMA = 1
_TRAINING = "training_"
"""Beginning of the names of settings of the fit's views."""
_VIEWS = Views()
NOT_STATED = "not stated"
"""Value of a setting that the source leaves open; such a setting is not compared."""
PAPER = "vificlip_slides"
"""The source whose tables `report --table` regenerates; all other sources add rows."""

DATASETS = {"K-400": "k400", "K-600": "k600", "HMDB-51": "hmdb51", "UCF-101": "ucf101", "SSv2": "ssv2"}
"""Registered dataset name by printed dataset name."""

TABLES = ("zero_shot", "zero_shot_full", "b2n", "few_shot", "supervised", "compute", "bridge_prompt")
_PLAIN = re.compile(r"^(?P<value>\d+(?:\.\d+)?)(?: ± (?P<std>\d+(?:\.\d+)?))?$")


@dataclass(frozen=True)
class Setting:
    """The settings of a published number; None if the source does not state a setting.

    Args:
        frames: Frames per view.
        views: Temporal clips x spatial crops, e.g. `4x3`, or the wording of the source.
        text: The class text.
        init: The initial weights.
        measured_by: Authors of the measurement, often not the authors of the method.
        n: Number of repeats of a mean.
        more: Further settings by name. Compared with a measurement are fields of `Views` and `Recipe` (`training_`
            before a field of `Views`: in the fit), `options` (`NAME=VALUE,...`), `label_set`, `selection` (`last
            epoch`, or `best epoch ...` of `candidates`), `repeat` (the index of the only one), `training_list`,
            `evaluation_list`, `variant` and `extra_data`; ` or ` separates values of which one was used. Other names
            are information for readers.
    """

    frames: int | None
    views: str | None
    text: str | None
    init: str | None
    measured_by: str
    n: int | None
    more: tuple[tuple[str, str], ...] = ()

    @property
    def further(self) -> Mapping[str, str]:
        """The further settings that the source states, by name, without those that it leaves open."""
        return {name: text for name, text in self.more if text != NOT_STATED}

    def _is_printed(self, name: str, value: str) -> bool:
        """Whether a further setting is printed: not a default of the views, nor a view of the fit that the eval has."""
        if name.startswith(_TRAINING) and value == dict(self.more).get(name.removeprefix(_TRAINING)):
            return False
        return value != str(getattr(_VIEWS, name.removeprefix(_TRAINING), None))

    def __str__(self) -> str:
        stated = [
            f"{self.frames} frames" if self.frames else "",
            f"{self.views.replace('x', ' x ')} views" if self.views and "view" not in self.views else self.views or "",
            f"text: {self.text}" if self.text else "",
            f"from {self.init}" if self.init else "",
            *(f"{name.replace('_', ' ')}: {value}" for name, value in self.more if self._is_printed(name, value)),
        ]  # fmt: skip
        return "; ".join(part for part in stated if part) or "setting not stated"


@dataclass(frozen=True)
class PublishedNumber:
    """One printed number.

    Args:
        source: Id of the source, the stem of its file.
        table: One of `TABLES`.
        block: Name of one of several stacked tables; empty for a single table.
        method: Common id of all spellings of a method.
        name: Printed name of the method.
        family: `unimodal`, `adapting` or `tuning`.
        reference: Printed reference number.
        dataset: Printed name, e.g. `HMDB-51`; empty for compute.
        column: `top1`, `top5`, `base`, `novel`, `hm`, `k2`..`k16`, `gflops`, `throughput`, `params_m`.
        value: Printed value (`48` stays `48`).
        std: The printed spread, or None.
        emphasis: `bold`, `underline` or empty.
        setting: Settings of the measurement.
        notes: Known problems of this cell.
    """

    source: str
    table: str
    block: str
    method: str
    name: str
    family: str
    reference: int | None
    dataset: str
    column: str
    value: str
    std: str | None
    emphasis: str
    setting: Setting
    notes: tuple[str, ...]

    @property
    def number(self) -> float:
        """The printed value as a number; accuracies in percent."""
        return float(self.value)


@dataclass(frozen=True)
class Source:
    """A paper or repository with published numbers."""

    id: str
    title: str
    url: str


@lru_cache(maxsize=4)
def published_numbers(folder: Path = FOLDER) -> tuple[PublishedNumber, ...]:
    """All published numbers: first of `PAPER`, then by source, in printed order.

    Raises:
        UserError: A file is not valid.
    """
    files = sorted(folder.glob("*.json"), key=lambda path: (path.stem != PAPER, path.stem))
    return tuple(number for path in files if path.name != METHODS_FILE for number in _read(path))


@lru_cache(maxsize=4)
def sources(folder: Path = FOLDER) -> Mapping[str, Source]:
    """All sources by id.

    Raises:
        UserError: A file is not valid.
    """
    return {path.stem: _document(path).source for path in sorted(folder.glob("*.json")) if path.name != METHODS_FILE}


@lru_cache(maxsize=4)
def harness_names(folder: Path = FOLDER) -> Mapping[str, str]:
    """Built-in method by id of the published method; for a wrapper with `:` and its `config`."""
    methods = json.loads((folder / METHODS_FILE).read_text(encoding="utf-8"))
    return {method: entry["harness"] for method, entry in methods.items()}


@lru_cache(maxsize=4)
def _authors(folder: Path = FOLDER) -> Mapping[str, str]:
    """Authors of the paper that introduces a method, by id of the published method, as `measured_by` names them."""
    methods = json.loads((folder / METHODS_FILE).read_text(encoding="utf-8"))
    return {method: entry["authors"] for method, entry in methods.items() if "authors" in entry}


def is_own_number(number: PublishedNumber) -> bool:
    """Whether the authors of the method measured the number, and no later paper measured it again or only lists it."""
    by = number.setting.measured_by
    if by == "the cited papers":
        return True
    authors = _authors().get(number.method)
    # Methods that only one source prints need no entry: the source is their paper unless it names other authors.
    return by.startswith(authors) if authors else not re.search(r"listed by|re-run|re-implementation|unknown", by)


def common_setting(numbers: Iterable[PublishedNumber]) -> Setting:
    """The setting of a printed row: that of its first cell without the further settings of some of its cells alone."""
    first, *others = (number.setting for number in numbers)
    return replace(first, more=tuple(entry for entry in first.more if all(entry in other.more for other in others)))


# --- the files


@dataclass(frozen=True)
class _PrintedRow:
    """A row of a printed table; `cells` has one text for each column, None for an empty cell."""

    method: str
    name: str
    family: str
    reference: int | None
    setting: str
    cells: tuple[str | None, ...]


@dataclass(frozen=True)
class _PrintedTable:
    """A printed table; `columns` are pairs of a dataset and a column name."""

    table: str
    block: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[_PrintedRow, ...]


@dataclass(frozen=True)
class _Note:
    """A known problem of the cells that agree with `where`."""

    where: dict[str, str | tuple[str, ...]]
    text: str


@dataclass(frozen=True)
class _CellSettings:
    """Settings of the cells that agree with `where`, in place of those of their rows."""

    where: dict[str, str | tuple[str, ...]]
    settings: dict[str, str | int | None]


@dataclass(frozen=True)
class _Document:
    """A file of published numbers."""

    schema: int
    source: Source
    settings: dict[str, dict[str, str | int | None]]
    tables: tuple[_PrintedTable, ...]
    notes: tuple[_Note, ...]
    cell_settings: tuple[_CellSettings, ...] = ()


def _document(path: Path) -> _Document:
    try:
        document = msgspec.json.decode(path.read_bytes(), type=_Document)
    except (OSError, ValueError) as error:
        raise UserError(f"The published numbers {path} cannot be read: {error}") from None
    if document.schema != SCHEMA or document.source.id != path.stem:
        found = f"schema {document.schema} and the source id {document.source.id!r}"
        raise UserError(f"{path} has {found}, expected schema {SCHEMA} and the source id {path.stem!r}.")
    return document


def _read(path: Path) -> list[PublishedNumber]:
    document = _document(path)
    numbers = []
    for table in document.tables:
        if table.table not in TABLES:
            raise UserError(f"{path}: table {table.table!r}, expected one of {', '.join(TABLES)}.")
        for row in table.rows:
            if len(row.cells) != len(table.columns):
                found, expected = len(row.cells), len(table.columns)
                raise UserError(f"{path}: {row.name} has {found} cells, expected {expected}.")
            for (dataset, column), text in zip(table.columns, row.cells, strict=True):
                if text is None:
                    continue
                value, std, emphasis = _parse(text, path)
                cell = {"table": table.table, "method": row.method, "dataset": dataset, "column": column}
                numbers.append(
                    PublishedNumber(
                        path.stem, table.table, table.block, row.method, row.name, row.family, row.reference, dataset,
                        column, value, std, emphasis, _setting_of(document, row.setting, cell),
                        tuple(note.text for note in document.notes if _applies(note.where, cell)),
                    )
                )  # fmt: skip
    return numbers


def _setting_of(document: _Document, name: str, cell: Mapping[str, str]) -> Setting:
    """The setting of a cell; entries that are not fields of `Setting` go to `more`."""
    value = dict(document.settings[name])
    for changed in document.cell_settings:
        if _applies(changed.where, cell):
            value |= changed.settings
    known = {f.name for f in fields(Setting)} - {"more"}
    more = tuple((name, str(text)) for name, text in value.items() if name not in known)
    stated = {name: value.get(name) for name in known}
    return replace(msgspec.convert(stated, Setting), more=more)


def _parse(text: str, path: Path) -> tuple[str, str | None, str]:
    """Value, spread and emphasis of a cell such as `**51.3 ± 0.6**`."""
    mark = text[:2] if text[:2] in ("**", "__") else ""
    number = _PLAIN.match(text[len(mark) : len(text) - len(mark)])
    if not number or (mark and not text.endswith(mark)):
        raise UserError(f"{path}: {text!r} is not a printed number such as 48, 51.3 ± 0.6 or **76.4**.")
    return number["value"], number["std"], {"**": "bold", "__": "underline", "": ""}[mark]


def _applies(where: Mapping[str, str | tuple[str, ...]], cell: Mapping[str, str]) -> bool:
    """True if every key of a note's `where` names (or lists) the cell's value."""
    return all(cell[name] in (wanted if isinstance(wanted, tuple) else (wanted,)) for name, wanted in where.items())
