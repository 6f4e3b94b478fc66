"""Second labels of rows: the settings in which a row differs from other rows with its title."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from reports.row import Row
from results.measurement import Measurement
from results.measurement_names import changes_of, names_of

_TITLE, _LABEL = 24, 28
"""Maximum length of a title and of a second label in a figure, in characters."""


def labels_of(rows: Sequence[Row]) -> list[str]:
    """The second label of each row, for rows that are shown together.

    Rows with the same title, protocol and dataset get different labels. A row with the declared recipe and default
    options has an empty label if it is the only such row.
    """
    labels = [""] * len(rows)
    same: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        same[row.title, row.protocol, row.dataset].append(i)
    for indices in same.values():
        members = [rows[i] for i in indices]
        # A changed recipe or option is named even if its row is the only row of the title.
        if len(members) == 1 and members[0].declared:
            continue
        names = names_of(comparable_measurements(members), [row.record.method.defaults for row in members])
        for i, name in zip(indices, names, strict=True):
            labels[i] = name
    return labels


def named(title: str, label: str) -> str:
    """A title with its second label, on one line."""
    return f"{title} ({label})" if label else title


def legend_of(rows: Sequence[Row]) -> list[str]:
    """Titles with second labels, shortened for the legend of a figure and still different."""
    names = [
        named(shorten(row.title, _TITLE), shorten(label, _LABEL))
        for row, label in zip(rows, labels_of(rows), strict=True)
    ]
    # Shortened names may be equal again: the row key then makes them different.
    double = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    return [f"{name} {row.key[:6]}" if name in double else name for name, row in zip(names, rows, strict=True)]


def comparable_measurements(rows: Sequence[Row]) -> list[Measurement]:
    """One measurement of each row, for the same part and repeat if all rows have one in common.

    If they have several in common, the one with the most changed settings is chosen, because recipes may differ
    between parts, e.g. by the number of shots.
    """
    by_repeat = [{(m.protocol.part, m.protocol.repeat): m for m in _measurements(row)} for row in rows]
    common = [repeat for repeat in by_repeat[0] if all(repeat in measured for measured in by_repeat)]
    if not common:
        return [max(_measurements(row), key=lambda m: len(changes_of(m))) for row in rows]
    chosen = max(common, key=lambda repeat: sum(len(changes_of(measured[repeat])) for measured in by_repeat))
    return [measured[chosen] for measured in by_repeat]


def _measurements(row: Row) -> list[Measurement]:
    return [entry.measurement for entry in row.entries]


def shorten(text: str, length: int = 32) -> str:
    """Text on one line with at most `length` characters, without control characters."""
    clean = "".join(char for char in " ".join(text.split()) if char.isprintable())
    return clean if len(clean) <= length else clean[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"
