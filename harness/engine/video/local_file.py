"""Open a local video file with PyAV, and refuse other files by name: pictures, playlists, scripts and texts.

FFmpeg recognises a file by its content and then reads whatever the content names: a playlist or a concat script makes
it open other files, on this machine or in the network. A file is therefore opened with the protocol `file` and with
the demuxers of single video files only.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import InputContainer

HEAD_BYTES = 4096
_PICTURES = {"alias_pix", "brender_pix", "ico", "image2", "image2pipe", "msp", "txd"}
_SCRIPTS = {
    "concat", "dash", "ffmetadata", "hls", "imf", "lavfi", "mpjpeg", "rtp", "rtsp", "sap", "sdp", "vobsub",
    "webm_dash_manifest",
}  # fmt: skip
_TEXT_ART = {"adf", "bin", "idf", "tty", "xbin"}
"""Demuxers of files that are not videos; those of pictures also end in `_pipe`."""
_STILL_BRANDS = {"avif", "heic", "heim", "heis", "heix", "mif1"}
"""Brands of the ISO container whose file is a picture."""
_SHOWN_ONCE = {"apng", "gif", "mjpeg", "webp"}
"""Demuxers of moving pictures: a file of them with a single frame is a picture."""
_TEXTS = (
    (b"#EXTM3U", "a playlist of other files"),
    (b"ffconcat", "a concat script that names other files"),
    (b"version https://git-lfs", "a Git LFS pointer: git lfs pull fetches the video"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
)
_Y4M = b"YUV4MPEG2"
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_DEFAULT_STREAM = 5_000_000
"""Points of a default stream in FFmpeg's choice; a stream has a point per pixel."""


class NotAVideoError(ValueError):
    """The file is not a video, or has no video stream."""


def ffmpeg_name(path: Path) -> str:
    """Return a path as FFmpeg opens it: `12:30/a.avi` and `http://...` would be read as protocols."""
    return f"file:{path.absolute()}"


def refuse_text(path: Path) -> None:
    """Refuse an empty file and a text file: no video container begins with text.

    Raises:
        NotAVideoError: The file is empty or text.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise NotAVideoError("the file is empty")
    if head.startswith(_Y4M) or not _is_text(head):
        return
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    kind = next((kind for magic, kind in _TEXTS if start.startswith(magic.lower())), "text")
    raise NotAVideoError(f"the file is not a video, but {kind}")


def _is_text(head: bytes) -> bool:
    if any(byte < 32 and byte not in b"\t\n\f\r\x1b" for byte in head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3  # a character may be cut at the end
    return True


@contextlib.contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a local video file, and choose the video stream that FFmpeg's command line would choose.

    Raises:
        NotAVideoError: The file is not a video or has no video stream.
        OSError: The file cannot be read.
        av.error.FFmpegError: FFmpeg does not recognise the content.
    """
    import av

    refuse_text(path)
    options = {"protocol_whitelist": "file", "format_whitelist": _video_formats()}
    try:
        # Titles of HMDB-51 clips are often not UTF-8, which PyAV would refuse.
        opened = av.open(ffmpeg_name(path), options=options, metadata_errors="replace")
    except av.error.ArgumentError:
        if kind := _other_format(path):
            raise NotAVideoError(f"the file is not a video, but {kind}") from None
        raise
    with opened as container:
        yield container, _chosen(container)


def refuse_single_picture(container: InputContainer, frames: int) -> None:
    """Refuse a picture in a format of moving pictures.

    Raises:
        NotAVideoError: The file holds a single frame of such a format.
    """
    if frames == 1 and container.format.name.removesuffix("_pipe") in _SHOWN_ONCE:
        raise NotAVideoError(f"the file is not a video, but a picture ({container.format.name})")


