"""Folders of extracted frames as clips: `img_00001.jpg`, `img_00002.jpg`, ..., with any prefix and any first number.

Frames are in the order of their numbers. A folder of every n-th frame of a video is regular too; a folder in which a
number is missing is damaged.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

FRAME_EXTENSIONS = frozenset({"bmp", "jpeg", "jpg", "png", "webp"})
_NUMBERED = re.compile(r"(.*?)(\d+)\.([A-Za-z]+)", re.DOTALL)
_FLOW = ("flow_x", "flow_y", "flow_u", "flow_v")
"""Beginnings of the names of optical flow, which lies beside the frames in folders that mmaction2 extracts."""

Pattern = tuple[str, str]  # prefix and extension


class FrameFolderError(ValueError):
    """The images of a folder are not the frames of one clip."""


def has_frames(names: Iterable[str]) -> bool:
    """Return whether a folder with these files is one of frames: at least one image whose name ends in a number."""
    return any(_parts(name) is not None for name in names)


def is_frame_folder(path: Path) -> bool:
    """Return whether a path is a folder of frames, without sub-folders."""
    if not path.is_dir():
        return False
    with os.scandir(path) as entries:  # tells files and folders apart without asking a file server for each of them
        children = [entry for entry in entries if not entry.name.startswith(".")]
    return has_frames(child.name for child in children) and not any(child.is_dir() for child in children)


def frame_files(folder: Path) -> tuple[Path, ...]:
    """Return the frames of a folder in the order of their numbers.

    Raises:
        FrameFolderError: There is no frame, several name patterns, a number twice, or a number is missing.
        OSError: The folder cannot be read.
    """
    groups: dict[Pattern, list[tuple[int, str]]] = defaultdict(list)
    for child in folder.iterdir():
        if (parts := _parts(child.name)) is not None:
            prefix, number, extension = parts
            groups[prefix, extension].append((number, child.name))
    if not groups:
        raise FrameFolderError("the folder holds no frames, expected images such as img_00001.jpg")
    if len(groups) > 1:
        patterns = ", ".join(f"{prefix}N.{extension}" for prefix, extension in sorted(groups)[:3])
        raise FrameFolderError(f"the folder holds frames of {len(groups)} patterns ({patterns}), expected one")
    frames = sorted(next(iter(groups.values())))
    _require_regular(frames)
    return tuple(folder / name for _, name in frames)


def _require_regular(frames: list[tuple[int, str]]) -> None:
    """Refuse a number that occurs twice, and steps of different sizes: a frame between them is missing."""
    pairs = list(pairwise(frames))
    regular = min((later[0] - earlier[0] for earlier, later in pairs), default=1)
    for (first, earlier), (second, later) in pairs:
        if first == second:
            raise FrameFolderError(f"the frames {earlier} and {later} have the same number")
        if regular and second - first != regular:
            raise FrameFolderError(f"frames are missing between {earlier} and {later}")


def _parts(name: str) -> tuple[str, int, str] | None:
    """Prefix, number and extension of a frame's name; None for other files and for optical flow."""
    match = _NUMBERED.fullmatch(name)
    if match is None or match[3].lower() not in FRAME_EXTENSIONS:
        return None
    if match[1].startswith((".", *_FLOW)):
        return None
    return match[1], int(match[2]), match[3].lower()


def clip_files(clip: Path) -> tuple[Path, ...]:
    """Return the files of a clip: a video, or all frames of a frame folder.

    Raises:
        OSError: The folder cannot be read.
    """
    if not clip.is_dir():
        return (clip,)
    return tuple(sorted(child for child in clip.iterdir() if _parts(child.name) is not None))


def clip_state(clip: Path) -> tuple[int, int]:
    """Return the size of a clip's files in bytes, and the time of their last change in ns.

    Raises:
        OSError: The clip does not exist or cannot be read.
    """
    states = [file.stat() for file in clip_files(clip)]
    if not clip.is_dir():
        return states[0].st_size, states[0].st_mtime_ns
    # A frame that was removed changes the time of the folder only.
    changed = max([clip.stat().st_mtime_ns, *(state.st_mtime_ns for state in states)])
    return sum(state.st_size for state in states), changed
