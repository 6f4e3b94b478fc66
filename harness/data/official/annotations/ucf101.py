"""Reader of the official UCF-101 annotations: `classInd.txt`, `trainlist0N.txt` and `testlist0N.txt`."""

from __future__ import annotations

from pathlib import Path

from harness.data.lists.rules import Row, Rows, full_list
from harness.data.official.annotations.annotation_folder import AnnotationFolder, bad_line, check_names, read_lines
from harness.data.official.cards import Card


def read_ucf101(folder: AnnotationFolder, card: Card) -> dict[str, Rows]:
    """The lists `train` (split 1), `val1`, `val2`, `val3` in official order, and `full`; flat paths and 0-based ids.

    Raises:
        UserError: A file is missing or a line is not in the official format.
    """
    classes = folder.need("classInd.txt", page=card.page)
    names: list[str] = []
    for number, line in enumerate(read_lines(classes), 1):
        label, _, name = line.partition(" ")
        if label != str(number) or not name:
            raise bad_line(classes, number, line, f"'{number} <Class>'")
        names.append(name.strip())
    check_names(names, card.names, classes, card.title)
    ids = {name: i for i, name in enumerate(names)}
    lists = {"train": _read_list(folder.need("trainlist01.txt", page=card.page), ids, labelled=True)}
    for split in (1, 2, 3):
        lists[f"val{split}"] = _read_list(folder.need(f"testlist0{split}.txt", page=card.page), ids, labelled=False)
    # The training and the test list of each split together name every clip of the dataset.
    lists["full"] = full_list(lists["train"], lists["val1"])
    return lists


def _read_list(file: Path, ids: dict[str, int], labelled: bool) -> Rows:
    """Rows of `Class/v_....avi` (test lists) or `Class/v_....avi <1-based id>` (training lists)."""
    rows: list[Row] = []
    for number, line in enumerate(read_lines(file), 1):
        path, _, label = line.strip().partition(" ")
        name, slash, clip = path.partition("/")
        expected = "Class/v_Class_gNN_cNN.avi" + (" <1-based class id>" if labelled else "")
        if not slash or "/" in clip or bool(label) != labelled or name not in ids:
            raise bad_line(file, number, line, expected)
        if labelled and label != str(ids[name] + 1):
            raise bad_line(file, number, line, f"the id {ids[name] + 1} of class {name}")
        rows.append((clip, ids[name]))
    return tuple(rows)
