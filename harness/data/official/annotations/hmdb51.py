"""Reader of the official HMDB-51 annotations: 153 files `<class>_test_split{1,2,3}.txt`."""

from __future__ import annotations

import re

from harness.base.errors import UserError
from harness.data.lists.rules import Row, Rows, full_list
from harness.data.official.annotations.annotation_folder import AnnotationFolder, bad_line, read_lines
from harness.data.official.cards import Card

_NAME = re.compile(r"(.+)_test_split([123])\.txt")


def read_hmdb51(folder: AnnotationFolder, card: Card) -> dict[str, Rows]:
    """The lists `train` (split 1, flag 1), `val1..val3` (flag 2) and `full`, classes by sorted directory name.

    A split leaves clips out (flag 0); `full` has every clip that the files name.

    The class name is the part before `_test_splitN.txt`. Sorted file names would put `kick_ball` before `kick`.

    Raises:
        UserError: Files are missing, or a line is not `name.avi flag`.
    """
    classes = {match[1] for name in folder.names if (match := _NAME.fullmatch(name))}
    # Ids follow the sorted directory names. The published label file swaps two pairs of names; the true ones are used.
    expected = {name.replace(" ", "_"): i for i, name in enumerate(card.labels("all", "corrected").names)}
    absent = sorted(set(expected) - classes)
    if absent:
        raise UserError(
            f"{folder.folder} lacks the lists of {len(absent)} of {len(expected)} classes: {', '.join(absent[:5])} ...",
            f"Expected {card.annotations}: {card.page}",
        )
    if classes - set(expected):
        unknown = min(classes - set(expected))
        raise UserError(
            f"{folder.folder}: {unknown!r} is not a class of {card.title}, expected its {len(expected)} classes.",
            f"Move the files {unknown}_test_split*.txt out of the folder.",
        )
    lists: dict[str, list[Row]] = {"train": [], "val1": [], "val2": [], "val3": [], "full": []}
    for name, label in sorted(expected.items(), key=lambda item: item[1]):
        for split in (1, 2, 3):
            file = folder.need(f"{name}_test_split{split}.txt", page=card.page)
            for number, line in enumerate(read_lines(file), 1):
                clip, _, flag = line.rstrip(" ").rpartition(" ")  # the official lines end in a blank
                if not clip or flag not in ("0", "1", "2"):
                    raise bad_line(file, number, line, "'name.avi flag' with a flag of 0, 1 or 2")
                lists["full"].append((clip, label))
                if flag == "2":
                    lists[f"val{split}"].append((clip, label))
                elif flag == "1" and split == 1:
                    lists["train"].append((clip, label))
    return {name: full_list(rows) if name == "full" else tuple(rows) for name, rows in lists.items()}
