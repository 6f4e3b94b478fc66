"""The format of a weight file, recognised from its first bytes; suffixes are not used.

The same format is published under `.pt`, `.pth`, `.bin` and `.tar`, and files of the Hugging Face cache have no suffix.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

from harness.base.errors import UserError

Format = Literal["safetensors", "zip", "legacy", "index"]
"""safetensors; a zip file of torch >= 1.6 or of TorchScript; a file of torch < 1.6; the index of a sharded file."""
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_HEAD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_HEAD_BYTES = 4096
_AGAIN = "Download the file again."
_SUPPORTED = "Give a safetensors file or a file that torch.save wrote."
_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a pointer of Git LFS, which names the weights and does not hold them",
     "Run `git lfs pull` in its repository, or download the file itself."),
    (b"\x1f\x8b", "a gzip archive", "Unpack it and give the weight file inside."),
    (b"BZh", "a bzip2 archive", "Unpack it and give the weight file inside."),
    (b"\xfd7zXZ", "an xz archive", "Unpack it and give the weight file inside."),
    (b"7z\xbc\xaf", "a 7z archive", "Unpack it and give the weight file inside."),
    (b"\x89HDF", "an HDF5 file of Keras or TensorFlow", _SUPPORTED),
    (b"GGUF", "a GGUF file of llama.cpp", _SUPPORTED),
    (b"\x93NUMPY", "an array of NumPy", _SUPPORTED),
)  # fmt: skip


def format_of(path: Path) -> Format:
    """The format of a weight file.

    Raises:
        UserError: The file has another format, which the message names.
        OSError: The file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"PK\x03\x04"):
        if not zipfile.is_zipfile(path):
            raise UserError(f"The zip file {path} has no end: only {size} bytes of it are there.", _AGAIN)
        return "zip"
    if head.startswith(_LEGACY_HEAD):
        return "legacy"
    # A safetensors file begins with the length of a JSON header.
    if head[8:9] == b"{" and (length := int.from_bytes(head[:8], "little")) < 2**40:
        if length > size - 8:
            raise UserError(f"The safetensors file {path} ends within its header: it has {size} bytes.", _AGAIN)
        return "safetensors"
    if head.lstrip()[:1] == b"{":
        return "index"
    found, fix = _other(head, size)
    raise UserError(f"{path} is {found}, not a weight file.", fix)


def _other(head: bytes, size: int) -> tuple[str, str]:
    """A description of a file that is not a weight file, and the fix."""
    if not head:
        return "empty", _AGAIN
    for signature, found, fix in _SIGNATURES:
        if head.startswith(signature):
            return found, fix
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, such as the error page of a failed download", _AGAIN
    if head[257:262] == b"ustar":
        return "a tar archive", "Unpack it and give the weight file inside."
    if not head.strip(b"\0"):
        return f"a file of {size} bytes that begins with zeros, such as an interrupted download", _AGAIN
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return "a pickle that torch.save did not write", "Save a state dict with torch.save or as safetensors."
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # The last character of the head can be cut; an error before it means that the file is not text.
        if error.start < len(head) - 4 or len(head) < _HEAD_BYTES:
            return "neither safetensors nor a file of torch.save", f"{_SUPPORTED} {_AGAIN}"
    return "a text file", _SUPPORTED