def _chosen(container: InputContainer) -> VideoStream:
    """Return the video stream of FFmpeg's choice: most pixels, and a default stream before others; not a cover."""
    from av.stream import Disposition

    brand = container.metadata.get("major_brand", "").strip()
    if brand in _STILL_BRANDS:
        raise NotAVideoError(f"the file is not a video, but a picture ({brand})")
    streams = container.streams.video
    if not streams:
        raise NotAVideoError("the file has no video stream")
    moving = [stream for stream in streams if not stream.disposition & Disposition.attached_pic]
    if not moving:
        raise NotAVideoError("the file has no video stream, but a cover picture")

    def points(stream: VideoStream) -> int:
        is_default = bool(stream.disposition & Disposition.default)
        return stream.width * stream.height + _DEFAULT_STREAM * is_default

    return max(moving, key=points)  # the first of equal streams, as FFmpeg takes it


@cache
def _video_formats() -> str:
    """The demuxers of FFmpeg that read single video files, separated by commas."""
    import av

    return ",".join(sorted(name for name in av.formats_available if not _kind(name)))


def _kind(demuxer: str) -> str:
    """The kind of file that a demuxer reads; empty for videos."""
    if demuxer.endswith("_pipe") or demuxer in _PICTURES:
        return f"a picture ({demuxer.removesuffix('_pipe')})"
    if demuxer in _SCRIPTS:
        return f"a playlist or script that names other files ({demuxer})"
    return f"text ({demuxer})" if demuxer in _TEXT_ART else ""


def _other_format(path: Path) -> str:
    """The kind of a file that no demuxer of videos reads, for messages; empty if the content is not recognised."""
    import av

    try:
        # Only the demuxers of pictures: they open no other file.
        pictures = ",".join(sorted(name for name in av.formats_available if _kind(name).startswith("a picture")))
        options = {"protocol_whitelist": "file", "format_whitelist": pictures}
        with av.open(ffmpeg_name(path), options=options, metadata_errors="replace") as container:
            return _kind(container.format.name)
    except (av.error.FFmpegError, OSError):
        return ""


def cut_off(path: Path) -> str:
    """Return how an AVI, Matroska or ASF file ends before the size that its header states; empty for whole files.

    decord reads the first frames of such a file and declares no more: its prediction would be one of another clip.

    Raises:
        OSError: The file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        stated = max(_segment_end(head), _asf_size(head))
        if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
            stated = _movi_end(file.fileno(), size)
    if stated <= size:
        return ""
    return f"the file is cut off: its header states {stated:,} bytes of frames, the file has {size:,}"


def _movi_end(descriptor: int, size: int) -> int:
    """Offset at which the frames of an AVI file end by its header; 0 if the header does not state it."""
    offset = 12
    while offset + 12 <= size:
        chunk = os.pread(descriptor, 12, offset)
        length = int.from_bytes(chunk[4:8], "little")
        if chunk[:4] == b"LIST" and chunk[8:12] == b"movi":
            # Writers to a pipe leave 0 or the largest number.
            return offset + 8 + length if length < 0xFFFFFFF0 else 0
        offset += 8 + length + length % 2
    return offset


def _asf_size(head: bytes) -> int:
    """Size that the header of an ASF file (.wmv, .asf) states; 0 if there is none."""
    start = head.find(_FILE_PROPERTIES)
    if not head.startswith(_ASF) or start < 0:
        return 0
    return int.from_bytes(head[start + 40 : start + 48], "little")


def _segment_end(head: bytes) -> int:
    """Offset at which the segment of a Matroska file ends by its header; 0 if there is none or its size is unknown."""
    start = head.find(b"\x18\x53\x80\x67")
    if not head.startswith(b"\x1a\x45\xdf\xa3") or start < 0:
        return 0
    first = head[start + 4] if start + 4 < len(head) else 0
    width = 9 - first.bit_length()
    number = int.from_bytes(head[start + 4 : start + 4 + width], "big") & ((1 << 7 * width) - 1)
    unknown = number == (1 << 7 * width) - 1
    return 0 if not first or unknown else start + 4 + width + number
