"""Scores of rows in their columns, from records and their outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from results.list_videos import ListVideos, list_weights
from results.statistics.intervals import Interval, cell_interval
from results.statistics.list_design import MERGED, ListDesign, list_design
from results.statistics.row_scores import RowScores, harmonic_row, row_on
from results.statistics.scores import RepeatLists, Scores, repeat_lists


@dataclass(frozen=True)
class BatchDesign(ListDesign):
    """A list whose scores were computed for many sets of answers at once, which takes a fraction of the time.

    Args:
        summed: Whether sums are prepared.
        known: Accuracy, (G,) scores and (G,) sums by the bytes of the answers.
    """

    summed: bool = True

    known: dict[bytes, tuple[float, NDArray[np.float64], NDArray[np.int64]]] = field(default_factory=dict)

    def prepare(self, answers: NDArray[np.bool_]) -> None:
        """Compute the scores of K sets of answers (K, N)."""
        # Tests of pairs need sums of clusters, and no sums of single videos.
        sums = super().sums(answers) if self.summed else np.zeros((len(answers), 0), dtype=np.int64)
        values = zip(super().accuracies(answers), super().scores(answers), sums, strict=True)
        self.known.update(zip((row.tobytes() for row in answers), values, strict=True))

    def accuracies(self, right: ArrayLike) -> NDArray[np.float64]:
        """(K,) accuracies, see `ListDesign`."""
        found = self._found(right)
        return super().accuracies(right) if found is None else np.array([found[0]])

    def scores(self, right: ArrayLike) -> NDArray[np.float64]:
        """(K, G) cluster scores, see `ListDesign`."""
        found = self._found(right)
        return super().scores(right) if found is None else found[1][None, :]

    def sums(self, right: ArrayLike) -> NDArray[np.int64]:
        """(K, G) right answers of each cluster, see `ListDesign`."""
        found = self._found(right) if self.summed else None
        return super().sums(right) if found is None else found[2][None, :]

    def _found(self, right: ArrayLike) -> tuple[float, NDArray[np.float64], NDArray[np.int64]] | None:
        answers = np.asarray(right)
        return self.known.get(answers.tobytes()) if len(answers) == 1 and answers.dtype == np.bool_ else None


class Design:
    """An evaluation list, with its known clusters and with every video as its own cluster.

    Args:
        videos: Classes and clusters of the videos.
        mean_class: Weight the videos for the mean-class accuracy.
    """

    def __init__(self, videos: ListVideos, mean_class: bool = False) -> None:
        self.known = videos.known
        self.prepared: dict[tuple[int, ...], RowLists] = {}
        self.clustered = _batch_design(videos, videos.clusters, mean_class)
        self.plain = self.clustered
        if videos.known:
            self.plain = replace(_batch_design(videos, videos.videos, mean_class), summed=False)

    def prepare(self, answers: Sequence[NDArray[np.bool_]]) -> None:
        """Compute the scores of several sets of answers (N,) at once."""
        for design in {id(design): design for design in (self.clustered, self.plain)}.values():
            design.prepare(np.stack(answers))

    def forget(self) -> None:
        """Drop the prepared scores, which take 16 bytes for each set of answers and cluster."""
        self.clustered.known.clear()
        self.plain.known.clear()


@dataclass(frozen=True)
class RowLists:
    """The lists of the repeats of a row.

    Args:
        clustered: With the known clusters.
        plain: With every video as its own cluster.
        weights: Weights of the lists in the sign-flip test.
        known: Whether the sources of the videos of all lists are known.
    """

    clustered: RepeatLists
    plain: RepeatLists
    weights: list[int]
    known: bool


def _batch_design(videos: ListVideos, clusters: NDArray[np.int64], mean_class: bool) -> BatchDesign:
    """The design of a list, whose strata have ids that all lists of the dataset share."""
    design = list_design(videos.classes, clusters, mean_class)
    strata = design.strata
    if videos.class_ids is not None:
        # The design itself has the ids of the list, since its rule for ties must not depend on other lists.
        ids = [MERGED if stratum == MERGED else videos.class_ids[stratum] for stratum in strata.tolist()]
        strata = np.array(ids, dtype=np.int64)
    return BatchDesign(**{**vars(design), "strata": strata})


@dataclass(frozen=True)
class Scored:
    """One record of a row in a column.

    Args:
        index: Index of the repeat.
        fit: Key of the fit; empty for an untrained method.
        design: The evaluation list.
        right: (N,) whether each video is right.
    """

    index: int
    fit: str
    design: Design
    right: NDArray[np.bool_]


@dataclass(frozen=True)
class RowSample:
    """A row in one column.

    Args:
        row: Its scores with the known clusters.
        plain: Its scores with every video as its own cluster; None once the statistics of the cell are computed.
        fits: Number of fits; 0 for an untrained method.
        known: Whether the sources of all videos are known.
    """

    row: RowScores
    plain: Scores | None
    fits: int
    known: bool


def row_sample(scored: Sequence[Scored]) -> RowSample:
    """The sample of a row from its records, sorted by the index of their repeats."""
    fits = {record.fit for record in scored if record.fit}
    lists = lists_of([record.design for record in scored])
    right = [record.right for record in scored]
    indices = [record.index for record in scored] if len(scored) > 1 else []
    # Repeats of one fit on several lists show no spread between fits.
    row = row_on(lists.clustered, right, indices, len(fits) == len(scored) > 1, lists.weights)
    plain = lists.plain.of(right) if lists.known else row.scores
    return RowSample(row, plain, len(fits), lists.known)


def lists_of(designs: Sequence[Design]) -> RowLists:
    """The lists of the repeats of a row, prepared once for all rows with these lists."""
    prepared = designs[0].prepared
    # The prepared lists hold the designs of this key, whose ids therefore stay theirs.
    key = tuple(id(design.clustered) for design in designs)
    if key not in prepared:
        clustered = repeat_lists([design.clustered for design in designs])
        known = all(design.known for design in designs)
        prepared[key] = RowLists(
            clustered, repeat_lists([design.plain for design in designs]) if known else clustered,
            list_weights([design.clustered.videos for design in designs]), known,
        )  # fmt: skip
    return prepared[key]


def interval_of_repeat(sample: RowSample, position: int, design: Design) -> Interval | None:
    """The interval "other videos" of one repeat of an accuracy, on the list of this repeat alone.

    Args:
        sample: The row in a column of an accuracy.
        position: Position of the repeat.
        design: Its list.
    """
    scores, alone = sample.row.scores, lists_of([design]).clustered
    of_list = scores.by_repeat[[position]]
    if len(alone.clusters) < len(scores.clusters):
        # The scores of a row have a column for each cluster of all its lists.
        of_list = of_list[:, np.searchsorted(scores.clusters, alone.clusters)]
    return cell_interval(alone.scores(scores.values[[position]], of_list))


def harmonic_sample(base: RowSample, novel: RowSample) -> RowSample | None:
    """The sample of a harmonic mean of two columns; None where it is undefined."""
    row = harmonic_row(base.row, novel.row)
    if base.plain is None or novel.plain is None:
        plain = None
    else:
        plain = harmonic_row(_plain(base, base.plain), _plain(novel, novel.plain))
    if row is None or plain is None:
        return None
    return RowSample(row, plain.scores, min(base.fits, novel.fits), base.known and novel.known)


def _plain(sample: RowSample, plain: Scores) -> RowScores:
    """The scores with every video as its own cluster, without the sums that tests of pairs need."""
    sums = np.zeros((plain.repeats, 1, len(plain.clusters)), dtype=np.int64)
    return RowScores(plain, sums, sample.row.indices, sample.row.fits)
