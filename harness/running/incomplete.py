"""The videos that the results of a request lack: undecodable, replaced in training, or missing. Without torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.base.errors import UserError
from harness.cells.cell import Cells, FitCell
from harness.data.lists.dataset import Dataset
from harness.spec import VideoList
from results.fit_file import read_fit_file
from results.record import read_record

NAMED = 3
"""Number of videos that are named of each kind."""


@dataclass(frozen=True)
class IncompleteVideos:
    """Videos by kind, each once: `DATASET/PATH`.

    Args:
        undecodable: Evaluation videos whose bytes do not decode; they count as wrong.
        replaced: Training clips that do not decode; another clip of their class was used instead.
        missing: Videos of training or evaluation lists that were not found; they do not count.
    """

    undecodable: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def text(self) -> str:
        """One line with counts, first names and a command for the causes; empty if no video is lacking."""
        kinds = (
            ("evaluation videos undecodable, counted as wrong", self.undecodable),
            ("training clips undecodable, replaced", self.replaced),
            ("videos missing", self.missing),
        )
        parts = [f"{kind}: {len(videos)} ({_first(videos)})" for kind, videos in kinds if videos]
        if self.undecodable or self.replaced:
            parts.append("`python -m harness check data DATASET --decode` names the cause of each")
        return f"incomplete: {'; '.join(parts)}" if parts else ""


def _first(videos: Sequence[str]) -> str:
    return ", ".join(videos[:NAMED]) + (", ..." if len(videos) > NAMED else "")


def incomplete_videos(cells: Cells) -> IncompleteVideos:
    """The videos that the finished cells of a request lack, also of cells that an earlier run computed.

    Args:
        cells: The cells of the request; cells without a record or a fit file are left out.
    """
    undecodable: dict[str, None] = {}
    missing: dict[str, None] = {}
    replaced: dict[str, None] = {}
    for cell in cells.evals:
        if not cell.record.is_file():
            continue
        try:
            record = read_record(cell.record)
        except UserError:  # a damaged record is reported where the scores are printed
            continue
        undecodable |= dict.fromkeys(f"{cell.dataset.shown}/{item.video}" for item in record.undecodable)
        if record.measurement.evaluation.evaluated < len(cell.test):
            missing |= dict.fromkeys(_missing(cell.dataset, cell.test))
    for fit in _fits(cells):
        try:
            content = read_fit_file(fit.folder)
        except UserError:
            continue
        if content is None:
            continue
        paths = fit.train.paths
        if content.described.training.used < len(paths):
            missing |= dict.fromkeys(_missing(fit.dataset, fit.train))
            # Rows of `replaced` count the videos that were found.
            paths = tuple(path for path in paths if fit.dataset.locate(path) is not None)
        rows = [row for row in content.outcome.replaced if row < len(paths)]
        replaced |= dict.fromkeys(f"{fit.dataset.shown}/{paths[row]}" for row in rows)
    return IncompleteVideos(tuple(undecodable), tuple(replaced), tuple(missing))


def _fits(cells: Cells) -> Iterator[FitCell]:
    """The fits of a request with their parents, each once."""
    todo = list(cells.fits)
    seen: set[str] = set()
    while todo:
        fit = todo.pop(0)
        if fit.key not in seen:
            seen.add(fit.key)
            yield fit
            todo += [fit.parent] if fit.parent is not None else []


def _missing(dataset: Dataset, video_list: VideoList) -> Iterator[str]:
    return (f"{dataset.shown}/{path}" for path in video_list.paths if dataset.locate(path) is None)
