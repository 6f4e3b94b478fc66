"""Finding official annotation files by name anywhere below a folder, and reading their lines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness.base.errors import EXIT_FAILED, UserError


class AnnotationFolder:
    """The files below a folder by name, for readers that know what their files are called.

    Args:
        folder: Where the user keeps the annotations; sub-folders are searched, links followed.

    Raises:
        UserError: The folder does not exist.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UserError(f"The annotation folder {folder} does not exist.")
        self.folder = folder
        self._files: dict[str, list[Path]] = {}
        for parent, folders, files in os.walk(folder, onerror=_refuse, followlinks=False):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in files:
                self._files.setdefault(name, []).append(Path(parent) / name)

    @property
    def names(self) -> tuple[str, ...]:
        """All file names, sorted."""
        return tuple(sorted(self._files))

    def find(self, *names: str) -> Path | None:
        """The file of the first of the names that exists, or None.

        Raises:
            UserError: Two files of that name differ in content.
        """
        for name in names:
            found = self._files.get(name, [])
            if found:
                first = found[0].read_bytes()
                for other in found[1:]:
                    if other.read_bytes() != first:
                        raise UserError(
                            f"{self.folder} holds two different files named {name}: {found[0]} and {other}.",
                            "Give the folder of one of them.",
                        )
                return found[0]
        return None

    def need(self, *names: str, page: str) -> Path:
        """As `find`, but a missing file is an error that says where it comes from."""
        file = self.find(*names)
        if file is None:
            raise UserError(
                f"{self.folder} holds no {' or '.join(names)} (sub-folders included).",
                f"Download the official annotations: {page}",
            )
        return file


def _refuse(error: OSError) -> None:
    raise UserError(f"The folder {error.filename} cannot be read ({error.strerror}).", exit_code=EXIT_FAILED)


def read_lines(file: Path) -> list[str]:
    """The lines of a text file without their ends (LF or CRLF), blank lines at the end left out.

    Raises:
        UserError: It is not UTF-8 text, or cannot be read.
    """
    try:
        lines = file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}") from None
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def bad_line(file: Path, number: int, found: object, expected: str) -> UserError:
    """The error of a line that does not have its official format."""
    return UserError(f"{file}, line {number}: {found!r}, expected {expected}.")


def check_names(found: Sequence[str], expected: Sequence[str], file: Path, title: str) -> None:
    """Compare class names with a dataset's, in order.

    Raises:
        UserError: They differ; the first difference is named.
    """
    for i, (a, b) in enumerate(zip(found, expected, strict=False)):
        if a != b:
            raise UserError(f"{file}: class {i} is {a!r}, expected {b!r} ({title}).")
    if len(found) != len(expected):
        raise UserError(f"{file}: {len(found)} classes, expected {len(expected)} ({title}).")
