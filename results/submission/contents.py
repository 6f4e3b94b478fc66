"""The files of a submission, from a zip file or a folder, opened so that nothing in them can do harm.

Nothing is ever extracted, imported, unpickled or executed. Links and special files are not followed; every read has a
limit; what is found wrong on the way is a finding and never an exception.
"""

from __future__ import annotations

import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import IO

from harness.base.errors import UserError
from results.submission.rules import Finding

MAX_FILES = 5_000
MAX_NAME = 240
MAX_RATIO = 200
MIB = 2**20
MAX_TOTAL = 512 * MIB
"""Bytes of all files but weights, which are read in pieces; also of all predictions tables when decompressed."""
LAYOUT = (
    ("json", re.compile(r"(submission|card|environment)\.json"), 8 * MIB),
    ("record", re.compile(r"records/[A-Za-z0-9][A-Za-z0-9._+-]*\.record\.json"), 4 * MIB),
    ("predictions", re.compile(r"records/[A-Za-z0-9][A-Za-z0-9._+-]*\.predictions\.csv\.gz"), 32 * MIB),
    ("fit", re.compile(r"fits/[0-9a-f]{16}\.json"), 4 * MIB),
    ("weights", re.compile(r"weights/[0-9a-f]{16}\.safetensors"), 8 * 1024 * MIB),
)
"""Kind, path and largest size of every file that a submission may hold."""
FOLDERS = ("records/", "fits/", "weights/")
CODE_SUFFIXES = frozenset(
    (
        ".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".exe", ".sh", ".bash", ".bat", ".cmd", ".ps1", ".js", ".jar",
        ".wasm", ".php", ".pl", ".rb", ".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".npy", ".npz", ".joblib",
        ".h5", ".ipynb", ".html", ".svg", ".lnk", ".desktop", ".com", ".msi", ".dmg", ".whl", ".egg", ".zip", ".tar",
        ".tgz", ".7z",
    )
)  # fmt: skip
CODE_STARTS = (
    b"\x7fELF", b"MZ", b"#!", b"\xcf\xfa\xed\xfe", b"\xfe\xed\xfa\xcf", b"\xca\xfe\xba\xbe", b"PK\x03\x04", b"\0asm",
    b"<html", b"<!DOCTYPE", b"<script", b"\x93NUMPY", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05",
)  # fmt: skip
"""First bytes of programs, scripts, archives and pickles; no file of a submission starts with one of them."""


@dataclass(frozen=True)
class Entry:
    """One file of a submission.

    Args:
        name: Path inside the submission, with `/`.
        kind: As in `LAYOUT`.
        size: Bytes, as stated; a read never returns more than the limit of its kind.
        opener: Opens the content for reading.
    """

    name: str
    kind: str
    size: int
    opener: Callable[[], IO[bytes]]

    def read(self) -> bytes:
        """The content.

        Raises:
            UserError: It cannot be read, or is not of the size stated.
        """
        try:
            with self.opener() as file:
                data = file.read(self.size + 1)
        except Exception as error:  # zipfile raises what its decompressors raise; here nothing may escape
            raise UserError(f"{self.name} cannot be read: {type(error).__name__}: {error}") from None
        if len(data) != self.size:
            raise UserError(f"{self.name} holds {len(data)} bytes or more, stated are {self.size}.")
        return data

    def pieces(self, length: int = MIB) -> Iterator[bytes]:
        """The content in pieces.

        Raises:
            UserError: It cannot be read, or is not of the size stated.
        """
        left = self.size
        try:
            with self.opener() as file:
                while piece := file.read(length):
                    left -= len(piece)
                    if left < 0:
                        break
                    yield piece
        except Exception as error:
            raise UserError(f"{self.name} cannot be read: {type(error).__name__}: {error}") from None
        if left:
            raise UserError(f"{self.name} is not of the {self.size} bytes that are stated.")


@dataclass
class Contents:
    """The files that may be read, by name, and the findings on the others."""

    path: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    total: int = 0
    """Bytes of the files admitted so far, weights aside."""
    complete: bool = True
    """True if all files were looked at; a damaged container is given up."""

    def of(self, kind: str) -> list[Entry]:
        """The entries of a kind, by name."""
        return [self.entries[name] for name in sorted(self.entries) if self.entries[name].kind == kind]

    def add(self, rule: str, where: str, found: str, expected: str) -> None:
        """Note a finding."""
        self.complete = self.complete and rule not in ("F001", "F002")
        self.findings.append(Finding(rule, printable(where), printable(found), expected))


