"""Output of the measures of `score`: lines of text, data, and CSV tables of classes and confusion matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.base.atomic import write_bytes
from harness.base.errors import UserError
from harness.commands._output import STDOUT, put, say
from results.measurement_words import incomplete_mark
from results.measures import BaseNovel, Measures, Scored, base_novel, confusion_csv, per_class_csv, scored
from results.record import RECORD_SUFFIX
from results.score import Score
from results.statistics.class_accuracies import ClassAccuracy


@dataclass(frozen=True)
class MeasuresData:
    """Measures of the records without findings, for `--json`.

    Args:
        measures: By record.
        base_novel: AUROC between base and novel parts.
        per_class, confusion: By record; empty if the table was not requested.
    """

    measures: dict[str, Measures]
    base_novel: tuple[BaseNovel, ...]
    per_class: dict[str, tuple[ClassAccuracy, ...]]
    confusion: dict[str, list[list[int]]]


@dataclass(frozen=True)
class Destinations:
    """Destinations of the tables: a `.csv` file, a folder, `STDOUT`, or None for a table that is not requested."""

    per_class: str | None
    confusion: str | None

    @property
    def requested(self) -> bool:
        """Whether a table is requested."""
        return self.per_class is not None or self.confusion is not None


def measured(result: Score) -> list[Scored]:
    """The measures of all records without findings; records with findings are named on stderr."""
    damaged = {finding.path for finding in result.findings}
    for path in result.records:
        if path in damaged:
            say(f"{path}: no measures, because the record has findings")
    return [scored(path) for path in result.records if path not in damaged]


def data_of(items: Sequence[Scored], tables: Destinations) -> MeasuresData:
    """The measures of records, with the tables that are requested."""
    return MeasuresData(
        {str(item.path): item.measures for item in items},
        tuple(base_novel(items)),
        {str(item.path): item.per_class for item in items} if tables.per_class else {},
        {str(item.path): item.matrix.tolist() for item in items} if tables.confusion else {},
    )


def print_measures(items: Sequence[Scored]) -> None:
    """Print one line per record, and one per pair of a base and a novel record."""
    for item in items:
        put(f"{item.path}: {item.measures}{item.record.mark}")
    for pair in base_novel(items):
        put(f"{pair.base} and {pair.novel}: AUROC base/novel {pair.auroc:.4f}{incomplete_mark(pair.incomplete)}")


def write_tables(items: Sequence[Scored], tables: Destinations, print_them: bool) -> None:
    """Write the requested tables to their files, and to stdout if `print_them`.

    Raises:
        UserError: Both tables or several confusion matrices go to stdout, several matrices go to one file, or a folder
            is the path of a file; nothing is written.
    """
    if print_them and tables.per_class == tables.confusion == STDOUT:
        raise UserError("--per-class and --confusion both print to stdout.", "Name a file: --per-class classes.csv")
    matrices = len(items) if tables.confusion == STDOUT and print_them else 0
    if tables.confusion is not None and tables.confusion.endswith(".csv"):
        matrices = len(items)
    if matrices > 1:
        message = f"--confusion writes one matrix to {tables.confusion}, expected one record, found {matrices}."
        raise UserError(message.replace(f" to {STDOUT},", " to stdout,"), "Name a record, or a folder: --confusion DIR")
    files = _files("per_class", tables.per_class, items, per_class_csv)
    files |= _files("confusion", tables.confusion, items, _first_confusion)
    for path, text in files.items():
        write_bytes(path, text.encode())
    if print_them and tables.per_class == STDOUT:
        put(per_class_csv(items))
    if print_them and tables.confusion == STDOUT and items:
        put(_first_confusion(items))


def _files(
    name: str, destination: str | None, items: Sequence[Scored], text_of: Callable[[Sequence[Scored]], str]
) -> dict[Path, str]:
    """The content of each file of a table."""
    if destination is None or destination == STDOUT or not items:
        return {}
    target = Path(destination)
    if destination.endswith(".csv"):
        return {target: text_of(items)}
    if target.exists() and not target.is_dir():
        option = f"--{name.replace('_', '-')}"
        raise UserError(f"{option} names {target}, expected a folder or the name of a .csv file.", f"{option} FILE.csv")
    # Records keep their folders, because copied fits contain records of the same name.
    first = items[0].path.parent
    common = next(f for f in (first, *first.parents) if all(item.path.is_relative_to(f) for item in items))
    names = [item.path.name.removesuffix(RECORD_SUFFIX) + f".{name}.csv" for item in items]
    return {
        target / item.path.parent.relative_to(common) / file: text_of([item])
        for item, file in zip(items, names, strict=True)
    }


def _first_confusion(items: Sequence[Scored]) -> str:
    return confusion_csv(items[0])
