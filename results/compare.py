"""Two methods on the same videos: difference, interval, p value, the classes that moved, the videos that flipped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.base.errors import UserError
from results.holm import holm
from results.intervals import Interval
from results.measurement_words import differences
from results.paired import bootstrap_interval, mcnemar_p, sign_flip_p
from results.predictions import read_predictions
from results.record import Record, find_records, read_record


@dataclass(frozen=True)
class ListComparison:
    """A and B on one list and one repeat: accuracies in percent, the 2 x 2 counts, McNemar's exact p value."""

    name: str
    n: int
    accuracy_a: float
    accuracy_b: float
    both: int
    only_a: int
    only_b: int
    neither: int
    p: float


@dataclass(frozen=True)
class ClassChange:
    """A class's accuracy in percent with A and with B, over `n` outcomes."""

    name: str
    n: int
    accuracy_a: float
    accuracy_b: float

    @property
    def change(self) -> float:
        """Percent points that A is better."""
        return self.accuracy_a - self.accuracy_b


@dataclass(frozen=True)
class Flip:
    """A video that exactly one of the two got right, with the class names of the label and of both predictions."""

    video: str
    list: str
    label: str
    predicted_a: str
    predicted_b: str
    right: str


@dataclass(frozen=True)
class PartComparison:
    """A and B on one part of a protocol, over all lists and repeats that both have.

    Args:
        name: `protocol/dataset/part`.
        difference: Mean over lists of accuracy A - accuracy B, in percent points.
        interval: 95 % paired bootstrap interval of the difference, stratified by class.
        p: Two-sided, sign-flip over videos; McNemar's exact test where there is one list.
        p_holm: `p` after Holm's correction over the parts of this comparison.
        videos: Distinct videos.
        lists: One entry for each list and repeat.
        classes: Largest change first.
        flips: Videos on which exactly one is right.
        differing: Settings in which A and B differ, other than the method.
    """

    name: str
    difference: float
    interval: Interval
    p: float
    p_holm: float
    videos: int
    lists: tuple[ListComparison, ...]
    classes: tuple[ClassChange, ...]
    flips: tuple[Flip, ...]
    differing: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """A against B, by part."""

    a: str
    b: str
    parts: tuple[PartComparison, ...]


@dataclass(frozen=True)
class _Pair:
    a: Record
    b: Record
    table: pd.DataFrame


def compare(a: Path, b: Path, method_a: str = "", method_b: str = "", seed: int = 0) -> Comparison:
    """The paired comparison of two records, or of two folders of records matched by protocol, list and repeat.

    Args:
        a: A record file, or a folder (searched to any depth).
        b: The same; the two may be one folder if `method_a` and `method_b` choose from it.
        method_a: Keep only records of this method.
        method_b: The same for B.
        seed: Of the bootstrap.

    A list on which an untrained method has one record and the other several repeats pairs that record with each.

    Raises:
        UserError: No record on either side, nothing in common, or predictions of other videos than the list's.
    """
    return compare_files(_files(a), _files(b), method_a, method_b, seed)


def _files(path: Path) -> list[Path]:
    return find_records(path) if path.is_dir() else [path]


def compare_files(
    a: Sequence[Path], b: Sequence[Path], method_a: str = "", method_b: str = "", seed: int = 0
) -> Comparison:
    """As `compare`, for two sets of record files."""
    sides = [_side(a, method_a), _side(b, method_b)]
    pairs: dict[str, list[_Pair]] = defaultdict(list)
    for key in sorted(set(sides[0]) & set(sides[1])):
        for path_a, path_b in _match(sides[0][key], sides[1][key]):
            pair = _join(path_a, path_b)
            pairs[_part_name(pair.a)].append(pair)
    if not pairs:
        raise UserError(
            "The two sides have no evaluated list in common.",
            "Compare records of one protocol, dataset, part and list (see `list_sha256` in the records).",
        )
    parts = [_part(name, members, seed) for name, members in pairs.items()]
    corrected = holm([part.p for part in parts])
    pairs_p = zip(parts, corrected, strict=True)
    done = tuple(PartComparison(**{**part.__dict__, "p_holm": float(p)}) for part, p in pairs_p)
    first = next(iter(pairs.values()))[0]
    return Comparison(_label(first.a), _label(first.b), done)


def _part_name(record: Record) -> str:
    m = record.measurement
    return f"{m.protocol.name}/{m.evaluation.list.dataset}/{m.protocol.part}"


def _label(record: Record) -> str:
    return record.method.title or record.measurement.method.name


def _side(files: Sequence[Path], method: str) -> dict[tuple[str, str], list[tuple[Record, Path]]]:
    """Records by what must be equal for a pair."""
    found: dict[tuple[str, str], list[tuple[Record, Path]]] = defaultdict(list)
    for file in files:
        record = read_record(file)
        if method and record.measurement.method.name != method:
            continue
        found[_part_name(record), record.measurement.evaluation.list.sha256].append((record, file))
    if not found:
        place = files[0].parent if files else "The folder"
        raise UserError(f"{place} holds no record{f' of method {method!r}' if method else ''}.")
    return found


