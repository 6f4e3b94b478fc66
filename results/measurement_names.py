"""Names of measurements that are shown under one title: the settings in which they differ.

A table shows the title of a method once for each of its rows. The name of a row is shown beside the title and lists the
changed settings of the row (`lr 8e-06`, `seed 7`, `option layers 3`). A row without changes has no name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from harness.spec import Repeat
from results.measurement import FIELDS, FieldValue, Measurement, Value, keys_of, leaves
from results.measurement_words import Difference, differences, open_reasons, recipe_changes

_LISTS = ("training.list.", "evaluation.list.")
_ORIGINS = tuple(f"{place}origin" for place in _LISTS)
_IN_A_ROW = (*_LISTS, "training.start.key", "training.recipe.")
"""Fields that differ between the parts, repeats and datasets of one row; `training.recipe` by the number of shots."""
_PRINCIPAL = {
    "model.": ("model.arch", "model.weights"),
    "training.start.": ("training.start.kind", "training.start.name"),
    "method.code": ("method.version",),
    **{place: (f"{place}dataset", f"{place}origin", f"{place}label_variant") for place in _LISTS},
}
"""By part of a measurement: the fields that determine all other fields of the part. Only these fields are named."""


def changes_of(m: Measurement, defaults: Mapping[str, Value] | None = None) -> tuple[Difference, ...]:
    """Recipe settings and options that differ from those that the method declares, as (value, declared value).

    Args:
        m: The measurement.
        defaults: Default values of the method's options; an option without an entry is not compared.
    """
    fitted = m.fitted
    used = recipe_changes(fitted)
    declared = fitted.declared if fitted else None
    changes = [Difference(f"training.recipe.{name}", value, getattr(declared, name)) for name, value in used.items()]
    for kind, options in (("options", m.method.options), ("evaluation_options", m.method.evaluation_options)):
        for name, value in options.items():
            if defaults and name in defaults and value != defaults[name]:
                changes.append(Difference(f"method.{kind}.{name}", value, defaults[name]))
    return tuple(changes)


def way_of(m: Measurement, defaults: Mapping[str, Value] | None = None) -> tuple[tuple[str, FieldValue], ...]:
    """The settings of a row without its dataset; rows of several datasets with equal settings form one line of a table.

    Recipes and options enter by their changes, because a method declares them for each dataset.
    """
    settings: dict[str, FieldValue] = {}
    for path, value in leaves(m):
        scoped = path.startswith("protocol.scope.") and path != "protocol.scope.training_origin"
        of_dataset = path.startswith(_LISTS) and not path.endswith((".origin", ".label_variant"))
        views = path.startswith(("evaluation.views.", "training.views."))
        if path in _ORIGINS or views or ("line" in FIELDS.get(path, "line").split() and not scoped and not of_dataset):
            settings[path] = value
    for prefix in ("method.options", "method.evaluation_options"):
        options = settings.pop(prefix)
        assert isinstance(options, dict)
        settings |= {f"{prefix}.{name}": str(value) for name, value in options.items() if name not in (defaults or {})}
    settings |= {change.path: str(change.a) for change in changes_of(m, defaults)}
    return tuple(sorted(settings.items()))


def names_of(measurements: Sequence[Measurement], defaults: Sequence[Mapping[str, Value]] = ()) -> list[str]:
    """Names of measurements with one title; measurements of different rows have different names.

    Args:
        measurements: One measurement of each row, with the same part and repeat if the rows have a common one.
        defaults: For each measurement the known default values of the options of its method.

    A measurement with the declared recipe, default options and the settings of the protocol has an empty name if it is
    the only such row. A changed recipe or option is named even if no other row has the title.
    """
    known = defaults or [{}] * len(measurements)
    changes = [changes_of(m, options) for m, options in zip(measurements, known, strict=True)]
    labels = [[change.short for change in of_member] for of_member in changes]
    for same in _grouped(labels):
        members = [measurements[i] for i in same]
        if _rows(members) > 1:
            for i, further in zip(same, _distinguishing(members), strict=True):
                labels[i] += further
    for add in (open_reasons, _dataset, _row_key):
        for same in _grouped(labels):
            members = [measurements[i] for i in same]
            if _rows(members) > 1:
                shared = set.intersection(*(set(add(m)) for m in members))
                for i, m in zip(same, members, strict=True):
                    labels[i] += [text for text in add(m) if text not in shared]
    return [", ".join(label) for label in labels]


def _dataset(m: Measurement) -> tuple[str, ...]:
    return (f"on {m.evaluation.list.dataset}",)


def _row_key(m: Measurement) -> tuple[str, ...]:
    return (f"row {keys_of(m).row[:8]}",)


def _rows(members: Sequence[Measurement]) -> int:
    return len({keys_of(m).row for m in members}) if len(members) > 1 else 1


def _grouped(labels: Sequence[Sequence[str]]) -> list[list[int]]:
    """Indices of equal labels, grouped."""
    indices: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, label in enumerate(labels):
        indices[tuple(label)].append(i)
    return list(indices.values())


def _distinguishing(members: Sequence[Measurement]) -> list[list[str]]:
    """Settings that distinguish measurements with the same changes of recipe and options."""
    usual = _usual(members)
    reference = members[0] if usual is None else usual
    deviations = [_main(_differing(m, reference)) for m in members]
    if usual is not None:
        return [[difference.short for difference in of_member] for of_member in deviations]
    values = values_apart(deviations)
    common = {path: _common(path, [own[path].a for own in values]) for path in sorted(values[0], key=_position)}
    return [[own[path].short for path, usual in common.items() if own[path].a not in usual] for own in values]


def values_apart(changes: Sequence[Sequence[Difference]]) -> list[dict[str, Difference]]:
    """For each of several measurements or rows, the values of all settings in which they differ, by path.

    Args:
        changes: For each measurement its differences to a common reference; empty for the reference itself.

    Returns:
        For each measurement one `Difference` per path; `a` is the value of the measurement.
    """
    reference = {d.path: d.b for differing in changes for d in differing}
    own = [{d.path: d.a for d in differing} for differing in changes]
    return [{path: Difference(path, {**reference, **values}[path], None) for path in reference} for values in own]


def _common(path: str, values: Sequence[FieldValue]) -> list[FieldValue]:
    """The value of most measurements, which needs no name; empty for an option, whose default is not known."""
    if path.startswith(("method.options.", "method.evaluation_options.")):
        return []
    return [value for value in (values[0], *values) if list(values).count(value) * 2 > len(values)][:1]


def _usual(members: Sequence[Measurement]) -> Measurement | None:
    """The row whose deviations from the protocol are shared by all other rows; None if there is no such row."""
    reasons = [{*open_reasons(m), *_variants(m)} for m in members]
    fewest = min(reasons, key=len)
    nearest = [m for m, own in zip(members, reasons, strict=True) if own == fewest]
    if _rows(nearest) > 1 or not all(fewest <= own for own in reasons):
        return None
    return nearest[0]


def _variants(m: Measurement) -> set[str]:
    lists = [m.evaluation.list, *([m.fitted.list] if m.fitted else [])]
    return {f"{listed.label_variant} class names" for listed in lists if listed.label_variant != "published"}


def _differing(a: Measurement, b: Measurement) -> list[Difference]:
    """Differences that can distinguish two rows: of the same part and repeat all key fields, otherwise row fields."""
    same_place = _record_of(a) == _record_of(b)
    return [
        d
        for d in differences(a, b)
        if d.path in _ORIGINS or (FIELDS.get(d.path, "row") and (same_place or not _varies(d.path)))
    ]


def _record_of(m: Measurement) -> tuple[str, str, Repeat]:
    """Dataset, part and repeat; records with equal values are compared list by list."""
    return m.evaluation.list.dataset, m.protocol.part, m.protocol.repeat


def _varies(path: str) -> bool:
    """True if a field can differ within a row, or between equal rows of two datasets."""
    kept = path.endswith(".label_variant") or path == "training.recipe.selection"
    return path.startswith(_IN_A_ROW) and not kept


def _main(changes: Sequence[Difference]) -> list[Difference]:
    """Differences without fields that follow from other differences."""
    paths = {d.path for d in changes}
    values = {(d.path, d.a, d.b) for d in changes if d.path.startswith("evaluation.views.")}
    kept = []
    for d in changes:
        principal = next((names for prefix, names in _PRINCIPAL.items() if d.path.startswith(prefix)), ())
        follows = d.path not in principal and bool(paths & set(principal))
        as_evaluated = (d.path.replace("training.views.", "evaluation.views."), d.a, d.b)
        if not follows and not (d.path.startswith("training.views.") and as_evaluated in values):
            kept.append(d)
    return kept


def _position(path: str) -> int:
    """The position of a field in the definition."""
    order = list(FIELDS)
    field = next((p for p in ("method.options", "method.evaluation_options") if path.startswith(p)), path)
    return order.index(field) if field in order else len(order)
