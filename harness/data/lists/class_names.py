"""Reader of a user's file of class names."""

from __future__ import annotations

import csv
from pathlib import Path

from harness.base.errors import UserError
from harness.spec import LabelSet
from harness.spec.labels import require_distinct_texts


def read_class_names(path: Path) -> LabelSet:
    """The label set of a file: a CSV with the header `id,name`, or one name a line.

    Raises:
        UserError: The file is missing or not text, its ids are not 0, 1, 2, ..., or two names are the same text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(
            f"The class file {path} does not exist.", "Give a file of one class name a line, or a CSV `id,name`."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The class file {path} cannot be read as text: {error}") from None
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and lines[0].strip().lower() == "id,name":
        try:
            rows = list(csv.reader(lines[1:], strict=True))
        except csv.Error as error:
            raise UserError(f"The class file {path} cannot be read as CSV: {error}") from None
        for number, row in enumerate(rows):
            if len(row) != 2 or row[0].strip() != str(number):
                raise UserError(f"{path}: row {number + 1} is {row}, expected id {number} and a name.")
        names = tuple(row[1].strip() for row in rows)
    else:
        names = tuple(line.strip() for line in lines)
    labels = LabelSet(names)
    require_distinct_texts(names, f"The class file {path}")
    return labels
