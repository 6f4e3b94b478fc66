"""Paired comparison of two methods: difference, interval, p value, changed classes, and flipped videos.

Each side is one row of a table (`results.generations`). Only rows of one group can be compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from harness.base.errors import EXIT_FAILED, UserError
from harness.spec.protocol import SINGLE
from results.borrowed import borrowed_of
from results.comparison import (
    ClassChange,
    Comparison,
    Flip,
    ListComparison,
    Pair,
    PartComparison,
    PartSamples,
    compare_part,
    part_samples,
    with_lists,
)
from results.generations import Row, row_differences
from results.measurement import FIELDS, Expected
from results.measurement_words import (
    differences,
    mean_lacks,
    open_reasons,
    recipe_changes,
    recipe_text,
    unranked_reasons,
)
from results.predictions import AGAIN, read_predictions
from results.row_statistics import PairStatistics
from results.sides import Choice, Filters, Reader, Side, Stored, Table, dataset_and_root, read_side, variants_text
from results.statistics.holm import holm

__all__ = [
    "ClassChange", "Comparison", "Flip", "ListComparison", "PartComparison", "compare", "compare_files",
]  # fmt: skip
_Rows = tuple[Row[Stored], Row[Stored]]


def compare(a: Choice | Path, b: Choice | Path, filters: Filters | None = None) -> Comparison:
    """Compare two rows video by video, in every table that both sides have.

    Args:
        a: Records of A: a record file, a folder (searched recursively), or a choice of records.
        b: Records of B; both sides may be in the same folder.
        filters: Restrictions of both sides to protocols, datasets and architectures.

    If an untrained method has one record of a list and the other method has several repeats, the record is compared
    with every repeat. The result names files that cannot be read and compares all other files.

    Raises:
        UserError: A side has no record, or has several rows in every table; the sides have no common table; or
            their rows cannot be compared.
    """
    choices = [side if isinstance(side, Choice) else Choice((side,), name=str(side)) for side in (a, b)]
    reader, allowed = Reader(), filters or Filters()
    sides = [read_side(choice, allowed, reader) for choice in choices]
    refused = _without_common_lists(sides)
    tables: dict[Table, _Rows] = {}
    for table in sides[0].tables:
        if table in sides[1].tables:
            if problem := _problem(sides, table):
                refused.append(problem)
            else:
                tables[table] = (sides[0].tables[table][0], sides[1].tables[table][0])
    if not tables:
        raise _nothing(sides, refused)
    damaged = dict(reader.damaged)
    found = [
        (samples, rows)
        for table, rows in tables.items()
        for samples in _table_parts(_shown(table, sides), rows, damaged)
    ]
    if not found:
        reasons = [text for path, text in damaged.items() if path not in reader.damaged]
        raise UserError(f"No list could be compared: {' '.join(reasons)}", AGAIN, EXIT_FAILED)
    corrected = _corrected([samples.statistics() for samples, _ in found])
    parts = [
        replace(
            compare_part(samples, pair, borrowed_of(reader, rows, samples) if pair.fits == 1 else None),
            incomplete=tuple(_incomplete(samples.pairs, rows)),
        )
        for (samples, rows), pair in zip(found, corrected, strict=True)
    ]
    names = _names(choices, next(iter(tables.values())))
    return Comparison(
        names[0], names[1], tuple(parts), tuple(_notes(sides, tables)),
        tuple(message for message, _ in refused), tuple(damaged.values()),
    )  # fmt: skip


def _corrected(pairs: Sequence[PairStatistics]) -> list[PairStatistics]:
    """Holm's correction over the parts, for each of the two questions on its own."""
    by_family = []
    for family in ([pair.p for pair in pairs], [pair.p_again for pair in pairs]):
        # A part without a p value is not a test, and must not make the correction of the other parts stricter.
        known = [p for p in family if p is not None]
        values = iter(holm(known).tolist() if known else [])
        by_family.append([None if p is None else float(next(values)) for p in family])
    return [replace(pair, p_holm=p, p_again_holm=again) for pair, p, again in zip(pairs, *by_family, strict=True)]


def compare_files(a: Sequence[Path], b: Sequence[Path]) -> Comparison:
    """Compare two sets of record files, see `compare`."""
    return compare(Choice(tuple(a), name="the first records"), Choice(tuple(b), name="the second records"))


# --- which rows may be compared

_Refused = tuple[str, str]
"""A reason and its fix."""
_MEASURE = "Only rows of one group can be compared. Measure one method again with the settings of the other method."


