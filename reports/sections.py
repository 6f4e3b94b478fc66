"""Sections of the board other than its tables: methods, datasets, figures, comparisons."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from harness.base.errors import UserError
from harness.spec import Recipe
from reports.anchors import slug
from reports.board_rows import BoardRow, Group
from reports.columns import primary_column, shots_of
from reports.entries import Damaged, Entry
from reports.figures.classes import class_changes, confusion
from reports.figures.few_shot import few_shot_curves
from reports.figures.scatter import COSTS, accuracy_cost, base_novel
from reports.figures.separable import separable_rows
from reports.figures.svg import WIDTH, Figure
from reports.labels import labels_of
from reports.layout import column_title, dataset_title, protocol_title
from reports.row import Cell, Row, harmonic_columns
from results.compare import PartComparison, compare_files
from results.measurement_words import plain
from results.predictions import read_predictions
from results.row_statistics import PairStatistics

MOST_COMPARISONS = 4


@dataclass(frozen=True)
class MethodSection:
    """A method's card, recipes and rows.

    Args:
        anchor: Id of the section.
        row: The newest row, whose card is shown.
        recipes: (protocols, recipe as text), each recipe once.
        rows: (row, second label).
    """

    anchor: str
    row: Row
    recipes: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Row, str], ...]


@dataclass(frozen=True)
class Overlap:
    """Overlap of an evaluation list with a training list: number of classes by relation, and shared videos."""

    train: str
    same_classes: bool
    relations: tuple[str, ...]
    source: str
    videos: int


@dataclass(frozen=True)
class ListFacts:
    """An evaluation list as the records describe it."""

    name: str
    origin: str
    variant: str
    videos: int
    classes: int
    list_sha256: str
    labels_sha256: str
    undecodable: int
    seen: tuple[str, ...]
    overlaps: tuple[Overlap, ...] = ()


@dataclass(frozen=True)
class DatasetSection:
    """A dataset's lists with counts, hashes and overlap."""

    anchor: str
    title: str
    name: str
    embedded: bool
    lists: tuple[ListFacts, ...]


@dataclass(frozen=True)
class ComparisonSection:
    """The two best rows of a group, compared on the same videos.

    Args:
        anchor: Id of the section.
        title: Protocol, dataset and measurement.
        a, b: Names of the rows.
        parts: The comparison of each part, in the order of the columns.
        figure: Changes of the accuracy of classes in the first part.
        names: Display names of the parts.
        means: (display name, test) of each harmonic mean, with Holm's correction over all pairs of the table.
        confusion: Confusion of classes of the first row.
    """

    anchor: str
    title: str
    a: str
    b: str
    parts: tuple[PartComparison, ...]
    figure: Figure
    names: tuple[str, ...]
    means: tuple[tuple[str, PairStatistics], ...] = ()
    confusion: Figure | None = None


def method_sections(rows: Sequence[Row]) -> list[MethodSection]:
    """One section for each method name, in alphabetical order."""
    by_name: dict[str, list[tuple[Row, str]]] = defaultdict(list)
    for row, label in zip(rows, labels_of(rows), strict=True):
        by_name[row.method].append((row, label))
    return [
        MethodSection(
            slug("m", name), max((row for row, _ in members), key=lambda row: (row.newest.time, row.key)),
            _recipes([row for row, _ in members]), tuple(members),
        )
        for name, members in sorted(by_name.items())
    ]  # fmt: skip


def primary_cell(row: Row) -> Cell:
    """The cell of the column by which a table of the row alone would be sorted, or else its first cell."""
    column = primary_column(row.columns, harmonic_columns(row.rules), shots_of([row]))
    return row.cells.get(column) or next(iter(row.cells.values()))


def _recipes(rows: Sequence[Row]) -> tuple[tuple[str, str], ...]:
    """(protocols and datasets, recipe) of the rows, each recipe once."""
    used_in: dict[str, dict[str, None]] = defaultdict(dict)
    for row in rows:
        for recipe in dict.fromkeys(m.fitted.recipe for m in (e.measurement for e in row.entries) if m.fitted):
            used_in[_recipe_text(recipe)][f"{protocol_title(row.protocol)}, {dataset_title(row.dataset)}"] = None
    return tuple(("; ".join(names), text) for text, names in used_in.items())


def _recipe_text(recipe: Recipe) -> str:
    return ", ".join(f"{f.name}={plain(getattr(recipe, f.name))}" for f in fields(Recipe))


def dataset_sections(rows: Sequence[Row]) -> list[DatasetSection]:
    """One section for each dataset, with each evaluation list once."""
    lists: dict[str, dict[tuple[str, str], ListFacts]] = defaultdict(dict)
    embedded: dict[str, bool] = {}
    for row in rows:
        embedded[row.dataset] = row.embedded
        for entry in row.entries:
            listed, record = entry.measurement.evaluation.list, entry.record
            key = (listed.sha256, listed.labels_sha256)
            # Records of several rows describe one list; the union of their findings is shown.
            old = lists[row.dataset].get(key)
            lists[row.dataset][key] = ListFacts(
                listed.name, listed.origin, listed.label_variant, listed.n, len(record.classes), *key,
                max(len(record.undecodable), old.undecodable if old else 0),
                tuple(sorted({*record.overlap.seen_classes, *(old.seen if old else ())})),
                tuple(sorted({*_overlaps(entry), *(old.overlaps if old else ())}, key=lambda overlap: overlap.train)),
            )  # fmt: skip
    return [
        DatasetSection(slug("d", name), dataset_title(name), name, embedded[name],
                       tuple(sorted(facts.values(), key=lambda fact: (fact.name, fact.list_sha256))))
        for name, facts in sorted(lists.items())
    ]  # fmt: skip


