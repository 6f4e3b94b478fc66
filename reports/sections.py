"""The board's sections beside the tables: methods, datasets, figures, comparisons."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reports.aggregate import Row
from reports.board import Group, dataset_title, section_title, slug
from reports.classes import class_changes, confusion
from reports.curves import few_shot_curves
from reports.scatter import accuracy_cost, base_novel
from results.compare import PartComparison, compare_files
from results.predictions import read_predictions

MOST_COMPARISONS = 8
FLIPS_SHOWN = 12


@dataclass(frozen=True)
class MethodSection:
    """A method's card, recipes and rows."""

    anchor: str
    facts: dict[str, Any]
    recipes: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Overlap:
    """What a list shares with one training list: relations of its classes with their numbers, and videos."""

    train: str
    same_classes: bool
    relations: tuple[str, ...]
    source: str
    videos: int


@dataclass(frozen=True)
class ListFacts:
    """An evaluated list as the records describe it."""

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
    """The two best rows of a group, compared on the same videos."""

    anchor: str
    title: str
    a: str
    b: str
    parts: tuple[PartComparison, ...]
    figure: str
    confusion: str = ""


def method_sections(rows: Sequence[Row]) -> list[MethodSection]:
    """One section a method name, in alphabetical order."""
    by_name: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_name[row.facts["method"]].append(row)
    sections = []
    for name, mine in sorted(by_name.items()):
        recipes = dict.fromkeys((row.facts["protocol"], row.facts["recipe"]) for row in mine if row.facts["recipe"])
        sections.append(MethodSection(slug("m", name), mine[0].facts, tuple(recipes), tuple(mine)))
    return sections


def dataset_sections(rows: Sequence[Row]) -> list[DatasetSection]:
    """One section a dataset, with each evaluated list once."""
    lists: dict[str, dict[tuple[str, str], ListFacts]] = defaultdict(dict)
    embedded: dict[str, bool] = {}
    for row in rows:
        for cell in row.cells.values():
            for m in cell.measurements:
                f = m.facts
                embedded[f["dataset"]] = f["embedded"]
                key = (f["list_sha256"], f["labels_sha256"])
                old = lists[f["dataset"]].get(key)
                lists[f["dataset"]][key] = ListFacts(
                    f["list"], f["list_origin"], f["label_variant"], f["n_expected"], len(f["classes"]), *key,
                    max(f["n_undecodable"], old.undecodable if old else 0),
                    tuple(sorted({*f["seen_classes"], *(old.seen if old else ())})),
                    tuple(sorted({*_overlaps(f), *(old.overlaps if old else ())}, key=lambda one: one.train)),
                )  # fmt: skip
    return [
        DatasetSection(slug("d", name), dataset_title(name), name, embedded[name],
                       tuple(sorted(found.values(), key=lambda one: (one.name, one.list_sha256))))
        for name, found in sorted(lists.items())
    ]  # fmt: skip


def _overlaps(facts: dict[str, Any]) -> list[Overlap]:
    """What the record's audits say of its list, one entry for each training list."""
    found = []
    for audit in facts["audits"]:
        if audit.get("train"):
            counts = Counter(str(one.get("relation")) for one in audit.get("seen", ()))
            relations = tuple(f"{n} {name}" for name, n in sorted(counts.items()))
            same = bool(audit.get("same_classes"))
            found.append(Overlap(str(audit["train"]), same, relations, str(audit.get("source")), facts["train_videos"]))
    return found


def group_figures(group: Group) -> list[str]:
    """The SVG figures of a measured group with at least two rows."""
    rows = [board.row for board in group.rows if board.row and board.cells]
    if len(rows) < 2:
        return []
    title = f"{section_title(group.protocol)}: {dataset_title(group.dataset)}"
    figures = []
    if group.protocol == "few_shot":
        figures.append(few_shot_curves(rows, title, group.anchor + "c"))
    elif group.protocol == "b2n":
        figures.append(base_novel(rows, title, group.anchor + "n"))
    primary = dict(group.columns).get(group.primary, group.primary)
    for cost in ("params_trained", "gflops"):
        figures.append(accuracy_cost(rows, group.primary, f"{primary}, {title}", cost, group.anchor + cost))
    return [figure for figure in figures if figure]


def comparison_sections(groups: Sequence[Group]) -> list[ComparisonSection]:
    """The best two ranked rows of the largest measured groups, compared by their predictions."""
    ranked = [(group, [row.row for row in group.rows if row.row and row.rank]) for group in groups]
    ranked = [(group, rows) for group, rows in ranked if len(rows) > 1]
    ranked.sort(key=lambda item: -len(item[1]))
    sections = []
    for group, rows in ranked[:MOST_COMPARISONS]:
        a, b = rows[:2]
        if a is None or b is None:
            continue
        result = compare_files(_paths(a), _paths(b))
        name_a, name_b = str(a.facts["title"]), str(b.facts["title"])
        figure = class_changes(result.parts[0], name_a, name_b, 12, group.anchor + "cc")
        title = f"{section_title(group.protocol)}, {dataset_title(group.dataset)}"
        anchor = slug("c", group.anchor)
        mistakes = _confusion(a, group, anchor)
        sections.append(ComparisonSection(anchor, title, name_a, name_b, result.parts, figure, mistakes))
    return sections


def _confusion(row: Row, group: Group, anchor: str) -> str:
    """The confusion of a row's first part, from its first repeat; empty where the predictions cannot be read."""
    cell = next((cell for cell in row.cells.values() if cell.measurements and _counts(row, cell.column)), None)
    if cell is None:
        return ""
    facts = cell.measurements[0].facts
    title = f"{row.facts['title']}, {dict(group.columns).get(cell.column, cell.column)}"
    return confusion(read_predictions(facts["predictions_path"]), facts["classes"], 10, anchor + "cf", title)


def _paths(row: Row) -> list[Any]:
    """The row's records, each once: several columns may come from one record."""
    cells = [cell for cell in row.cells.values() if _counts(row, cell.column)]
    return list(dict.fromkeys(m.facts["path"] for cell in cells for m in cell.measurements))


def _counts(row: Row, column: str) -> bool:
    """Whether a column is a part's top-1: top-5 columns hold the same records again."""
    rule = next(rule for rule in row.facts["rules"] if rule["name"] == column)
    return bool(rule.get("metric", "top1") == "top1")