def _problem(sides: Sequence[Side], table: Table) -> _Refused | None:
    """The reason why two sides cannot be compared in a common table; None if they can."""
    shown = _shown(table, sides)
    several = [
        (f"{letter} has {len(side.tables[table])} rows of {shown}: {labels}.", f"Choose one for {letter}: {names}.")
        for side, letter in zip(sides, "AB", strict=True) if len(side.tables[table]) > 1
        for labels, names in [variants_text(side, table)]
    ]  # fmt: skip
    if several:
        return " ".join(message for message, _ in several), " ".join(hint for _, hint in several)
    row_a, row_b = (side.tables[table][0] for side in sides)
    if row_a.keys.group == row_b.keys.group:
        return None
    # Rows without a common part and repeat differ in their first records, too.
    places = _places(row_a, row_b) or [(row_a.records[0].place, 0, 0)]
    found: dict[str, list[str]] = defaultdict(list)
    for evaluation, i, j in places:
        m_a, m_b = row_a.records[i].measurement, row_b.records[j].measurement
        reasons = [str(d) for d in differences(m_a, m_b) if _decides_group(d.path)]
        for letter, m, counterpart in (("A", m_a, m_b), ("B", m_b, m_a)):
            own = set(open_reasons(m)) - set(open_reasons(counterpart))
            reasons += [f"{letter}: {reason}" for reason in sorted(own)]
        for reason in reasons:
            found[reason].append(f"{evaluation.part} {evaluation.repeat.index}")
    text = "; ".join(with_lists(found, len(places))) or "other evaluation lists"
    return f"{shown} of A and B cannot be compared: {text}.", _MEASURE


def _decides_group(path: str) -> bool:
    """True if a field enters the group key, directly or through the evaluation lists and views of the protocol."""
    return "group" in FIELDS.get(path, "").split() or path.startswith("evaluation.")


def _without_common_lists(sides: Sequence[Side]) -> list[_Refused]:
    """Reasons for datasets of one name with different lists (two custom folders, or a custom and a published list)."""
    found = []
    for key in dict.fromkeys((table.protocol, table.dataset) for table in sides[0].tables):
        tables = [[t for t in side.tables if (t.protocol, t.dataset) == key] for side in sides]
        if tables[1] and not set(tables[0]) & set(tables[1]):
            texts = [
                f"{dataset_and_root(side.tables[own[0]][0].records[0].measurement.evaluation.list)} of {letter}"
                for side, own, letter in zip(sides, tables, "AB", strict=True)
            ]
            message = f"{key[0]} on {texts[0]} and on {texts[1]} cannot be compared: they contain different videos."
            found.append((message, "Evaluate both methods on one dataset: python -m harness run --dataset FOLDER"))
    return found


def _nothing(sides: Sequence[Side], refused: Sequence[_Refused]) -> UserError:
    """The error if no table can be compared."""
    if refused:
        return UserError("\n".join(message for message, _ in refused), refused[0][1])
    there = [", ".join(sorted({f"{t.protocol} on {t.dataset}" for t in side.tables})) for side in sides]
    message = f"A and B have no table in common: A has {there[0]}; B has {there[1]}."
    return UserError(message, "Compare records of one protocol and dataset.")


def _shown(table: Table, sides: Sequence[Side]) -> str:
    """`PROTOCOL/DATASET`; a custom dataset with its root if another dataset has the same name."""
    own = {t for side in sides for t in side.tables if t.own_lists and t.dataset == table.dataset}
    if len({t.own_lists for t in own}) > 1 and table.own_lists:
        side = next(side for side in sides if table in side.tables)
        listed = side.tables[table][0].records[0].measurement.evaluation.list
        return f"{table.protocol}/{dataset_and_root(listed)}"
    return f"{table.protocol}/{table.dataset}"


# --- pairs of records


def _places(a: Row[Stored], b: Row[Stored]) -> list[tuple[Expected, int, int]]:
    """Part and repeat of every pair of records, with the indices of the two records.

    Records of the same part and repeat are a pair. The only record of a row without repeats is paired with every
    repeat.
    """
    found = []
    single = [_singles(row) for row in (a, b)]
    at_b = {record.place: j for j, record in enumerate(b.records)}
    for i, record in enumerate(a.records):
        j = at_b.get(record.place, single[1].get(record.place.part))
        if j is not None:
            found.append((record.place, i, j))
    paired = {j for _, _, j in found}
    for j, record in enumerate(b.records):
        if j not in paired and record.place.part in single[0]:
            found.append((record.place, single[0][record.place.part], j))
    return found


def _singles(row: Row[Stored]) -> dict[str, int]:
    """Index of the only record of a row without repeats, by part."""
    by_part: dict[str, list[int]] = defaultdict(list)
    for i, record in enumerate(row.records):
        if record.place.repeat.kind == SINGLE:
            by_part[record.place.part].append(i)
    return {part: numbers[0] for part, numbers in by_part.items() if len(numbers) == 1}