def _overlaps(entry: Entry) -> list[Overlap]:
    """The results of the leakage checks of the record, one for each training list."""
    overlaps = []
    for audit in entry.record.overlap.audits:
        counts = Counter(seen.relation for seen in audit.seen)
        relations = tuple(f"{n} {name}" for name, n in sorted(counts.items()))
        videos = entry.record.overlap.train_videos
        overlaps.append(Overlap(audit.train, audit.same_classes, relations, audit.source, videos))
    return overlaps


def group_figures(group: Group, width: float = WIDTH) -> dict[str, Figure]:
    """The figures of a measured group with at least two rows, by name.

    Args:
        group: The group.
        width: Width of the figures in pixels.
    """
    rows = [board.row for board in group.rows if board.row and board.cells]
    if len(rows) < 2:
        return {}
    title = f"{protocol_title(group.protocol)}: {dataset_title(group.dataset)}"
    figures = {
        "few-shot": few_shot_curves(rows, title, width),
        "accuracies": base_novel(rows, title, width),
        "separable": _separable(group, title, width),
        **{slug("cost", cost): accuracy_cost(rows, group.primary, title, cost, width) for cost in COSTS},
    }
    return {name: figure for name, figure in figures.items() if figure}


def _separable(group: Group, title: str, width: float) -> Figure | None:
    """The rows of the primary column that its tests do not separate."""
    ranked = [board for board in group.rows if board.row and board.rank]
    rows = [board.row for board in ranked if board.row]
    keys = [board.anchor for board in ranked]
    return separable_rows(rows, group.pairs.get(group.primary, ()), keys, group.primary, title, width)


def comparison_sections(
    groups: Sequence[Group], most: float = math.inf
) -> tuple[list[ComparisonSection], list[Damaged]]:
    """Comparisons of the best two ranked rows of the largest measured groups, and the files that cannot be read.

    Args:
        groups: The tables of the board.
        most: Largest width of a figure in pixels.
    """
    ranked = [(group, [row for row in group.rows if row.row and row.rank]) for group in groups]
    ranked = [(group, rows) for group, rows in ranked if len(rows) > 1]
    ranked.sort(key=lambda item: -len(item[1]))
    sections, damaged = [], []
    for group, rows in ranked[:MOST_COMPARISONS]:
        try:
            sections.append(_comparison(group, rows[0], rows[1], most))
        except UserError as error:
            message = error.message
            for entry in (entry for board in rows[:2] if board.row for entry in board.row.entries):
                message = entry.without_paths(message)
            damaged.append(Damaged(f"{rows[0].name} against {rows[1].name}", message, error.hint))
    return sections, damaged


def _comparison(group: Group, a: BoardRow, b: BoardRow, most: float) -> ComparisonSection:
    result = compare_files(_paths(a), _paths(b))
    # A part is `protocol/dataset/part`; parts have the order of their columns.
    # Reversed twice: of several columns of a part, the first one names it, and the order stays.
    columns = {rule.part: rule.name for rule in reversed(a.row.rules) if rule.part} if a.row else {}
    order = list(reversed(columns))
    parts = sorted(result.parts, key=lambda part: order.index(_part(part)) if _part(part) in order else len(order))
    names = tuple(column_title(columns.get(_part(part), part.name)) for part in parts)
    figure = class_changes(parts[0], a.name, b.name, 12, most)
    title = f"{protocol_title(group.protocol)}, {dataset_title(group.dataset)}, {group.heading}"
    anchor = slug("c", group.anchor)
    means, confused = _means(group, a, b), _confusion(a, most)
    return ComparisonSection(anchor, title, a.name, b.name, tuple(parts), figure, names, means, confused)


def _means(group: Group, a: BoardRow, b: BoardRow) -> tuple[tuple[str, PairStatistics], ...]:
    """The tests of the harmonic means of two rows, which are those of the ranks."""
    tests = []
    for column in harmonic_columns(a.row.rules) if a.row else ():
        for pair in group.pairs.get(column, ()):
            if (pair.a, pair.b) == (a.anchor, b.anchor):
                tests.append((column_title(column), pair))
            elif (pair.b, pair.a) == (a.anchor, b.anchor):
                tests.append((column_title(column), pair.turned))
    return tuple(tests)


def _part(comparison: PartComparison) -> str:
    return comparison.name.rsplit("/", 1)[-1]


def _confusion(board: BoardRow, most: float) -> Figure | None:
    """The confusion matrix of a row's first top-1 column, from its first repeat."""
    cells = board.row.cells.values() if board.row else ()
    cell = next((cell for cell in cells if board.row and _counts(board.row, cell.column)), None)
    if cell is None:
        return None
    entry = cell.repeats[0].entry
    title = f"{board.name}, {column_title(cell.column)}"
    return confusion(read_predictions(entry.predictions), entry.record.classes, title=title, most=most)


def _paths(board: BoardRow) -> list[Path]:
    """The records of a row's top-1 columns, each once."""
    if board.row is None:
        return []
    cells = [cell for cell in board.row.cells.values() if _counts(board.row, cell.column)]
    return list(dict.fromkeys(repeat.entry.path for cell in cells for repeat in cell.repeats))


def _counts(row: Row, column: str) -> bool:
    """Whether a column is the top-1 of a part; top-5 columns have the same records."""
    rule = row.rule(column)
    return rule.harmonic_of is None and rule.metric == "top1"
