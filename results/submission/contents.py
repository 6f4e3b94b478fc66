"""Safe access to the files of a submission, from a zip file or a folder.

No file is extracted, imported, unpickled or executed. Links and special files are not followed, every read has a size
limit, and all problems are findings instead of exceptions.
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
"""Largest total size in bytes of all files except weights, and of all decompressed predictions tables."""
LAYOUT = (
    ("json", re.compile(r"(submission|card|environment)\.json"), 4 * MIB),
    ("record", re.compile(r"records/[A-Za-z0-9][A-Za-z0-9._+-]*\.record\.json"), 4 * MIB),
    ("predictions", re.compile(r"records/[A-Za-z0-9][A-Za-z0-9._+-]*\.predictions\.csv\.gz"), 8 * MIB),
    ("fit", re.compile(r"fits/[0-9a-f]{16}\.json"), 4 * MIB),
    ("weights", re.compile(r"weights/[0-9a-f]{16}\.safetensors"), 8 * 1024 * MIB),
)
"""Kind, path and largest size of all files that a submission can contain."""
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
"""First bytes of programs, scripts, archives and pickles, which no file of a submission can have."""


@dataclass(frozen=True)
class Entry:
    """One file of a submission.

    Args:
        name: Path inside the submission, with `/`.
        kind: Kind of the file, see `LAYOUT`.
        size: Stated size in bytes; a read never returns more.
        opener: Opens the content for reading.
    """

    name: str
    kind: str
    size: int
    opener: Callable[[], IO[bytes]]

    def read(self) -> bytes:
        """The bytes of the file.

        Raises:
            UserError: The file cannot be read, or its size differs from the stated size.
        """
        try:
            with self.opener() as file:
                data = file.read(self.size + 1)  # one byte more, to notice a wrong stated size
        except Exception as error:  # damaged archives make zipfile and its decompressors raise many types
            raise UserError(f"{self.name} cannot be read: {type(error).__name__}: {error}") from None
        if len(data) != self.size:
            raise UserError(f"{self.name} contains {len(data)} bytes or more, expected {self.size}.")
        return data

    def pieces(self, length: int = MIB) -> Iterator[bytes]:
        """The bytes of the file in pieces.

        Raises:
            UserError: The file cannot be read, or its size differs from the stated size.
        """
        left = self.size
        try:
            with self.opener() as file:
                while piece := file.read(length):
                    left -= len(piece)
                    if left < 0:
                        break
                    yield piece
        except Exception as error:  # as in `read`
            raise UserError(f"{self.name} cannot be read: {type(error).__name__}: {error}") from None
        if left:
            raise UserError(f"{self.name} does not have the stated size of {self.size} bytes.")


@dataclass
class Contents:
    """The admitted files by name, and findings on all other files."""

    path: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    total: int = 0
    """Total size in bytes of the admitted files without weights."""
    complete: bool = True
    """False if the container is damaged, so that not all files were listed."""

    def of(self, kind: str) -> list[Entry]:
        """The entries of a kind, by name."""
        return [self.entries[name] for name in sorted(self.entries) if self.entries[name].kind == kind]

    def add(self, rule: str, where: str, found: str, expected: str) -> None:
        """Add a finding."""
        self.complete = self.complete and rule not in ("F001", "F002")
        self.findings.append(Finding(rule, printable(where), printable(found), expected))


_LOG_COMMAND = re.compile(r":(?=:)|#(?=#\[)")
"""Starts of commands (`::error`, `##[error]`) that a workflow runner obeys wherever they occur in a line of its log."""


def printable(text: str, most: int = 200) -> str:
    """A text for a terminal or the log of a workflow, cut at `most` characters.

    Control characters, invalid characters and the starts of log commands are escaped.
    """
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: most + 1])
    shown = _LOG_COMMAND.sub(lambda found: f"\\x{ord(found[0]):02x}", shown)
    shown = shown.encode("utf-8", "backslashreplace").decode()
    return shown if len(shown) <= most else shown[: most - 3] + "..."


@contextmanager
def open_contents(path: Path) -> Iterator[Contents]:
    """Open a submission and list its files, with findings of the rules on containers.

    Raises:
        UserError: `path` does not exist.
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
    """List a folder without following links."""
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
            # A link is judged as a link: its target may lie outside of the submission.
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
    """List a zip file; refuse features that `submit pack` never uses."""
    infos = archive.infolist()
    # Before anything is read: the central directory alone can name millions of members.
    if len(infos) > MAX_FILES:
        contents.add("F002", contents.path.name, f"{len(infos)} files", f"at most {MAX_FILES}")
        return
    # A program in front of the archive, and members that share compressed data (a "zip bomb"), show in the offsets.
    in_order = sorted(infos, key=lambda info: info.header_offset)
    if in_order and in_order[0].header_offset != 0:
        contents.add("F001", contents.path.name, "data in front of the archive", "a zip file without other data")
        return
    for first, second in pairwise(in_order):
        # 30 bytes is the shortest local header; its variable parts can only make the overlap larger.
        if first.header_offset + 30 + first.compress_size > second.header_offset:
            contents.add("F002", second.filename, "members with overlapping data", "separate data of each member")
            return
    names: dict[str, str] = {}
    for info in infos:
        name = info.filename
        if name.endswith("/") and (name in FOLDERS) and not info.file_size:
            continue
        # File systems that ignore case would unpack one file over the other.
        if (earlier := names.setdefault(name.casefold(), name)) is not name:
            contents.add("F005", name, f"a second file besides {earlier}", "different names, apart from case")
            continue
        if info.flag_bits & 1:
            contents.add("F001", name, "an encrypted member", "a zip file without a password")
            continue
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            contents.add("F001", name, f"compression method {info.compress_type}", "stored or deflated")
            continue
        # Small members are left out: a text of blanks compresses better than this and does no harm.
        if info.file_size > MIB and info.file_size > MAX_RATIO * max(info.compress_size, 1):
            contents.add(
                "F002", name, f"{info.compress_size} bytes that expand to {info.file_size}", f"a ratio of {MAX_RATIO}"
            )
            continue
        mode = info.external_attr >> 16  # the upper half holds the Unix file mode
        _admit(contents, name, mode, info.file_size, partial(archive.open, info))


