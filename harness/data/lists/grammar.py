"""Strict grammar of list and label files: parser, whose errors name file, line and rule, and writer.

    list   = { row } ;  row = path " " label ;      LF or CRLF throughout; the last end of line may be absent
    label  = "0" | nonzero { digit } ;              below the number of classes; every class has a row
    path   = in the form of the dataset ;           each path once
    labels = "id,name" EOL { id "," name EOL } ;    RFC 4180 quoting; ids 0, 1, 2, ...
Source: the published lists and label files of ViFi-CLIP all match it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from harness.base.errors import UserError
from harness.base.text_files import probable_content
from harness.spec import LabelSet

Row = tuple[str, int]

_KINETICS = r"[A-Za-z0-9_-]{11}_[0-9]{6}_[0-9]{6}\.mp4"
_HMDB = (  # a source may hold underscores, so the shortest one is taken: `draw_sword` is not `sword`
    r"[^ /\\\x00-\x1f]+?_(?P<group>CLASS)_[fuhl]_(?:cm|nm)_np[0-9]+_(?:fr|ba|le|ri)_(?:bad|med|goo)_[0-9]+\.avi"
)
_FORMS = {
    "ucf101": (r"v_(?P<group>[A-Za-z]+)_g[0-9]{2}_c[0-9]{2}\.avi", "v_<Class>_gNN_cNN.avi"),
    "hmdb51": (_HMDB, "<source>_<class>_<f|u|h|l>_<cm|nm>_npN_<fr|ba|le|ri>_<bad|med|goo>_N.avi"),
    "ssv2": (r"[1-9][0-9]*\.webm", "<id>.webm"),
    "kinetics": (_KINETICS, "<id>_<start %06d>_<end %06d>.mp4"),
}
_LABEL = re.compile(r"0|[1-9][0-9]*")


def base_name(path: str) -> str:
    """The last part of a list path without extension. Videos are found and lists compared by it."""
    name = path.rpartition("/")[2]
    return name.rpartition(".")[0] or name


class PathForm:
    """Form of the paths in the lists of a dataset.

    Args:
        path: Name of the form: `ucf101`, `hmdb51`, `ssv2` or `kinetics`.
        folders: Allowed first parts, e.g. `train` and `val`; empty where lists are flat.
        names: Class names of the dataset; HMDB-51's paths repeat them with underscores.
    """

    def __init__(self, path: str, folders: Sequence[str] = (), names: Sequence[str] = ()) -> None:
        pattern, shown = _FORMS[path]
        pattern = pattern.replace("CLASS", "|".join(re.escape(name.replace(" ", "_")) for name in names))
        prefix = f"(?:{'|'.join(folders)})/" if folders else ""
        self._pattern = re.compile(prefix + pattern)
        self.shown = f"{'|'.join(folders)}/{shown}" if folders else shown

    def match(self, path: str) -> bool:
        """Return whether a path has the form."""
        return self._pattern.fullmatch(path) is not None

    def class_part(self, path: str) -> str | None:
        """The part of a path that names its class (HMDB-51 and UCF-101), or None for forms without a class."""
        if "group" not in self._pattern.groupindex:
            return None
        match = self._pattern.fullmatch(path)
        return match["group"] if match else None


def parse_list(data: bytes, file: Path | str, classes: int, form: PathForm) -> tuple[Row, ...]:
    """The rows of a list file as (path, label id), in file order.

    Args:
        data: The file's bytes.
        file: Its name in messages.
        classes: Size of the label set that the ids point into.
        form: Form of the dataset's paths.

    Raises:
        UserError: The file has a defect; the message names file, line and rule of the first one.
    """
    rows: list[Row] = []
    lines_of: dict[str, int] = {}
    first_of_class: dict[str, tuple[int, int]] = {}
    present = bytearray(classes)  # one flag for each class
    for number, line in enumerate(_lines(data, file, "list"), 1):
        path, label = _row(line, file, number, classes, form)
        if path in lines_of:
            raise _defect(file, number, f"{path!r} is a duplicate of line {lines_of[path]}", "a path occurs once")
        lines_of[path] = number
        part = form.class_part(path)
        if part is not None:
            first_label, first_line = first_of_class.setdefault(part, (label, number))
            if first_label != label:
                defect = f"class {part!r} has label {label} here and {first_label} on line {first_line}"
                raise _defect(file, number, defect, "clips of one class have one label")
        present[label] = 1
        rows.append((path, label))
    if not all(present):
        absent = present.index(0)
        raise _defect(file, len(rows), f"the list ends without a row of class {absent}", "every class has a row")
    return tuple(rows)


def _row(line: str, file: Path | str, number: int, classes: int, form: PathForm) -> Row:
    if not line:
        raise _defect(file, number, "a blank line", "no blank lines")
    if line != line.strip():
        raise _defect(file, number, f"white space at an end of {line!r}", "no blank at either end of a row")
    if not line.isprintable():  # a blank is the only white space that is printable
        forbidden = next(c for c in line if not c.isprintable())
        rule = "the only white space is one blank before the label"
        raise _defect(file, number, f"the character {forbidden!r}", rule)
    path, blank, label = line.rpartition(" ")
    if not blank:
        raise _defect(file, number, f"{line!r} has no label", "a row is path, one blank, label")
    if " " in path:
        raise _defect(file, number, f"{line.count(' ')} blanks in {line!r}", "a row is path, one blank, label")
    if not _LABEL.fullmatch(label):
        raise _defect(file, number, f"the label {label!r}", "a label is a decimal number without sign or padding")
    if int(label) >= classes:
        raise _defect(file, number, f"label {label}", f"a label is below the number of classes, {classes}")
    if path.startswith("/") or "\\" in path or ".." in path.split("/"):
        raise _defect(file, number, f"the path {path!r}", "a path stays inside the dataset's folder")
    if not form.match(path):
        raise _defect(file, number, f"the path {path!r}", f"a path of this dataset has the form {form.shown}")
    return path, int(label)


def parse_labels(data: bytes, file: Path | str) -> LabelSet:
    """The label set of a label file.

    Raises:
        UserError: The file has a defect; the message names file, line and rule of the first one.
    """
    lines = _lines(data, file, "label file")
    if lines[0] != "id,name":
        raise _defect(file, 1, f"the header {lines[0]!r}", "the header is 'id,name'")
    names: list[str] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines[1:], 2):
        try:
            cells = next(csv.reader([line], strict=True), [])
        except csv.Error as error:
            raise _defect(file, number, str(error), "quoting follows RFC 4180") from None
        if len(cells) != 2:
            raise _defect(file, number, f"{len(cells)} columns", "a row is id,name; a name with a comma is quoted")
        label, name = cells
        if label != str(len(names)):
            raise _defect(file, number, f"id {label!r}", f"ids count 0, 1, 2, ...: {len(names)} is next")
        if not name or name != name.strip():
            raise _defect(file, number, f"the name {name!r}", "a name is not blank and has no blank at either end")
        if name.casefold() in seen:
            first_line = seen[name.casefold()]
            raise _defect(file, number, f"{name!r} is a duplicate of line {first_line}", "names are distinct")
        seen[name.casefold()] = number
        names.append(name)
    if not names:
        raise _defect(file, 1, "no class after the header", "a label file has at least one class")
    return LabelSet(tuple(names))


def _lines(data: bytes, file: Path | str, kind: str) -> list[str]:
    """The lines without line ends, after the checks of the whole file: encoding and line ends."""
    if not data:
        raise _defect(file, 1, "an empty file", f"a {kind} has at least one row")
    if data.startswith(b"\xef\xbb\xbf"):
        raise _defect(file, 1, "a byte-order mark", "text is UTF-8 without a byte-order mark")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        probable = f" (the file is probably {probable_content(data).words})"
        raise _defect(file, line, f"the byte 0x{data[error.start]:02x}{probable}", "text is UTF-8") from None
    ends = {end: text.count(end) for end in ("\r\n", "\n", "\r")}
    crlf, lf, cr = ends["\r\n"], ends["\n"] - ends["\r\n"], ends["\r"] - ends["\r\n"]
    if cr:
        match = re.search("\r(?!\n)", text)
        line = text.count("\n", 0, match.start() if match else 0) + 1
        raise _defect(file, line, "a carriage return without a line feed", "lines end in LF or CRLF")
    if crlf and lf:
        # The rarer kind is the damage; the message names its first line.
        rarer = "\r\n" if crlf < lf else "(?<!\r)\n"
        match = re.search(rarer, text)
        line = text.count("\n", 0, match.start() if match else 0) + 1
        raise _defect(file, line, f"{crlf} CRLF and {lf} LF line ends", "one kind of line end throughout")
    lines = text.split("\r\n" if crlf else "\n")
    return lines[:-1] if lines[-1] == "" else lines


def _defect(file: Path | str, line: int, content: str, rule: str) -> UserError:
    return UserError(f"{file}, line {line}: {content}.", f"Rule: {rule}.")


def format_list(rows: Sequence[Row], eol: str = "\n", final_newline: bool = True) -> bytes:
    """The bytes of a list file."""
    text = eol.join(f"{path} {label}" for path, label in rows)
    return (text + (eol if final_newline else "")).encode()


def format_labels(names: Sequence[str], eol: str = "\n", quoted: bool = False) -> bytes:
    """The bytes of a label file. With `quoted` every name is in quotes, as in the published SSv2 file."""
    file = io.StringIO()
    file.write(f"id,name{eol}")
    if quoted:
        for label, name in enumerate(names):
            escaped = name.replace('"', '""')
            file.write(f'{label},"{escaped}"{eol}')
    else:
        csv.writer(file, lineterminator=eol).writerows(enumerate(names))
    return file.getvalue().encode()
