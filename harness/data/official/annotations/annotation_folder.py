"""Search for official annotation files by name below a folder, and functions to read and check their text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from harness.base.errors import EXIT_FAILED, UserError

T = TypeVar("T")
RESTORE = "Restore the official file: download the annotations again."
"""Hint for a file that is not in the official format."""


class AnnotationFolder:
    """The files of a folder and its sub-folders by file name.

    Args:
        folder: The user's folder of annotations. Links to folders are not followed.

    Raises:
        UserError: The folder does not exist, or a sub-folder cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UserError(
                f"The annotation folder {folder} does not exist, expected a folder of official annotation files.",
                "Correct --annotations.",
            )
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
        """The file of the first name that exists, or None.

        Raises:
            UserError: Two files of that name differ in content.
        """
        for name in names:
            files = self._files.get(name, [])
            if files:
                first = files[0].read_bytes()
                for other in files[1:]:
                    if other.read_bytes() != first:
                        raise UserError(
                            f"{self.folder} holds two different files named {name}: {files[0]} and {other}.",
                            "Give the folder of one of them.",
                        )
                return files[0]
        return None

    def need(self, *names: str, page: str) -> Path:
        """The file of the first name that exists.

        Args:
            names: File names, in order of preference.
            page: Download page, named in the error.

        Raises:
            UserError: There is no such file, or two files of that name differ in content.
        """
        file = self.find(*names)
        if file is None:
            raise UserError(
                f"{self.folder} holds no {' or '.join(names)} (sub-folders included).",
                f"Download the official annotations: {page}",
            )
        return file


def _refuse(error: OSError) -> None:
    message = f"The folder {error.filename} cannot be read ({error.strerror})."
    raise UserError(message, "Change its permissions, or move it out of the annotations.", EXIT_FAILED)


def read_lines(file: Path) -> list[str]:
    """The lines of a text file without line ends (LF or CRLF) and without blank lines at the end of the file.

    Raises:
        UserError: The file is not UTF-8 text, or cannot be read.
    """
    try:
        lines = file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}.", RESTORE) from None
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def bad_line(file: Path, number: int, content: str | tuple[str, ...], expected: str) -> UserError:
    """The error for a line that is not in the official format.

    Args:
        file: The file.
        number: Number of the line, from 1.
        content: The line, or a part of it.
        expected: The official format, in words.
    """
    return UserError(f"{file}, line {number}: {content!r}, expected {expected}.", RESTORE)


def check_names(names: Sequence[str], expected: Sequence[str], file: Path, title: str) -> None:
    """Compare the class names of a file with those of a dataset, in order.

    Raises:
        UserError: The names differ; the message names the first difference.
    """
    for i, (a, b) in enumerate(zip(names, expected, strict=False)):
        if a != b:
            raise UserError(f"{file}: class {i} is {a!r}, expected {b!r} ({title}).", RESTORE)
    if len(names) != len(expected):
        raise UserError(f"{file}: {len(names)} classes, expected {len(expected)} ({title}).", RESTORE)


def read_json(file: Path, kind: type[T], expected: str) -> T:
    """A JSON file as a value of a type.

    Args:
        file: The file.
        kind: The type, as `msgspec` decodes it.
        expected: The type in words, for the message.

    Raises:
        UserError: The file cannot be read, is not JSON, or holds a value of another type.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except msgspec.ValidationError as error:
        raise UserError(f"{file} does not hold {expected}: {error}.", RESTORE) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} cannot be read as JSON: {error}.", RESTORE) from None