def _allowed() -> str:
    return "submission.json, card.json, environment.json, records/, fits/, weights/"


def _admit(contents: Contents, name: str, mode: int, size: int, opener: Callable[[], IO[bytes]]) -> None:
    """Admit one file if its name, kind, mode, size and first bytes are valid."""
    kind_bits = stat.S_IFMT(mode)
    # 0: zip files that were made on Windows state no type.
    if kind_bits not in (0, stat.S_IFREG):
        contents.add("F003", name, f"file type {kind_bits:o}", "a regular file")
        return
    parts = name.split("/")
    if (
        name != name.strip() or "\\" in name or ":" in name or "\0" in name or len(name) > MAX_NAME
        or any(part in ("", ".", "..") for part in parts)
    ):  # fmt: skip
        contents.add("F004", name, "a path that can leave the folder of the submission", "a plain relative path")
        return
    # All suffixes, so that `model.py.json` is seen as well.
    suffixes = {suffix.lower() for suffix in Path(parts[-1]).suffixes}
    kind, limit = next(((k, most) for k, form, most in LAYOUT if form.fullmatch(name)), ("", MIB))
    entry = Entry(name, kind, size, opener)
    # File names of the layout contain names of lists, which may have dots; rules on the content judge these files.
    if not kind and suffixes & CODE_SUFFIXES:
        contents.add("F007", name, "a file that can carry code", "data only: JSON, gzipped CSV, safetensors")
        return
    if mode & 0o111:
        contents.add("F007", name, f"permissions {stat.S_IMODE(mode):o}", "no execute permission")
        return
    if size > limit:
        contents.add("F002", name, f"{size} bytes", f"at most {limit}")
        return
    # Weights are hashed in pieces and never held in memory as a whole.
    contents.total += 0 if kind == "weights" else size
    if contents.total > MAX_TOTAL:
        contents.add("F002", name, f"more than {MAX_TOTAL} bytes in total", "files that fit into memory")
        return
    try:
        start = next(entry.pieces(16), b"")
    except UserError as error:
        contents.add("F001", name, error.message, "a file that can be read")
        return
    is_weights = kind == "weights" and start[8:9] == b"{"  # the first eight bytes are a length and can have any value
    if start.startswith(CODE_STARTS) and not is_weights:
        contents.add("F007", name, f"first bytes {start[:4]!r}", "data only: JSON, gzipped CSV, safetensors")
    elif not kind:
        contents.add("F006", name, "an unknown file", _allowed())
    else:
        contents.entries[name] = entry
