"""Reader of a user's file of class names, in the forms that projects of this field use.

Accepted: one name per line; rows of id and name, separated by comma, semicolon or tab, with or without a header, in any
order of rows and columns; JSON with a list of names, an object of ids and names in either direction, or a list of
objects. Ids count from 0. Any other form is refused: a wrong name is a wrong class text, which no later check finds.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path

from harness.base.canonical import JsonValue
from harness.base.errors import UserError
from harness.base.text_files import composed, read_text
from harness.spec import LabelSet
from harness.spec.labels import require_distinct_texts

FORMS = (
    "Accepted: one name per line; `id,name` rows (also with ; or tab, with or without header); JSON such as "
    '["walk", "run"], {"0": "walk"} or {"walk": 0}. Ids count from 0.'
)
"""The accepted forms, for hints."""
ID_COLUMNS = ("id", "label_id", "class_id", "index", "idx", "class_index", "label_index", "class_idx", "label_idx")
NAME_COLUMNS = ("name", "class", "class_name", "classname", "label_name", "label", "action", "category")
_NUMBERED = re.compile(r"(?:\d+\s*[:.)=-]|[-*\u2022]\s)\s*\S")
"""Line of a numbered list, of YAML, or of a list with bullets."""
_CLIP = re.compile(r"\S.*\.(?:avi|mp4|webm|mkv|mov|mpg|mpeg|jpg|png)(?:[\s,;].*)?", re.IGNORECASE)
"""Line of a list of clips."""
_Pair = tuple[str, str]  # id and name, as written


def read_class_names(path: Path) -> LabelSet:
    """The label set of a file; see the module for the accepted forms.

    Raises:
        UserError: The file is missing or not text, its form is not accepted, its ids are not 0, 1, 2, ..., or two names
            are the same text.
    """
    source = f"The class file {path}"
    text = read_text(path, "The class file", FORMS)
    if path.suffix.lower() == ".json" or text.lstrip()[:1] in ("[", "{"):
        names = _of_json(text, source)
    else:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if not lines:
            raise UserError(f"{source} is empty.", FORMS)
        if len(lines) > 1 and lines[0].lower() in NAME_COLUMNS and path.suffix.lower() in (".csv", ".tsv"):
            lines = lines[1:]  # the header of a table of one column
        if all(map(_CLIP.fullmatch, lines)):
            raise UserError(f"{source} is a list of clips ({lines[0][:80]!r}), expected class names.", FORMS)
        pairs = _rows(lines, source)
        names = _in_order(pairs, source) if pairs is not None else _one_a_line(lines, source)
    names = tuple(composed(name.strip()) for name in names)
    if "" in names:
        raise UserError(f"{source}: the name of class {names.index('')} is blank.", "Give every class a name.")
    require_distinct_texts(names, source)
    return LabelSet(names)


def _of_json(text: str, source: str) -> Sequence[str]:
    """The names of a JSON text."""
    try:
        # Pairs instead of dictionaries: an id that occurs twice must not be lost.
        content: JsonValue = json.loads(text, object_pairs_hook=_pairs_of_object)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source} cannot be read as JSON: {error}.", FORMS) from None
    if not isinstance(content, list) or not content:
        raise UserError(f"{source} holds JSON without class names.", FORMS)
    if all(isinstance(item, str) for item in content):
        return [str(item) for item in content]
    if all(isinstance(item, list) for item in content):
        rows = [item for item in content if isinstance(item, list)]
        if all(len(row) == 2 and all(isinstance(cell, str | int) for cell in row) for row in rows):
            return _in_order([_id_first([str(cell) for cell in row]) for row in rows], source)
        if all(isinstance(cell, list) and len(cell) == 2 for row in rows for cell in row):
            return _in_order([_of_object(row, source) for row in rows], source)
    raise UserError(f"{source} holds JSON of another form.", FORMS)


def _pairs_of_object(pairs: list[tuple[str, JsonValue]]) -> list[list[JsonValue]]:
    return [[key, value] for key, value in pairs]


def _of_object(row: Sequence[JsonValue], source: str) -> _Pair:
    """Id and name of a JSON object such as `{"id": 0, "name": "walk"}`, given as its pairs."""
    values = {str(cell[0]).lower(): str(cell[1]) for cell in row if isinstance(cell, list)}
    columns = _named_columns(list(values))
    if columns is None:
        raise UserError(f"{source} holds JSON objects with the keys {', '.join(values)}, expected id and name.", FORMS)
    cells = list(values.values())
    return cells[columns[0]], cells[columns[1]]


def _id_first(cells: Sequence[str]) -> _Pair:
    """The id and the name of two cells; the id is the number."""
    return (cells[0], cells[1]) if cells[0].isdecimal() or not cells[1].isdecimal() else (cells[1], cells[0])


def _rows(lines: Sequence[str], source: str) -> list[_Pair] | None:
    """Ids and names of a table; None for a file with one name per line."""
    for delimiter in (",", ";", "\t"):
        header = _named_columns([cell.strip().lower() for cell in lines[0].split(delimiter)])
        body = lines[1:] if header is not None else lines
        if header is None:
            first = [cell.strip() for cell in _cells(lines[0], delimiter, source, 1)]
            if len(first) != 2 or not any(cell.isdecimal() for cell in first):
                continue
        pairs = []
        for number, line in enumerate(body, 2 if header is not None else 1):
            row = [cell.strip() for cell in _cells(line, delimiter, source, number)]
            width = max(header) + 1 if header is not None else 2
            if len(row) < width or (header is None and len(row) != 2):
                raise UserError(f"{source}, line {number}: {line[:80]!r}, expected an id and a name.", FORMS)
            pairs.append((row[header[0]], row[header[1]]) if header is not None else _id_first(row))
        return pairs
    # Ids and names with a blank between them. A few names may begin with a number, but not all of them in order.
    words = [line.split(None, 1) for line in lines]
    if all(len(row) == 2 and row[0].isdecimal() for row in words) and _count([row[0] for row in words]):
        return [(row[0], row[1]) for row in words]
    return None


def _cells(line: str, delimiter: str, source: str, number: int) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        raise UserError(f"{source}, line {number} cannot be read as CSV: {error}.", FORMS) from None


def _named_columns(header: Sequence[str]) -> tuple[int, int] | None:
    """The positions of id and name in a header; None if it does not name both."""
    ids = [i for name in ID_COLUMNS for i, cell in enumerate(header) if cell == name]
    names = [i for name in NAME_COLUMNS for i, cell in enumerate(header) if cell == name]
    return (ids[0], names[0]) if ids and names else None


def _count(ids: Sequence[str]) -> bool:
    """Whether ids are 0, 1, 2, ... or 1, 2, 3, ... in any order."""
    numbers = sorted(map(int, ids))
    return numbers in (list(range(len(numbers))), list(range(1, len(numbers) + 1)))


def _one_a_line(lines: Sequence[str], source: str) -> Sequence[str]:
    """The lines as names, after a search for forms that would give wrong class texts."""
    # A CSV file of one column quotes names with commas.
    is_quoted = all(len(line) > 2 and line[0] == line[-1] == '"' for line in lines)
    if is_quoted:
        cells = [_cells(line, ",", source, number) for number, line in enumerate(lines, 1)]
        if all(len(row) == 1 for row in cells):
            return [row[0] for row in cells]
    last = [line.rsplit(None, 1) for line in lines]
    # A mark in every line separates columns; in a few lines, a comma is part of a name.
    shared = next((mark for mark in "\t;" if all(mark in line for line in lines)), "")
    if not shared and len(lines) > 1 and len({line.count(",") for line in lines}) == 1 and "," in lines[0]:
        shared = ","
    if shared:
        raise UserError(f"{source}: each line holds {shared!r}, and no column holds ids ({lines[0][:80]!r}).", FORMS)
    if len(lines) > 1 and all(map(_NUMBERED.match, lines)):
        raise UserError(f"{source}: each line begins with a number or a mark ({lines[0][:80]!r}).", FORMS)
    # Ids behind the names. Names that differ in their last number only are names, such as `round 1`.
    ends = [row[1] for row in last if len(row) == 2 and row[1].isdecimal()]
    if len(ends) == len(lines) == len({row[0] for row in last}) and _count(ends):
        raise UserError(f"{source}: each line ends in a number ({lines[0][:80]!r}).", FORMS)
    return lines


def _in_order(pairs: Sequence[_Pair], source: str) -> Sequence[str]:
    """The names by id."""
    names: dict[int, str] = {}
    for label, name in pairs:
        if not label.strip().isdecimal():
            raise UserError(f"{source}: the id of {name!r} is {label!r}, expected 0, 1, 2, ...", FORMS)
        if int(label) in names:
            raise UserError(f"{source}: the id {int(label)} belongs to {names[int(label)]!r} and to {name!r}.", FORMS)
        names[int(label)] = name
    if not names:
        raise UserError(f"{source} holds no class.", FORMS)
    if set(names) == set(range(1, len(names) + 1)):
        raise UserError(
            f"{source}: the ids count from 1 to {len(names)}, expected 0 to {len(names) - 1}.", f"Subtract 1. {FORMS}"
        )
    absent = next((i for i in range(len(names)) if i not in names), None)
    if absent is not None:
        raise UserError(f"{source}: no name has the id {absent}, but {max(names)} has one.", FORMS)
    return [names[i] for i in range(len(names))]
