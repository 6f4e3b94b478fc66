"""Comparisons of the two readers, kept by the content of the videos. Without torch, for `check data`."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import msgspec

from harness.base.atomic import write_json
from harness.base.canonical import fingerprint
from harness.data.files.fingerprints import file_fingerprint
from harness.data.reader_check import DecodeCheck
from harness.engine.video.decode_check import FRAMES

SCHEMA = 1
PACKAGES = ("decord", "av")
"""Packages whose version can change the outcome of a comparison."""


class ReaderVerdicts:
    """Known comparisons, one file in the cache for each content of a video.

    Args:
        cache: The cache folder.
    """

    def __init__(self, cache: Path) -> None:
        self._folder = cache / "readers"
        self._versions = [importlib.metadata.version(name) for name in PACKAGES]

    def known(self, video: Path) -> DecodeCheck | None:
        """Return the comparison of a video of this content; None if there is none."""
        try:
            return msgspec.json.decode(self._file(video).read_bytes(), type=DecodeCheck)
        except (OSError, ValueError):
            return None

    def keep(self, video: Path, check: DecodeCheck) -> None:
        """Keep the comparison of a video, unless it could not be compared."""
        # A cache that cannot be written costs the next run a second; it must not end this one.
        with contextlib.suppress(OSError):
            if not check.problem:
                write_json(self._file(video), asdict(check))

    def checked(self, compare: Callable[[Path], DecodeCheck]) -> Callable[[Path], DecodeCheck]:
        """Return a comparison that compares only unknown videos."""

        def check(video: Path) -> DecodeCheck:
            known = self.known(video)
            if known is None:
                known = compare(video)
                self.keep(video, known)
            return known

        return check

    def _file(self, video: Path) -> Path:
        name = fingerprint([SCHEMA, FRAMES, self._versions, file_fingerprint(video)], 32)
        return self._folder / name[:2] / f"{name}.json"
