"""The published reader `decord`: refusals that it lacks, and the reason of a failure in the words of the other reader.

decord reports a missing codec, a picture and a damaged file in the same words, opens files that a text names, and reads
the beginning of a file that was cut off as if it were the whole clip.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.engine.video.local_file import NotAVideoError, cut_off, open_video, refuse_text

if TYPE_CHECKING:
    import decord


class DecordCannotReadError(ValueError):
    """decord does not decode a file; the message is the reason, and the reader that decodes it."""


def open_decord(path: Path, threads: int = 1) -> decord.VideoReader:
    """Open a video with decord by its path: decoding from memory crashes on truncated AVI files (D6).

    Raises:
        NotAVideoError: The file is not a video.
        DecordCannotReadError: decord cannot open the file, or the file is cut off.
        OSError: The file cannot be read.
    """
    import decord

    refuse_text(path)
    if reason := cut_off(path):
        left = "; the reader exact decodes the frames that are left" if _readable_content(path) else ""
        raise DecordCannotReadError(f"{reason}{left}")
    with explained(path):
        return decord.VideoReader(str(path.absolute()), num_threads=threads)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Context in which an error of decord becomes the reason that the other library finds.

    Raises:
        NotAVideoError: The file is not a video, or has no video stream.
        DecordCannotReadError: The reader `exact` decodes the file.
    """
    import decord

    try:
        yield
    except (decord.DECORDError, RuntimeError) as error:
        # An error that PyAV does not explain either is raised as it is.
        if content := _readable_content(path):
            raise DecordCannotReadError(f"decord does not decode {content}; the reader exact does") from error
        raise


def _readable_content(path: Path) -> str:
    """The codec and container of a file of which PyAV decodes a frame; empty if it decodes none.

    Raises:
        NotAVideoError: The file is not a video, or has no video stream.
    """
    import av

    try:
        with open_video(path) as (container, stream):
            content = f"{stream.codec_context.name} in {container.format.name.partition(',')[0]}"
            for packet in container.demux(stream):
                with contextlib.suppress(av.error.InvalidDataError):
                    if packet.decode():
                        return content
    except NotAVideoError:
        raise
    except (av.error.FFmpegError, OSError, ValueError):
        return ""
    return ""