def printable(text: str, most: int = 200) -> str:
    """A text for a terminal: control characters and what cannot be encoded escaped, cut at `most` characters."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: most + 1])
    shown = shown.encode("utf-8", "backslashreplace").decode()
    return shown if len(shown) <= most else shown[: most - 3] + "..."


@contextmanager
def open_contents(path: Path) -> Iterator[Contents]:
    """The files of a submission; its findings are those of rules on the container.

    Raises:
        UserError: There is nothing at `path`.
    """
    contents = Contents(path)
    if path.is_dir():
        _walk(path, contents)
        yield contents
        return
    if not path.is_file():
        raise UserError(f"There is no submission {path}.", "Give a .zip file or a folder made by `submit pack`.")
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:
        contents.add("F001", path.name, f"{type(error).__name__}: {error}", "a zip file")
        yield contents
        return
    with archive:
        _list_zip(archive, contents)
        yield contents


def _walk(root: Path, contents: Contents) -> None:
    """List a folder without following a link."""
    pending, seen = [root], 0
    while pending:
        folder = pending.pop()
        try:
            children = sorted(os.scandir(folder), key=lambda child: child.name)
        except OSError as error:
            contents.add("F001", str(folder), str(error), "a folder that can be read")
            continue
        for child in children:
            name = Path(child.path).relative_to(root).as_posix()
            seen += 1
            if seen > MAX_FILES:
                contents.add("F002", root.name, f"more than {MAX_FILES} files", f"at most {MAX_FILES}")
                return
            status = child.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                if name + "/" in FOLDERS:
                    pending.append(Path(child.path))
                else:
                    contents.add("F006", name + "/", "a folder", _allowed())
            else:
                _admit(contents, name, status.st_mode, status.st_size, partial(_open, child.path))


def _open(path: str) -> IO[bytes]:
    return Path(path).open("rb")


def _list_zip(archive: zipfile.ZipFile, contents: Contents) -> None:
    """List a zip file; refuse what a well-meant one never has."""
    infos = archive.infolist()
    if len(infos) > MAX_FILES:
        contents.add("F002", contents.path.name, f"{len(infos)} files", f"at most {MAX_FILES}")
        return
    in_order = sorted(infos, key=lambda info: info.header_offset)
    if in_order and in_order[0].header_offset != 0:
        contents.add("F001", contents.path.name, "data in front of the archive", "a zip file and nothing else")
        return
    for first, second in pairwise(in_order):
        if first.header_offset + 30 + first.compress_size > second.header_offset:
            contents.add("F002", second.filename, "members that share their data", "one place for each member")
            return
    names: dict[str, str] = {}
    for info in infos:
        name = info.filename
        if name.endswith("/") and (name in FOLDERS) and not info.file_size:
            continue
        if (earlier := names.setdefault(name.casefold(), name)) is not name:
            contents.add("F005", name, f"beside {earlier}", "each name once, upper and lower case alike")
            continue
        if info.flag_bits & 1:
            contents.add("F001", name, "an encrypted member", "a zip file without a password")
            continue
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            contents.add("F001", name, f"compression method {info.compress_type}", "stored or deflated")
            continue
        if info.file_size > MIB and info.file_size > MAX_RATIO * max(info.compress_size, 1):
            contents.add("F002", name, f"{info.compress_size} bytes that grow to {info.file_size}", f"{MAX_RATIO} fold")
            continue
        mode = info.external_attr >> 16
        _admit(contents, name, mode, info.file_size, partial(archive.open, info))


def _allowed() -> str:
    return "submission.json, card.json, environment.json, records/, fits/, weights/ and nothing else"


def _admit(contents: Contents, name: str, mode: int, size: int, opener: Callable[[], IO[bytes]]) -> None:
    """Take up one file if its name, kind, mode, size and first bytes are those of a submission's file."""
    kind_bits = stat.S_IFMT(mode)
    if kind_bits not in (0, stat.S_IFREG):
        contents.add("F003", name, f"file type {kind_bits:o}", "a regular file")
        return
    parts = name.split("/")
    if (
        name != name.strip() or "\\" in name or ":" in name or "\0" in name or len(name) > MAX_NAME
        or any(part in ("", ".", "..") for part in parts)
    ):  # fmt: skip
        contents.add("F004", name, "a path that may leave the submission's folder", "a plain relative path")
        return
    suffixes = {suffix.lower() for suffix in Path(parts[-1]).suffixes}
    kind, limit = next(((k, most) for k, form, most in LAYOUT if form.fullmatch(name)), ("", MIB))
    entry = Entry(name, kind, size, opener)
    if not kind and suffixes & CODE_SUFFIXES:
        contents.add("F007", name, "a file that can carry code", "data only: JSON, gzipped CSV, safetensors")
        return
    if mode & 0o111:
        contents.add("F007", name, f"permissions {stat.S_IMODE(mode):o}", "no execute permission")
        return
    if size > limit:
        contents.add("F002", name, f"{size} bytes", f"at most {limit}")
        return
    contents.total += 0 if kind == "weights" else size
    if contents.total > MAX_TOTAL:
        contents.add("F002", name, f"more than {MAX_TOTAL} bytes together", "files that fit into memory")
        return
    try:
        start = next(entry.pieces(16), b"")
    except UserError as error:
        contents.add("F001", name, error.message, "a file that can be read")
        return
    is_weights = kind == "weights" and start[8:9] == b"{"  # their first bytes are a length, which can be any number
    if start.startswith(CODE_STARTS) and not is_weights:
        contents.add("F007", name, f"first bytes {start[:4]!r}", "data only: JSON, gzipped CSV, safetensors")
    elif not kind:
        contents.add("F006", name, "a file that no rule knows", _allowed())
    else:
        contents.entries[name] = entry
