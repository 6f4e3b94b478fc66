"""File extensions of videos."""

from __future__ import annotations

VIDEO_EXTENSIONS = frozenset(
    {"3gp", "asf", "avi", "flv", "gif", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "ogv", "ts"}
    | {"webm", "wmv"}
)


def is_video(name: str) -> bool:
    """Return whether a file name has the extension of a video."""
    return name.rpartition(".")[2].lower() in VIDEO_EXTENSIONS
