"""Text files of users: UTF-8 text, or one error with the reason, the probable encoding and the fixing command."""

from __future__ import annotations

import re
import shlex
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import UserError

_BYTE_ORDER_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (b"\xff\xfe\0\0", "UTF-32"), (b"\0\0\xfe\xff", "UTF-32"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"),
)  # fmt: skip
_BINARY = (
    (b"PK\x03\x04", "an Excel workbook or a zip archive"), (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
    (b"PAR1", "a Parquet file"), (b"\x1f\x8b", "a gzip archive"), (b"%PDF", "a PDF file"),
    (b"\x89HDF", "an HDF5 file"), (b"SQLite format 3", "a database"), (b"\x80\x04\x95", "a Python pickle"),
)  # fmt: skip
_HIGH = re.compile(rb"[\x80-\xff]+")


@dataclass(frozen=True)
class Content:
    """The probable nature of bytes that are not UTF-8.

    Args:
        words: The kind of content, for messages.
        encoding: Its name for `iconv` and Python; empty if the bytes are not text.
    """

    words: str
    encoding: str = ""


def read_text(path: Path, kind: str, expected: str) -> str:
    """The text of a file without a byte-order mark.

    Args:
        path: The file.
        kind: Words for the file in messages, e.g. `The class file`.
        expected: The accepted forms, for the hint of a file that is missing or not text.

    Raises:
        UserError: The file does not exist, cannot be read, or is not UTF-8 text.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{kind} {path} does not exist.", expected) from None
    except OSError as error:
        raise UserError(f"{kind} {path} cannot be read: {error.strerror or error}.", expected) from None
    if not data.startswith(tuple(start for start, _ in _BINARY)) and b"\0" not in data:
        with suppress(UnicodeDecodeError):
            text = data.decode("utf-8-sig")
            _refuse_page(text, path, kind)
            return text
    content = probable_content(data)
    if not content.encoding:
        raise UserError(f"{kind} {path} is not text: it is {content.words}.", f"Save it as UTF-8 text. {expected}")
    new = shlex.quote(str(path.with_name(f"utf8_{path.name}")))
    raise UserError(
        f"{kind} {path} is not UTF-8 text: it is probably {content.words}.",
        f"Convert it: iconv -f {content.encoding} -t UTF-8 {shlex.quote(str(path))} > {new}",
    )


def _refuse_page(text: str, path: Path, kind: str) -> None:
    """Refuse text that a download left in place of the file."""
    start = text[:200].lstrip().lower()
    if start.startswith("version https://git-lfs"):
        raise UserError(f"{kind} {path} is a Git LFS pointer and not the file.", "Get the file: git lfs pull")
    if start.startswith(("<!doctype html", "<html", "<?xml")):
        raise UserError(f"{kind} {path} is a web page and not the file.", "Download the file itself (raw).")


def probable_content(data: bytes) -> Content:
    """The probable encoding of bytes that are not UTF-8, or their kind if they are not text."""
    for start, words in _BINARY:
        if data.startswith(start):
            return Content(words)
    for mark, name in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return Content(name, name)
    if b"\0" in data:
        return _with_zeros(data[:4096])
    return _legacy(data)


def _legacy(data: bytes) -> Content:
    """The probable encoding of bytes from before Unicode, by the bytes that its letters use."""
    runs = _HIGH.findall(data)
    high = b"".join(runs)
    if _decodes(data, "gb2312"):
        # The frequent Hangul syllables are the pairs from B0 to C8; of Chinese characters these are about half.
        is_korean = len(high) >= 8 and all(0xB0 <= byte <= 0xC8 for byte in high[::2])
        return Content("EUC-KR", "EUC-KR") if is_korean else Content("GBK", "GBK")
    if _decodes(data, "big5") and all(0xA4 <= run[0] <= 0xC6 for run in runs):
        return Content("Big5", "BIG5")
    # An accented letter of a European text is one byte between ASCII letters.
    if sum(len(run) == 1 for run in runs) > len(runs) / 2:
        return Content("Windows-1252 (Latin-1)", "WINDOWS-1252")
    if _decodes(data, "shift_jis"):
        return Content("Shift-JIS", "SHIFT_JIS")
    if min(high) >= 0xC0:
        return Content("Windows-1251 (Cyrillic)", "WINDOWS-1251")
    return Content("GBK", "GBK") if _decodes(data, "gbk") else Content("Windows-1252 (Latin-1)", "WINDOWS-1252")


def _with_zeros(data: bytes) -> Content:
    """UTF-16 without a byte-order mark has a zero byte in nearly every second place of ASCII text."""
    even, odd = data[::2].count(0), data[1::2].count(0)
    half = len(data) // 2
    if odd > 0.4 * half and even < 0.1 * half:
        return Content("UTF-16 without a byte-order mark", "UTF-16LE")
    if even > 0.4 * half and odd < 0.1 * half:
        return Content("UTF-16 without a byte-order mark", "UTF-16BE")
    return Content("binary data")


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def composed(text: str) -> str:
    """A text with composed accents (NFC). macOS and some archives write names with separate accents (NFD)."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def forms_of(name: str) -> tuple[str, ...]:
    """A file name as written, and in the two Unicode forms in which a file system may hold it."""
    if name.isascii():
        return (name,)
    return tuple(dict.fromkeys((name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name))))
