"""Records as one tidy table for notebooks: a line a record, a column a field."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from reports.aggregate import rows_of
from reports.dataset_names import DatasetNames
from reports.entries import Damaged, Entry, read_entries
from results.measurement import KEY_NAMES, keys_of, leaves
from results.measurement_words import division, incomplete


@dataclass(frozen=True)
class RecordsFrame:
    """The readable records of a folder as a table, and the files that are left out of it.

    Args:
        frame: One line for each record, superseded ones included.
        damaged: Files that could not be read.
    """

    frame: pd.DataFrame
    damaged: tuple[Damaged, ...]


def records_frame(runs: Path) -> RecordsFrame:
    """All records under `runs` as a table with an index from 0, sorted by row, part and repeat.

    Columns are the fields of the measurement by their path (`evaluation.views.frames`), its keys (`row`, `group`, ...),
    the metrics in percent (`top1`, `top5`, `mean_class`), and `record`, `title`, `shown_dataset`, `division`,
    `incomplete`, `status`, `created`, `time`. `superseded` holds the reason why a record does not count, and is empty
    for a record that does: only such records may be averaged, and only those of one `row`.

    Raises:
        UserError: The folder is missing, or holds no record file at all.
    """
    found = read_entries(runs)
    reasons = {one.name: one.reason for row in rows_of(found.entries) for one in row.superseded}
    names = DatasetNames(entry.measurement for entry in found.entries)
    frame = pd.DataFrame([_line(entry, reasons.get(entry.name, ""), names) for entry in found.entries])
    if not frame.empty:
        frame = frame.sort_values(["row", "protocol.part", "protocol.repeat.index", "record"], ignore_index=True)
    return RecordsFrame(frame, found.damaged)


def _line(entry: Entry, superseded: str, names: DatasetNames) -> dict[str, object]:
    record, m = entry.record, entry.measurement
    keys = keys_of(m)
    return {
        "record": entry.name,
        "title": record.method.title or m.method.name,
        "shown_dataset": names.of(m.evaluation.list),
        **{key: getattr(keys, key) for key in KEY_NAMES},
        **dataclasses.asdict(record.metrics),
        "superseded": superseded,
        "division": division(m),
        "incomplete": "; ".join(incomplete(m)),
        "status": record.status,
        "created": record.created,
        "time": entry.time,
        **dict(leaves(m)),
    }