def _match(
    a: list[tuple[Record, Path]], b: list[tuple[Record, Path]]
) -> list[tuple[tuple[Record, Path], tuple[Record, Path]]]:
    """Pairs of equal repeat; a single record pairs with every repeat of the other side."""
    if len(a) == 1 or len(b) == 1:
        return [(x, y) for x in a for y in b]
    by_repeat = {_repeat(record): (record, path) for record, path in b}
    if len(by_repeat) < len(b) or len({_repeat(record) for record, _ in a}) < len(a):
        listed = a[0][0].measurement.evaluation.list
        raise UserError(
            f"Several records measure the same repeat of {listed.name}.", "Name one method, or the two record files."
        )
    return [(one, by_repeat[_repeat(one[0])]) for one in a if _repeat(one[0]) in by_repeat]


def _repeat(record: Record) -> tuple[str, int, Any]:
    repeat = record.measurement.protocol.repeat
    return repeat.kind, repeat.index, record.fit.shots if record.fit else None


def _join(a: tuple[Record, Path], b: tuple[Record, Path]) -> _Pair:
    """Both predictions side by side: video, label, id_a, id_b."""
    frames = [read_predictions(path.with_name(record.predictions.file)) for record, path in (a, b)]
    if any(_missing(record) for record, _ in (a, b)):
        common = set(frames[0]["video"]) & set(frames[1]["video"])  # videos that are missing on one side tell nothing
        frames = [frame[frame["video"].isin(common)].reset_index(drop=True) for frame in frames]
    if frames[0]["video"].tolist() != frames[1]["video"].tolist() or (frames[0]["label"] != frames[1]["label"]).any():
        raise UserError(
            f"{a[1]} and {b[1]} have the same list hash, but predictions of other videos.",
            f"Find the altered one: python -m harness score {a[1]}",
        )
    table = frames[0][["video", "label"]].assign(id_a=frames[0]["id1"], id_b=frames[1]["id1"])
    table["hit_a"], table["hit_b"] = table["id_a"] == table["label"], table["id_b"] == table["label"]
    return _Pair(a[0], b[0], table)


def _missing(record: Record) -> int:
    return record.measurement.evaluation.list.n - record.measurement.evaluation.evaluated


def _part(name: str, pairs: list[_Pair], seed: int) -> PartComparison:
    lists = tuple(_list(pair) for pair in pairs)
    pooled = pd.concat([pair.table.assign(size=len(pair.table)) for pair in pairs], ignore_index=True)
    step = pooled["hit_a"].astype(int) - pooled["hit_b"].astype(int)
    # One row a video: whole numbers for the test, percent points of the mean over lists for the interval.
    videos = pooled.assign(step=step, share=100.0 * step / pooled["size"] / len(pairs)).groupby("video", sort=False)
    per_video = videos.agg(label=("label", "first"), step=("step", "sum"), share=("share", "sum"))
    difference = float(per_video["share"].sum())
    interval = bootstrap_interval(per_video["share"].to_numpy() * len(per_video), per_video["label"].to_numpy(), seed)
    return PartComparison(
        name=name,
        difference=difference,
        interval=interval,
        p=lists[0].p if len(lists) == 1 else sign_flip_p(per_video["step"].to_numpy(dtype=np.int64)),
        p_holm=1.0,
        videos=len(per_video),
        lists=lists,
        classes=_classes(pooled, pairs[0].a.classes),
        flips=tuple(flip for pair in pairs for flip in _flips(pair)),
        differing=_differing(pairs[0]),
    )


def _list(pair: _Pair) -> ListComparison:
    a, b = pair.table["hit_a"].to_numpy(), pair.table["hit_b"].to_numpy()
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    m = pair.a.measurement
    repeat = f"{m.protocol.repeat.kind} {m.protocol.repeat.index}"
    return ListComparison(
        f"{m.evaluation.list.name} ({repeat})", len(a), 100.0 * float(a.mean()), 100.0 * float(b.mean()),
        int((a & b).sum()), only_a, only_b, int((~a & ~b).sum()), mcnemar_p(only_a, only_b),
    )  # fmt: skip


def _classes(pooled: pd.DataFrame, names: Sequence[str]) -> tuple[ClassChange, ...]:
    grouped = pooled.groupby("label").agg(n=("label", "size"), a=("hit_a", "mean"), b=("hit_b", "mean"))
    changes = [
        ClassChange(_name(int(label), names), int(row["n"]), 100.0 * float(row["a"]), 100.0 * float(row["b"]))
        for label, row in grouped.iterrows()
    ]
    return tuple(sorted(changes, key=lambda change: (-abs(change.change), change.name)))


def _flips(pair: _Pair) -> list[Flip]:
    names = pair.a.classes
    flipped = pair.table[pair.table["hit_a"] != pair.table["hit_b"]]
    listed = pair.a.measurement.evaluation.list.name
    return [
        Flip(row.video, listed, _name(row.label, names), _name(row.id_a, names), _name(row.id_b, names),
             "a" if row.hit_a else "b")
        for row in flipped.itertuples()
    ]  # fmt: skip


def _name(label: int, names: Sequence[str]) -> str:
    """The class name of an id; `no prediction` for an undecodable video."""
    return names[label] if 0 <= label < len(names) else "no prediction"


def _differing(pair: _Pair) -> tuple[str, ...]:
    """Settings that differ although they are not the method: what else the difference may come from."""
    a, b = pair.a.measurement, pair.b.measurement
    found = [str(one) for one in differences(a, b, besides=("method.name",))]
    for side, record in (("A", pair.a), ("B", pair.b)):
        if _missing(record):
            n = record.measurement.evaluation.list.n
            found.append(f"{side} has {record.measurement.evaluation.evaluated} of {n} videos")
    return tuple(found)
