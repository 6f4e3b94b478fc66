"""Discordance, design effect and spread between fits of the pairs of rows in stored records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.base.errors import UserError
from results.generations import Dated, Row, generations
from results.power import ListSize, MeasuredPair
from results.predictions import read_predictions
from results.sides import Reader, Stored
from results.statistics.list_design import ListDesign, list_design
from results.statistics.pairs import compare_pair
from results.statistics.power import PowerCase, measured_case
from results.statistics.row_scores import RowScores, accuracy_row


@dataclass(frozen=True)
class _Answers:
    """The right answers of a row on a list.

    Args:
        name: Title of the method.
        indices: Indices of the repeats; empty for a single record of an untrained method.
        right: (R, N) right (1) and wrong (0) answers, with the videos in sorted order.
        labels: (N,) class ids.
        clusters: (N,) cluster names; a video without a cluster has a name of its own.
        videos: (N,) paths.
    """

    name: str
    indices: tuple[int, ...]
    right: NDArray[np.float64]
    labels: NDArray[np.int64]
    clusters: NDArray[np.str_]
    videos: NDArray[np.str_]


def stored_records(folder: Path) -> tuple[list[Stored], list[str]]:
    """The records below a folder, and messages on files that cannot be read."""
    reader = Reader()
    records = reader.stored([folder])
    return records, list(reader.damaged.values())


def measured_pairs(
    records: Iterable[Stored], sizes: Sequence[ListSize]
) -> tuple[dict[ListSize, tuple[MeasuredPair, ...]], list[str]]:
    """The pairs of rows that were measured on each list, and messages on predictions that cannot be read.

    Rows of one group are sorted by accuracy, and neighbours are paired: a new method is compared with methods of
    similar accuracy, and the discordance of a pair rises with its difference.

    Args:
        records: Records with their files.
        sizes: Evaluation lists of a plan.
    """
    rows = generations(item.dated for item in records).rows
    damaged: dict[str, None] = {}
    pairs = {size: tuple(_pairs_of_list(rows, size, damaged)) for size in sizes}
    return {size: of_size for size, of_size in pairs.items() if of_size}, list(damaged)


def _pairs_of_list(rows: Iterable[Row[Stored]], size: ListSize, damaged: dict[str, None]) -> Iterable[MeasuredPair]:
    groups: dict[tuple[str, str], list[_Answers]] = defaultdict(list)
    for row in rows:
        by_part: dict[str, list[Stored]] = defaultdict(list)
        for dated in row.records:
            if _is_of_list(dated, size):
                by_part[dated.measurement.protocol.part].append(dated.item)
        for part, items in by_part.items():
            try:
                groups[(row.keys.group, part)].append(_answers(items))
            except UserError as error:
                damaged[error.message] = None
    for members in groups.values():
        for a, b in pairwise(sorted(members, key=lambda answers: -float(answers.right.mean()))):
            if (pair := _measured(a, b)) is not None:
                yield pair


def _is_of_list(dated: Dated[Stored], size: ListSize) -> bool:
    m = dated.measurement
    listed = m.evaluation.list
    known = (m.protocol.name, listed.dataset, m.evaluation.evaluated) == (size.protocol, size.dataset, size.videos)
    return known and listed.name == size.list


def _answers(items: Sequence[Stored]) -> _Answers:
    """The answers of the records of one row and part on one list."""
    frames = [
        read_predictions(item.path.with_name(item.record.predictions.file)).sort_values("video") for item in items
    ]
    first, m = frames[0], items[0].record.measurement
    untrained = m.fitted is None and len(items) == 1
    indices = () if untrained else tuple(item.record.measurement.protocol.repeat.index for item in items)
    # With a prefix, because the path of a video could be the name of a cluster.
    clusters = first["cluster"].where(first["cluster"] != "", "video " + first["video"])
    return _Answers(
        items[0].record.method.title or m.method.name, indices, np.stack([_hits(frame) for frame in frames]),
        first["label"].to_numpy(), clusters.to_numpy(dtype=np.str_), first["video"].to_numpy(dtype=np.str_),
    )  # fmt: skip


def _hits(frame: pd.DataFrame) -> NDArray[np.float64]:
    hits: NDArray[np.float64] = (frame["id1"] == frame["label"]).to_numpy(dtype=np.float64)
    return hits


def _measured(a: _Answers, b: _Answers) -> MeasuredPair | None:
    """The variability of a pair; None if the rows have no common repeat, other videos, or no variance."""
    if not np.array_equal(a.videos, b.videos):
        return None
    common = sorted(set(a.indices) & set(b.indices)) if a.indices and b.indices else list(a.indices or b.indices)
    if a.indices and b.indices and not common:
        return None
    differences = _at(a, common) - _at(b, common)
    discordance = float(np.abs(differences).mean())
    # Rows with equal answers on every video have no variance that could be scaled to another number of videos.
    if not discordance:
        return None
    videos, repeats = len(a.labels), len(differences)
    agreement = _agreement(differences) if repeats > 1 else None
    design = list_design(a.labels, np.unique(a.clusters, return_inverse=True)[1])
    tested = compare_pair(*_rows(a, b, design))
    between = None if tested.again is None else tested.again.spread.between
    if not tested.scores.variance:
        return None
    planned = PowerCase(videos, discordance, repeats=repeats)
    planned = planned if agreement is None else replace(planned, agreement=agreement)
    case = measured_case(tested.scores.variance, between, planned)
    return MeasuredPair(a.name, b.name, discordance, agreement, case.design_effect, between)


def _at(answers: _Answers, indices: Sequence[int]) -> NDArray[np.float64]:
    """(R, N) answers of some repeats; of an untrained method, its only answers."""
    return answers.right[[answers.indices.index(index) for index in indices]] if answers.indices else answers.right


def _rows(a: _Answers, b: _Answers, design: ListDesign) -> tuple[RowScores, RowScores]:
    rows = [
        accuracy_row([design] * len(side.right), list(side.right), side.indices, fits=len(side.indices) > 1)
        for side in (a, b)
    ]
    return rows[0], rows[1]


def _agreement(differences: NDArray[np.float64]) -> float:
    """Correlation of the differences (R, N) between repeats, 0 to 1: psi_R = psi (1 + (R - 1) kappa) / R."""
    repeats = len(differences)
    psi = float((differences**2).mean())
    psi_mean = float((differences.mean(axis=0) ** 2).mean())
    return float(np.clip((psi_mean * repeats / psi - 1.0) / (repeats - 1), 0.0, 1.0))
