"""Reader of the Kinetics CSVs: `label,youtube_id,time_start,time_end,split`; further columns are ignored."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from harness.base.errors import UserError
from harness.data.lists.rules import Row, Rows
from harness.data.official.annotations.annotation_folder import RESTORE, AnnotationFolder, bad_line

_DIGITS = 9  # seconds of more digits are damage; int() of a very long number would be slow


def find_kinetics(folder: AnnotationFolder, version: int, split: str) -> Path | None:
    """The CSV file of a split by one of its usual names (`val.csv`, `kinetics-400_val.csv`, ...), or None."""
    prefixes = (f"kinetics-{version}_", f"kinetics_{version}_", f"kinetics{version}_", f"k{version}_", "")
    splits = (split, "validate") if split == "val" else (split,)
    return folder.find(*(f"{prefix}{name}.csv" for prefix in prefixes for name in splits))


def read_kinetics(file: Path, names: Sequence[str], split: str) -> Rows:
    """The rows of a labelled split in CSV order: `<split>/<id>_<start %06d>_<end %06d>.mp4` and the class id.

    Raises:
        UserError: The file is not such a CSV, names a class that the dataset does not have, or lists a clip twice.
    """
    ids = {name: i for i, name in enumerate(names)}
    rows: list[Row] = []
    seen: dict[str, int] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            needed = ("label", "youtube_id", "time_start", "time_end")
            absent = [name for name in needed if name not in (reader.fieldnames or ())]
            if absent:
                raise bad_line(file, 1, ",".join(reader.fieldnames or ()), f"the columns {','.join(needed)}")
            for row in reader:
                number = reader.line_num
                label = (row["label"] or "").strip()
                if label not in ids:
                    raise bad_line(file, number, label, f"one of the {len(ids)} class names")
                times = (row["time_start"] or "", row["time_end"] or "")
                if not all(time.isascii() and time.isdigit() and len(time) <= _DIGITS for time in times):
                    raise bad_line(file, number, times, "whole seconds")
                clip = f"{row['youtube_id']}_{int(times[0]):06d}_{int(times[1]):06d}"
                if clip in seen:
                    raise bad_line(file, number, clip, f"each clip once; duplicate of line {seen[clip]}")
                seen[clip] = number
                rows.append((f"{split}/{clip}.mp4", ids[label]))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file} cannot be read as CSV: {error}.", RESTORE) from None
    return tuple(rows)
