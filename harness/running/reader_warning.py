"""The comparison of the two readers before a list is read with decord: a seeded sample of its clips.

decord is the published reader, and stays the default for data with published numbers. On many files that users have it
returns other frames than those of the file: a run warns before it computes for hours.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from harness.cells.cell import EvalCell, FitCell
from harness.data.reader_check import DecodeCheck, differing, readers_text, sample
from harness.engine.video.batches import Draw
from harness.engine.video.decode import Undecodable
from harness.engine.video.decode_check import compare_readers
from harness.engine.video.guarded_loader import GuardedLoader
from harness.engine.video.loaders import in_batches, workers_of
from harness.engine.video.reader_verdicts import ReaderVerdicts
from harness.engine.video.video_bytes import MachineFaultError
from harness.machine.compute_options import ComputeOptions
from harness.machine.settings import Settings


def reader_warning(cell: FitCell | EvalCell, settings: Settings, compute: ComputeOptions) -> str:
    """Compare a sample of the clips of a cell; return a warning if the readers differ, else an empty text.

    Args:
        cell: A fit or eval, whose videos exist.
        settings: Outcomes are kept in the cache folder.
        compute: Number of workers and time limit of a clip.
    """
    if cell.views.reader != "decord":
        return ""
    videos = cell.train if isinstance(cell, FitCell) else cell.test
    located = ((path, cell.dataset.locate(path)) for path in sample(videos.paths))
    files = {path: file for path, file in located if file is not None}
    checks = _compare(files, ReaderVerdicts(settings.cache.path), compute)
    if not differing(checks):
        return ""
    return readers_text(checks, f"{cell.dataset.shown} {videos.name}", cell.dataset.kind == "custom", sampled=True)


class _Comparisons:
    """Comparisons by draw, for the guarded processes of the loader."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __getitem__(self, draw: Draw) -> DecodeCheck:
        return compare_readers(self.files[draw.index])

    def video(self, draw: Draw) -> Path | None:
        """Return the file of a draw."""
        return self.files[draw.index]


def _compare(files: Mapping[str, Path], verdicts: ReaderVerdicts, compute: ComputeOptions) -> dict[str, DecodeCheck]:
    """The comparisons of files by list path; those that cannot be compared are named when they are decoded."""
    checks: dict[str, DecodeCheck] = {}
    with contextlib.suppress(OSError):  # of a file that vanished, which the cell itself reports
        checks = {path: known for path, file in files.items() if (known := verdicts.known(file)) is not None}
    unknown = [path for path in files if path not in checks]
    draws = [[Draw(row) for row in batch] for batch in in_batches(len(unknown), 1)]

    def first(_: list[Draw], clips: list[DecodeCheck | Undecodable]) -> DecodeCheck | Undecodable:
        return clips[0]

    workers = min(workers_of(compute), len(unknown))
    loader = GuardedLoader(
        _Comparisons([files[path] for path in unknown]), draws, first, workers, compute.decode_seconds
    )
    with contextlib.suppress(MachineFaultError):
        for path, check in zip(unknown, loader, strict=True):
            if isinstance(check, DecodeCheck):
                checks[path] = check
                verdicts.keep(files[path], check)
    return checks