def _table_parts(name: str, rows: _Rows, damaged: dict[Path, str]) -> list[PartSamples]:
    """The scores of all parts of a table; files that cannot be read are added to `damaged`."""
    pairs: dict[str, list[Pair]] = defaultdict(list)
    for evaluation, i, j in _places(*rows):
        a, b = rows[0].records[i].item, rows[1].records[j].item
        if (table := _joined(a, b, damaged)) is not None:
            pairs[evaluation.part].append(Pair(a.record, b.record, evaluation.repeat, table))
    order = [column.part for column in rows[0].records[0].item.record.columns]
    order += sorted(set(pairs) - set(order))
    return [part_samples(f"{name}/{part}", pairs[part]) for part in sorted(pairs, key=order.index)]


def _joined(a: Stored, b: Stored, damaged: dict[Path, str]) -> pd.DataFrame | None:
    """Predictions of both records, joined on the common videos; None if a file cannot be read."""
    frames = []
    for side in (a, b):
        file = side.path.with_name(side.record.predictions.file)
        try:
            frames.append(read_predictions(file))
        except UserError as error:
            damaged[file] = error.message
    if len(frames) < 2:
        return None
    if a.record.incomplete or b.record.incomplete:
        common = set(frames[0]["video"]) & set(frames[1]["video"])  # a video without a counterpart cannot be compared
        frames = [frame[frame["video"].isin(common)].reset_index(drop=True) for frame in frames]
    videos, labels = ([frame[name].tolist() for frame in frames] for name in ("video", "label"))
    if videos[0] != videos[1] or labels[0] != labels[1]:
        damaged[b.path] = (
            f"{a.path} and {b.path} have the same list, but predictions of different videos or labels. "
            f"Find the changed file: python -m harness score {a.path}"
        )
        return None
    # Predictions of an earlier version may lack the clusters; the sides share the videos, so that one of them is
    # enough.
    clusters = max((frame["cluster"] for frame in frames), key=lambda names: (names != "").sum())
    table = frames[0][["video", "label"]].assign(cluster=clusters, id_a=frames[0]["id1"], id_b=frames[1]["id1"])
    table["hit_a"], table["hit_b"] = table["id_a"] == table["label"], table["id_b"] == table["label"]
    return table


# --- words


def _names(choices: Sequence[Choice], rows: _Rows) -> tuple[str, str]:
    """Two different names: the titles, or equal titles with the settings that differ."""
    first = [row.records[0].item.record for row in rows]
    titles = [record.method.title or record.measurement.method.name for record in first]
    if titles[0] != titles[1]:
        return titles[0], titles[1]
    found = row_differences(*rows)
    if found:
        a, b = (", ".join(f"{d.label} {d.value(value)}" for d, value in side) for side in
                ([(d, d.a) for d in found], [(d, d.b) for d in found]))  # fmt: skip
        return f"{titles[0]} ({a})", f"{titles[1]} ({b})"
    if choices[0].name != choices[1].name:
        return f"{titles[0]} ({choices[0].name})", f"{titles[1]} ({choices[1].name})"
    return f"{titles[0]} (A)", f"{titles[1]} (B)"


def _incomplete(pairs: Sequence[Pair], rows: _Rows) -> Iterator[str]:
    """Reasons why the means of a part are incomplete: missing videos, a short fit, a sample, missing repeats."""
    part = pairs[0].a.measurement.protocol.part
    for letter, row, records in zip("AB", rows, ([p.a for p in pairs], [p.b for p in pairs]), strict=True):
        reasons = dict.fromkeys(reason for record in records for reason in mean_lacks(record.measurement))
        yield from (f"{letter}: {reason}" for reason in reasons)
        if missing := sum(missed.part == part for missed in row.missing):
            present = sum(record.place.part == part for record in row.records)
            yield f"{letter}: {present} of {present + missing} repeats"


def _notes(sides: Sequence[Side], tables: dict[Table, _Rows]) -> Iterable[str]:
    """Reasons why a side has no rank, its changed recipe, and its superseded records."""
    for number, (side, letter) in enumerate(zip(sides, "AB", strict=True)):
        found: dict[str, None] = {}
        for rows in tables.values():
            row = rows[number]
            for record in row.records:
                found |= dict.fromkeys(unranked_reasons(record.measurement))
                if changes := recipe_changes(record.measurement.fitted):
                    found[f"changed recipe: {recipe_text(changes)}"] = None
            if row.missing:
                places = ", ".join(f"{missed.part} {missed.repeat.index}" for missed in row.missing)
                found[f"not measured: {places}"] = None
        yield from (f"{letter}: {text}" for text in found)
        reasons = dict.fromkeys(superseded.reason for superseded in side.superseded)
        if reasons:
            yield f"{letter}: {len(side.superseded)} superseded records are left out: {'; '.join(reasons)}"
