"""The second label of a row: the settings that tell it apart from other rows of its title."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from reports.row import Row
from results.measurement import Measurement
from results.measurement_names import changes_of, names_of

_TITLE, _LABEL = 24, 28
"""Most characters of a title and of a second label in a figure."""


def labels_of(rows: Sequence[Row]) -> list[str]:
    """The second label of each of the rows that a reader sees together.

    Rows of one title, protocol and dataset are told apart; the unchanged one of them has an empty label.
    """
    labels = [""] * len(rows)
    same: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        same[row.title, row.protocol, row.dataset].append(i)
    for places in same.values():
        members = [rows[i] for i in places]
        if len(members) == 1 and members[0].declared:
            continue
        names = names_of(of_one_place(members), [row.record.method.defaults for row in members])
        for i, name in zip(places, names, strict=True):
            labels[i] = name
    return labels


def named(title: str, label: str) -> str:
    """A title with its second label, on one line."""
    return f"{title} ({label})" if label else title


def legend_of(rows: Sequence[Row]) -> list[str]:
    """Titles with second labels, short enough for the legend of a figure and still different."""
    names = [
        named(shorten(row.title, _TITLE), shorten(label, _LABEL))
        for row, label in zip(rows, labels_of(rows), strict=True)
    ]
    double = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    return [f"{name} {row.key[:6]}" if name in double else name for name, row in zip(names, rows, strict=True)]


def of_one_place(rows: Sequence[Row]) -> list[Measurement]:
    """A measurement of each row: of a part and repeat that all rows have, if there is one.

    Of several such parts the one in which most settings are changed: recipes may differ by the number of shots.
    """
    by_place = [{(m.protocol.part, m.protocol.repeat): m for m in _measurements(row)} for row in rows]
    common = [place for place in by_place[0] if all(place in places for places in by_place)]
    if not common:
        return [max(_measurements(row), key=lambda m: len(changes_of(m))) for row in rows]
    place = max(common, key=lambda place: sum(len(changes_of(places[place])) for places in by_place))
    return [places[place] for places in by_place]


def _measurements(row: Row) -> list[Measurement]:
    return [entry.measurement for entry in row.entries]


def shorten(text: str, length: int = 32) -> str:
    """Text for a label: one line, at most `length` characters, control characters left out."""
    clean = "".join(char for char in " ".join(text.split()) if char.isprintable())
    return clean if len(clean) <= length else clean[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"
