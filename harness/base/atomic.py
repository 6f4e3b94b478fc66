"""Atomic writing of files: a reader sees either the old content or the new content, never a part."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

from harness.base.canonical import JsonValue


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically: temporary file in the same folder, fsync, rename.

    A failure (full disk, read-only folder) leaves `path` as it was and no temporary file behind; the `OSError` names
    `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, because a rename is atomic within one file system only.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        # 0o666 less the user's mask, which the system applies: results are meant to be shared. Python could read the
        # mask only by changing it, also for the other threads of this process.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            # Before the rename: after a power cut some file systems keep the rename and lose the data.
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None  # a full disk names no file, a rename the temporary one
        raise


def write_json(path: Path, value: JsonValue) -> None:
    """Write `value` as JSON with sorted keys and a final newline, atomically. NaN is refused."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode())
