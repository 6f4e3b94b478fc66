"""Predictions of the rows of a group as scores by column, from which intervals and tests are computed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.base.errors import UserError
from harness.spec import Column
from reports.class_scores import ClassScores, RowClasses
from reports.entries import Entry
from reports.row import Cell, RepeatScore, Row
from results.list_videos import VideoIds
from results.outcomes import Outcome, read_outcome
from results.row_samples import Design, RowSample, Scored, harmonic_sample, interval_of_repeat, row_sample
from results.row_statistics import cell_statistics

ONE_SOURCE = "one source only"
UNDEFINED = "0, undefined"
BATCH = 256
"""Number of records whose scores are computed together, which bounds the memory."""


class GroupSamples:
    """The samples of the rows of one group, by row key and column.

    Args:
        rows: Rows of one group, which are measured on one dataset.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.reasons: dict[str, str] = {}
        self.classes: dict[str, RowClasses] = {}
        self._outcomes = self._read(rows)
        self._described = self._describing(rows)
        self._ids = VideoIds()
        self._designs: dict[tuple[str, bool], Design] = {}
        self._samples: dict[tuple[str, str], RowSample] = {}
        self._prepare([entry for row in rows for entry in row.entries if entry.path in self._outcomes])
        self.rows = [self._with_statistics(row) for row in rows]
        for design in self._designs.values():
            design.forget()

    def _describing(self, rows: Sequence[Row]) -> dict[str, Outcome]:
        """For each list, an outcome that describes its videos; of all other outcomes the bytes of the file are dropped.

        Records of one list may come from versions that did not know the sources: one record that does is enough.
        """
        described: dict[str, Outcome] = {}
        entries = [entry for row in rows for entry in row.entries if entry.path in self._outcomes]
        for entry in entries:
            key, outcome = _list_key(entry), self._outcomes[entry.path]
            if key not in described or (outcome.clustered and not described[key].clustered):
                described[key] = outcome
        for entry in entries:
            self._outcomes[entry.path] = replace(self._outcomes[entry.path], data=b"")
        return described

    def _prepare(self, entries: Sequence[Entry]) -> None:
        """Compute the top-1 scores of all records of a list at once."""
        by_list: dict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            by_list[_list_key(entry)].append(entry)
        for members in by_list.values():
            design = self._design(members[0], False)
            for start in range(0, len(members), BATCH):
                design.prepare([self._outcomes[entry.path].hits for entry in members[start : start + BATCH]])

    def of(self, row: Row, column: str) -> RowSample | None:
        """The sample of a cell; None if its predictions cannot be read or its harmonic mean is undefined."""
        return self._samples.get((row.key, column))

    def _read(self, rows: Sequence[Row]) -> dict[Path, Outcome]:
        """All outcomes of the rows' records; a row with unreadable predictions gets a reason instead."""
        todo = [
            (row.key, entry, any(rule.metric == "top5" for rule in row.rules)) for row in rows for entry in row.entries
        ]

        def read(keyed: Sequence[tuple[str, Entry, bool]]) -> list[tuple[Path, str, Outcome | str]]:
            results: list[tuple[Path, str, Outcome | str]] = []
            for key, entry, top5 in keyed:
                sha, n = entry.record.predictions.sha256, entry.measurement.evaluation.evaluated
                try:
                    results.append((entry.path, key, read_outcome(entry.predictions, sha, n, top5)))
                except UserError as error:
                    results.append((entry.path, key, entry.without_paths(error.message)))
            return results

        outcomes: dict[Path, Outcome] = {}
        # Records of one list share its labels, which take more memory than the right answers of a record.
        labels: dict[bytes, NDArray[np.int64]] = {}
        # Threads overlap the waiting time of a slow disk; batches of 64 keep the overhead of the pool small. With more
        # than two threads, waiting for the interpreter's lock takes more processor time than reading a file.
        with ThreadPoolExecutor(2) as pool:
            for results in pool.map(read, [todo[i : i + 64] for i in range(0, len(todo), 64)]):
                for path, key, outcome in results:
                    if isinstance(outcome, str):
                        self.reasons.setdefault(key, outcome)
                    else:
                        shared = labels.setdefault(outcome.labels.tobytes(), outcome.labels)
                        outcomes[path] = replace(outcome, labels=shared)
        return outcomes

    def _with_statistics(self, row: Row) -> Row:
        """The row with the statistics of its cells, as far as its predictions can be read."""
        if row.key in self.reasons:
            reason = self.reasons[row.key]
            return replace(row, cells={name: replace(cell, no_interval=reason) for name, cell in row.cells.items()})
        cells = {name: self._cell(row, row.rule(name), cell) for name, cell in row.cells.items()}
        # Ranks need neither scores of single videos nor outcomes; of UCF-101's lists both take 0.2 MB for each record.
        for name in row.cells:
            if (row.key, name) in self._samples:
                self._samples[row.key, name] = replace(self._samples[row.key, name], plain=None)
        self._count_classes(row)
        for entry in row.entries:
            self._outcomes.pop(entry.path, None)
        return replace(row, cells=cells)

    def _count_classes(self, row: Row) -> None:
        """Keep the right answers by class of the first repeat of the first top-1 column."""
        for name, cell in row.cells.items():
            if cell.repeats and row.rule(name).metric == "top1":
                entry = cell.repeats[0].entry
                outcome = self._outcomes[entry.path]
                scores = ClassScores.of(entry.record.classes, outcome.labels, outcome.hits)
                self.classes[row.key] = RowClasses(name, scores)
                return

    def _cell(self, row: Row, rule: Column, cell: Cell) -> Cell:
        if rule.harmonic_of is not None:
            first, second = (self._samples.get((row.key, part)) for part in rule.harmonic_of)
            sample = harmonic_sample(first, second) if first and second else None
            if sample is None:
                return replace(cell, no_interval=UNDEFINED)
        else:
            scored = [self._scored(score, rule.metric) for score in cell.repeats]
            sample = row_sample(scored)
            # A cell with one record has the interval of the record.
            if len(scored) > 1:
                repeats = [
                    replace(score, interval=interval_of_repeat(sample, position, scored_repeat.design))
                    for position, (score, scored_repeat) in enumerate(zip(cell.repeats, scored, strict=True))
                ]
                cell = replace(cell, repeats=tuple(repeats))
        self._samples[row.key, rule.name] = sample
        statistics = cell_statistics(sample)
        if len(cell.repeats) == 1 and statistics is not None:
            cell = replace(cell, repeats=(replace(cell.repeats[0], interval=statistics.other),))
        return replace(cell, statistics=statistics, no_interval="" if statistics else ONE_SOURCE)

    def _scored(self, score: RepeatScore, metric: str) -> Scored:
        outcome = self._outcomes[score.entry.path]
        right = outcome.top5 if metric == "top5" else outcome.hits
        assert right is not None  # `_read` reads the five ids of all rows with a top-5 column
        fit = score.entry.measurement.keys.fit
        return Scored(score.index, fit, self._design(score.entry, metric == "mean_class"), right)

    def _design(self, entry: Entry, mean_class: bool) -> Design:
        """The design of an evaluation list; records of the whole list share it."""
        key = _list_key(entry)
        if (key, mean_class) not in self._designs:
            self._designs[key, mean_class] = Design(
                self._ids.of(self._described[key], entry.record.classes), mean_class
            )
        return self._designs[key, mean_class]


def _list_key(entry: Entry) -> str:
    """The evaluation list of a record; the record itself if it lacks videos of the list."""
    evaluation = entry.measurement.evaluation
    return evaluation.list.sha256 if evaluation.evaluated == evaluation.list.n else str(entry.path)
