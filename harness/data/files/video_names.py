"""File extensions of videos, and folders that hold no data."""

from __future__ import annotations

VIDEO_EXTENSIONS = frozenset(
    {"3gp", "asf", "avi", "flv", "gif", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "ogv", "ts"}
    | {"webm", "wmv"}
)


def is_video(name: str) -> bool:
    """Return whether a file name has the extension of a video."""
    return name.rpartition(".")[2].lower() in VIDEO_EXTENSIONS


SYSTEM_FOLDERS = frozenset(
    {"@eadir", "#recycle", "#snapshot", "@recycle", "@tmp", "__macosx", "$recycle.bin", "system volume information"}
    | {"lost+found", "__pycache__", "recycler"}
)
"""Folders that file servers, archives and operating systems make, in lower case."""


def is_skipped(name: str) -> bool:
    """Return whether a folder or file is hidden, or made by a file server, an archive or an operating system."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS
