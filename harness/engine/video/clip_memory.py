"""Decoded clips that are kept in memory between the epochs, fits and evals of a run.

The evals of a protocol read the same videos again: each fit is evaluated on the same list, and a joint list holds the
videos of two other lists. Their decoded clips do not depend on the method. A fit without augmentation reads the same
clips in each epoch, and the training lists of several repeats share videos.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.data.files.frame_folder import clip_state
from harness.engine.video.batches import Draw
from harness.engine.video.transforms import PackedClip
from harness.spec import Views

KEPT_BYTES = 1 << 28
"""Limit of the clips in memory. Clips beyond it are not kept, because lists are read in order, older clips first."""


@dataclass(frozen=True)
class Pipeline:
    """Everything but the file on which a decoded clip depends.

    Args:
        views: The views.
        size: Side of the square input in pixels.
        transform: Name of a view transform; empty for none.
        seed: Seed of views that are drawn at random, which differ between rows; None for other views.
    """

    views: Views
    size: int
    transform: str
    seed: int | None


Key = tuple[Pipeline, Path, int, int, int]


class ClipMemory:
    """Clips by pipeline, file and state of the file.

    Args:
        limit: Largest number of bytes of all clips.
    """

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._clips: dict[Key, PackedClip] = {}
        self._room = limit

    def get(self, key: Key) -> PackedClip | None:
        """The clip of a key; None if it is not kept."""
        return self._clips.get(key)

    def put(self, key: Key, clip: PackedClip) -> None:
        """Keep a clip if there is room."""
        size = clip["frames"].nbytes
        if key not in self._clips and size <= self._room:
            self._clips[key], self._room = clip, self._room - size


@dataclass(frozen=True)
class KeptClips:
    """The kept clips of one list.

    Args:
        memory: The clips of all lists.
        pipeline: The pipeline of the list.
        video: Returns the file of a draw; None if its clip is not read from a file.
    """

    memory: ClipMemory
    pipeline: Pipeline
    video: Callable[[Draw], Path | None]

    def get(self, draw: Draw) -> PackedClip | None:
        """The clip of a draw; None if it has to be decoded, as after a change of its file."""
        key = self._key(draw)
        return None if key is None else self.memory.get(key)

    def put(self, draw: Draw, clip: PackedClip) -> None:
        """Keep a decoded clip if there is room."""
        key = self._key(draw)
        if key is not None:
            self.memory.put(key, clip)

    def _key(self, draw: Draw) -> Key | None:
        file = self.video(draw)
        if file is None:
            return None
        try:
            size, changed = clip_state(file)
        except OSError:  # the decoder names the reason
            return None
        return self.pipeline, file, size, changed, -1 if self.pipeline.seed is None else draw.index
