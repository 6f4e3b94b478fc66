"""State shared by all cells of one run; the claim and the existing videos of a cell."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.base.errors import UserError
from harness.cells.cell import EvalCell, FitCell
from harness.cells.fit_state import CellState, TensorsOf
from harness.engine.compute.device import Device
from harness.engine.compute.processes import SINGLE_PROCESS, Processes
from harness.engine.evaluate import Scores
from harness.engine.features.cache import FeatureCache
from harness.engine.video.clip_memory import ClipMemory
from harness.engine.video.loaders import Row, locate_rows
from harness.machine.compute_options import ComputeOptions
from harness.machine.progress import Progress
from harness.machine.settings import Settings
from harness.running.cell_files import lock_of
from harness.spec import VideoList


@dataclass
class Session:
    """State shared by all cells of one run.

    Args:
        settings: Folders of this machine.
        compute: Precision, workers, batch sizes.
        device: The device of this process.
        progress: Progress bars.
        processes: The processes that compute each cell together.
        tensors_of: Known hashes of the tensors of models, see `harness.cells.plan`.
        compared: Lists whose readers were compared.
        scores: Scores by number key, so that untrained evals of several protocols are computed once.
        clips: Decoded clips, so that the epochs and fits of a recipe without augmentation, and the evals of several
            fits, decode them once.
    """

    settings: Settings
    compute: ComputeOptions
    device: Device
    progress: Progress
    processes: Processes = SINGLE_PROCESS
    tensors_of: TensorsOf = lambda model: ""
    compared: set[str] = field(default_factory=set)
    scores: dict[str, Scores] = field(default_factory=dict)
    clips: ClipMemory = field(default_factory=ClipMemory)

    @property
    def features(self) -> FeatureCache | None:
        """The cache of frame features; None if it is switched off."""
        return FeatureCache(self.settings.cache.path / "features") if self.compute.feature_cache else None


@contextlib.contextmanager
def claimed(session: Session, cell: FitCell | EvalCell, state: Callable[[], CellState]) -> Iterator[bool]:
    """Hold the lock of a cell for all processes; yields True if the cell has to be computed."""
    processes, done = session.processes, False
    with contextlib.ExitStack() as held:
        with processes.together():
            # One lock per run and not per process: the other processes wait in `share` below.
            if processes.is_leader:
                held.enter_context(lock_of(session.settings, cell))
                done = state().state == "done"  # read under the lock: another run may have finished the cell
        yield not processes.share(done)


def present_rows(
    video_list: VideoList, locate: Callable[[str], Path | None], name: str, compute: ComputeOptions
) -> list[Row]:
    """The rows of a list whose videos exist.

    Args:
        video_list: The list.
        locate: Returns the file of a video path, None if it does not exist.
        name: Name of the cell, for messages.
        compute: Holds `allow_missing`.

    Raises:
        UserError: No video exists, or videos are missing and `allow_missing` is off.
    """
    rows = locate_rows(video_list, locate)
    missing = [path for (path, _), (file, _) in zip(video_list.rows, rows, strict=True) if file is None]
    if len(missing) == len(rows):
        raise UserError(
            f"{name}: none of the {len(rows)} videos of the list {video_list.name!r} was found (first: {missing[0]}).",
            "Give the folder of the videos with --data NAME=DIR, or in harness.toml under [data].",
        )
    if missing and not compute.allow_missing:
        raise UserError(
            f"{name}: {len(missing)} of {len(rows)} videos of the list {video_list.name!r} were not found "
            f"(first: {', '.join(missing[:3])}).",
            "Complete the dataset, or pass --allow-missing: the row is then marked incomplete and not ranked.",
        )
    return [row for row in rows if row[0] is not None]
