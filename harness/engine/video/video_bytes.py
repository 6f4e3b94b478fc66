"""The bytes of a video file: read before they are decoded, so that a fault of the disk is never a fault of the video.

Decoders report a read error, a vanished file and a damaged file alike, or return wrong frames. Whether the machine or
the file is at fault can only be told by reading the file without a decoder.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import EXIT_FAILED, UserError
from harness.data.files.frame_folder import clip_files, is_frame_folder

DECODE_SECONDS = 60.0
"""Limit of CPU time of a video, and of the time without a byte of it."""
CHUNK = 1 << 20
REPORT_SECONDS = 0.2
"""Interval of the reports of a reading process that it still receives bytes."""
READ_ATTEMPTS = 2
"""A file that could not be read is read once more, because a server may have been restarted."""


REPAIR = "Restore the file or repair the disk; python -m harness check data DATASET --decode reads every video."
MORE_MEMORY = "Give it more memory, or use fewer --workers and a smaller --eval-clips or --fit-clips."
OTHER_READER = "Look at the load of the machine; --views reader=exact decodes with another library, as another row."


@dataclass(frozen=True)
class MachineFault:
    """Result of a clip that the machine could not read or decode; it says nothing about the video.

    Args:
        reason: The reason in one line.
        hint: The fix.
        of: The part that failed, for the message.
    """

    reason: str
    hint: str = REPAIR
    of: str = "the machine"


class MachineFaultError(UserError):
    """The machine failed while it read or decoded a video: the video has no prediction, not a wrong one.

    Args:
        video: The file, or a name of the clip if it has no file.
        fault: The operation that failed.
    """

    def __init__(self, video: Path | str, fault: MachineFault) -> None:
        super().__init__(
            f"{video}: {fault.reason}, {READ_ATTEMPTS} times. "
            f"This is a fault of {fault.of}, not a wrong prediction.",
            f"{fault.hint} Then give the same command again: finished cells and scores so far are kept.",
            EXIT_FAILED,
        )
        self.video, self.fault = video, fault


def read_through(file: Path, report: Callable[[], None] = lambda: None, digest: bool = False) -> str:
    """Read all bytes of a regular file, or of all frames of a frame folder.

    Args:
        file: The file or folder.
        report: Called every `REPORT_SECONDS` while bytes arrive, so that a slow server differs from a dead one.
        digest: Compute the hash of the bytes.

    Returns:
        The sha256 of the bytes in hex, for a folder of the frames' names and hashes; empty without `digest`.

    Raises:
        OSError: The file is missing, is not a regular file, cannot be read, or ends before its size.
    """
    if is_frame_folder(file):
        # Without a digest, only the frames that a clip needs are read, by its reader.
        read = [f"{frame.name}\0{read_through(frame, report, digest)}\n" for frame in clip_files(file) if digest]
        return hashlib.sha256("".join(read).encode("utf-8", "surrogateescape")).hexdigest() if digest else ""
    hashed, count, reported = hashlib.sha256(), 0, time.monotonic()
    # Without O_NONBLOCK, opening a named pipe would wait for a writer.
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(file))
        while block := os.read(descriptor, CHUNK):
            count += len(block)
            if digest:
                hashed.update(block)
            if time.monotonic() - reported > REPORT_SECONDS:
                report()
                reported = time.monotonic()
    finally:
        os.close(descriptor)
    if count < status.st_size:  # a network file system may end a file early instead of failing
        raise OSError(errno.EIO, f"only {count} of {status.st_size} bytes could be read", str(file))
    return hashed.hexdigest() if digest else ""


def read_within(file: Path, seconds: float, digest: bool = False) -> str:
    """`read_through` in this process, with a time limit and one retry.

    Args:
        file: The file.
        seconds: Longest time without a byte.
        digest: Compute the hash of the bytes.

    Raises:
        MachineFaultError: Both attempts failed.
    """
    for attempt in range(1, READ_ATTEMPTS + 1):
        try:
            return _read_in_thread(file, seconds, digest)
        except (OSError, MemoryError) as error:
            if attempt == READ_ATTEMPTS:
                raise MachineFaultError(file, fault_of(error)) from None
    raise AssertionError("unreachable")


def _read_in_thread(file: Path, seconds: float, digest: bool) -> str:
    """Read in a separate thread: a read from a dead server cannot be interrupted, only abandoned."""
    outcome: list[str | OSError | MemoryError] = []
    alive, ended = threading.Event(), threading.Event()

    def read() -> None:
        try:
            outcome.append(read_through(file, alive.set, digest))
        except (OSError, MemoryError) as error:
            outcome.append(error)
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    while not ended.wait(seconds):
        if not alive.is_set():
            raise TimeoutError(errno.ETIMEDOUT, stalled(seconds), str(file))
        alive.clear()
    if isinstance(outcome[0], str):
        return outcome[0]
    raise outcome[0]


def stalled(seconds: float) -> str:
    """The reason of a read that received no byte for some seconds."""
    return f"no byte arrived within {seconds:g} s"


def fault_of(error: OSError | MemoryError) -> MachineFault:
    """The fault behind a failed read."""
    if isinstance(error, MemoryError):
        return MachineFault("memory was used up while it was read", MORE_MEMORY)
    return MachineFault(f"cannot be read: {error.strerror or error}")
