"""The definition of a measurement: its parts, and the keys that decide reuse, averaging and ranking.

A `Measurement` contains all settings that decide a number or the comparability of two numbers. It does not contain
paths, workers, processes and device.

`FIELDS` maps every field to the keys that it enters; a key is the hash of these fields:

    fit     one training run
    number  the score of one evaluation list; untrained evals of several protocols share it
    cell    one eval as a unit of work: the number, with its part and repeat in a protocol
    row     all repeats and parts of one method measured in one way
    line    the row without lists, code and engine; records of one line and several rows are generations of one row
    group   rows that may be ranked together: a table

The parts of a row can be lists of several datasets (`protocol.table`). Its keys `row`, `line` and `group` then hold the
dataset of the row, and its root, in place of those of the evaluation list (`Measurement.table_list`).

Plans, reports, ranks, verdicts, `compare` and the submission rules use the functions of this module and of
`results.measurement_words`; no other module lists these fields.
"""

from __future__ import annotations

import dataclasses
import hashlib
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from operator import attrgetter, itemgetter
from typing import Literal, Union, get_args, get_origin, get_type_hints

from harness.spec import Recipe, Views
from harness.spec.later import later_fields
from results.key_texts import Part, PartTexts, field_text, normal
from results.measurement_parts import (
    RANDOM,
    UNKNOWN,
    Count,
    Evaluation,
    Expected,
    FieldValue,
    Key,
    ListId,
    MethodId,
    ModelId,
    Plain,
    Positive,
    Prescribed,
    ProtocolId,
    Scope,
    Sha256,
    Start,
    Training,
    Value,
    computed_once,
)

__all__ = [
    "FIELDS", "KEY_NAMES", "RANDOM", "UNKNOWN", "Count", "Evaluation", "Expected", "FieldValue", "FitDescription",
    "Key", "Keys", "ListId", "Measurement", "MethodId", "ModelId", "Part", "Plain", "Positive", "Prescribed",
    "ProtocolId", "Scope", "Sha256", "Start", "Training", "Value", "cell_key", "computed_once", "fit_key", "keys_of",
    "leaves", "normal", "training_key",
]  # fmt: skip


@dataclass(frozen=True)
class FitDescription:
    """The part of a measurement that describes its fit, as stored in `fit.json`."""

    method: MethodId
    model: ModelId
    training: Training
    engine: Count


@dataclass(frozen=True)
class Measurement:
    """The definition of one number: protocol, method, model, training (None for an untrained method) and evaluation."""

    protocol: ProtocolId
    method: MethodId
    model: ModelId
    training: Training | Literal["unknown"] | None
    evaluation: Evaluation
    engine: Count

    @property
    def fitted(self) -> Training | None:
        """The training, or None for an untrained method and for an unknown training."""
        return self.training if isinstance(self.training, Training) else None

    @cached_property
    def keys(self) -> Keys:
        """All keys, computed once; do not change the mappings of options in place."""
        shape = _shape(Measurement, self.fitted is not None)
        grouped = [f'"{path}":{field_text(value)}' for path, value in _as_grouped(self).items()]
        texts = of_row = shape.texts(self) + grouped
        if self.protocol.table:
            in_table = dataclasses.replace(self.evaluation, list=self.table_list)
            of_row = shape.texts(dataclasses.replace(self, evaluation=in_table)) + grouped
        hashes = {key: _hash(key, pick(of_row if key in _OF_ROW else texts)) for key, pick in shape.picks.items()}
        return Keys(**{"fit": "", **hashes})

    @property
    def table_list(self) -> ListId:
        """The evaluation list, under the dataset in whose table the row of the measurement is shown."""
        table, listed = self.protocol.table, self.evaluation.list
        return dataclasses.replace(listed, dataset=table, root=self.protocol.table_root) if table else listed


@dataclass(frozen=True)
class Keys:
    """The keys of a measurement, hex digits. `fit` is empty for an untrained method."""

    fit: str
    number: str
    cell: str
    row: str
    line: str
    group: str


KEY_NAMES = tuple(f.name for f in dataclasses.fields(Keys))
_OF_ROW = ("row", "line", "group")
"""Keys that all records of a row share."""
_IN_PLACE = ("protocol.table", "protocol.table_root")
"""Fields that are hashed under the paths of the evaluation list's dataset and root, see `Measurement.table_list`."""
_LENGTHS = {"fit": 16, "number": 16, "cell": 16, "row": 12, "line": 12, "group": 12}


def _prefixed(place: str, entries: Mapping[str, str]) -> dict[str, str]:
    return {f"{place}.{name}": keys for name, keys in entries.items()}


def _every(cls: type, keys: str, **others: str) -> dict[str, str]:
    """The same keys for all fields of a dataclass, such as a recipe, except the fields in `others`."""
    entries: dict[str, str] = {}
    for name, hint in get_type_hints(cls).items():
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            entries |= _prefixed(name, _every(hint, keys))
        else:
            entries[name] = others.get(name, keys)
    return entries


_FIT = "fit number cell"
_ALWAYS = "number cell row line group"
FIELDS: Mapping[str, str] = {
    "engine": f"{_FIT} row group",
    "protocol.name": "cell row line group",
    "protocol.version": "cell row line group",
    "protocol.part": "cell",
    "protocol.repeat.kind": "cell",
    "protocol.repeat.index": "cell",
    # The prescribed settings decide the division. They enter row and group through `scope.evaluation_views`, because
    # the parts of a row can have different views.
    **_prefixed("protocol.prescribed.views", _every(Views, "")),
    "protocol.prescribed.transform": "",
    "protocol.prescribed.selection": "",
    "protocol.scope.lists": "cell row",
    "protocol.scope.evaluation_lists": "cell group",
    "protocol.scope.training_origin": "cell row line group",
    "protocol.scope.own_training_lists": "cell row group",
    "protocol.scope.recipes": "cell row line",
    "protocol.scope.views": "cell row line",
    "protocol.scope.evaluation_views": "cell row line group",
    "protocol.scope.expected": "",
    "protocol.table": "row line group",
    "protocol.table_root": "line",
    "method.name": f"{_FIT} row line",
    "method.version": f"{_FIT} row line",
    "method.code": f"{_FIT} row",
    "method.options": f"{_FIT} row line",
    "method.evaluation_options": "number cell row line",
    "method.class_text": f"{_FIT} row line group",
    "method.class_text_sha256": f"{_FIT} row line",
    "method.extra_data": "cell row line group",
    "method.checkpoint": f"{_FIT} row line group",
    "model.arch": f"{_FIT} row line group",
    "model.weights": _FIT,
    "model.config": f"{_FIT} row line group",
    "model.tensors_sha256": "row line group",
    "model.image_size": "row line group",
    "model.activation": "row line group",
    "model.text_length": "row line group",
    "model.tokenizer": f"{_FIT} row line group",
    "model.padding": "row line group",
    "training.list.dataset": f"{_FIT} row line",
    "training.list.name": _FIT,
    "training.list.origin": "cell",
    "training.list.sha256": _FIT,
    "training.list.labels": "",
    "training.list.labels_sha256": _FIT,
    "training.list.label_variant": f"{_FIT} row line",
    "training.list.n": _FIT,
    "training.list.content": _FIT,
    "training.list.root": "line",
    # Recipes and views of single fits enter row and line through `scope.recipes` and `scope.views`.
    **_prefixed("training.recipe", _every(Recipe, _FIT, selection=f"{_FIT} row line group", source="")),
    **_prefixed("training.declared", _every(Recipe, "")),
    **_prefixed("training.views", _every(Views, _FIT)),
    "training.start.kind": f"{_FIT} row line group",
    "training.start.name": "row line group",
    "training.start.key": _FIT,
    "training.start.weights_sha256": "",
    "training.start.complete": "",
    "training.precision": "row line",
    "training.device_batch": "row line",
    "training.used": "",
    "training.weights_sha256": "",
    "evaluation.list.dataset": _ALWAYS,
    "evaluation.list.name": "number cell",
    "evaluation.list.origin": "cell",
    "evaluation.list.sha256": "number cell",
    "evaluation.list.labels": "",
    "evaluation.list.labels_sha256": "number cell",
    "evaluation.list.label_variant": _ALWAYS,
    "evaluation.list.n": "number cell",
    "evaluation.list.content": "number cell",
    "evaluation.list.root": "line",
    **_prefixed("evaluation.views", _every(Views, "number cell")),
    "evaluation.transform": "number cell",
    "evaluation.sample": _ALWAYS,
    "evaluation.precision": "",
    "evaluation.evaluated": "",
}
"""The keys that each field of a measurement enters, separated by blanks. A test checks that no field is missing."""

_OF_TRAINING = "number cell row line"
"""Keys that the field `training` enters if it is not a dataclass (untrained or unknown)."""
_UNTRAINED = {"training.recipe.selection": "last", "training.start.kind": "clip", "training.start.name": ""}
"""Values that put an untrained method into the group of the methods that start from the same weights."""


def _class_text_kind(value: FieldValue) -> str:
    """Kind of class texts in the group key: texts about a class add knowledge that other methods do not have."""
    kinds = {"llm-rewritten": "language model", "human-written": "people", UNKNOWN: UNKNOWN}
    return kinds.get(str(value), "names")


_AS_GROUPED: Mapping[str, Callable[[FieldValue], FieldValue]] = {"method.class_text": _class_text_kind}


def _as_grouped(m: Measurement) -> dict[str, FieldValue]:
    """Values that enter the group key instead of the values of the measurement."""
    values = {path: convert(attrgetter(path)(m)) for path, convert in _AS_GROUPED.items()}
    if m.fitted is None:
        values |= {path: UNKNOWN if m.training == UNKNOWN else default for path, default in _UNTRAINED.items()}
    return values


Described = Measurement | FitDescription | Recipe | Scope | Prescribed | Part
"""Dataclasses whose fields `leaves` lists."""


@cache
def _paths(kind: type, trained: bool) -> tuple[str, ...]:
    """Paths of all fields of a dataclass, in order; a dataclass field is replaced by its fields."""
    paths: list[str] = []
    for name, hint in get_type_hints(kind).items():
        union = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
        part = next((k for k in union if dataclasses.is_dataclass(k) and isinstance(k, type)), None)
        if part is None or (part is Training and not trained):
            paths.append(name)
        else:
            paths += [f"{name}.{path}" for path in _paths(part, trained)]
    return tuple(paths)


@cache
def _getter(paths: tuple[str, ...]) -> Callable[[Described], tuple[FieldValue, ...]]:
    return attrgetter(*paths)


@dataclass(frozen=True)
class _Shape:
    """The fields of a trained or an untrained measurement, or of a fit's description, prepared for hashing.

    Args:
        parts: The parts, in the order of their fields; `training` is a part without fields if it is not a dataclass.
        picks: For each key, the function that selects its fields from the fields of all parts, sorted by path. The
            group key also selects from the values of `_as_grouped`, which follow the fields.
    """

    parts: tuple[PartTexts, ...]
    picks: Mapping[str, Callable[[list[str]], tuple[str, ...]]]

    def texts(self, owner: FitDescription | Measurement) -> list[str]:
        """Entries of all fields in the JSON object whose hash is the key; empty for later fields at their default."""
        return [text for part in self.parts for text in part.of(getattr(owner, part.name))]


@cache
def _shape(kind: type, trained: bool) -> _Shape:
    paths = tuple(path for path in _paths(kind, trained) if FIELDS.get(path, _OF_TRAINING) and path not in _IN_PLACE)
    grouped = (*_AS_GROUPED, *(() if trained else _UNTRAINED))
    picks = {}
    for key in (name for name in KEY_NAMES if trained or name != "fit"):
        indices = {path: i for i, path in enumerate(paths) if key in FIELDS.get(path, _OF_TRAINING).split()}
        if key == "group":
            indices |= {path: i for i, path in enumerate(grouped, start=len(paths))}
        picks[key] = itemgetter(*(indices[path] for path in sorted(indices)))
    parts = []
    for name in dict.fromkeys(path.partition(".")[0] for path in paths):
        inner = tuple(path for path in paths if path.partition(".")[0] == name)
        late = ((index, _later_default(kind, path)) for index, path in enumerate(inner))
        below = tuple(path.partition(".")[2] for path in inner)
        parts.append(PartTexts(name, below, tuple((index, entry) for index, entry in late if entry)))
    return _Shape(tuple(parts), picks)


def _later_default(kind: type, path: str) -> str:
    """The entry of a later field at its default; empty for another field."""
    owner, _, name = path.rpartition(".")
    for step in filter(None, owner.split(".")):
        hint = get_type_hints(kind)[step]
        kind = next(k for k in (hint, *get_args(hint)) if dataclasses.is_dataclass(k) and isinstance(k, type))
    if name not in later_fields(kind):
        return ""
    default: FieldValue = getattr(kind, name)
    return f'"{path}":{field_text(default)}'


def leaves(part: Described) -> Iterator[tuple[str, FieldValue]]:
    """Paths and values of all fields of a measurement or of a part; a dataclass field is replaced by its fields."""
    kind: type = type(part)
    paths = _paths(kind, isinstance(getattr(part, "training", None), Training))
    return zip(paths, _getter(paths)(part), strict=True)


def keys_of(measurement: Measurement) -> Keys:
    """All keys of a measurement."""
    return measurement.keys


def fit_key(described: FitDescription | Measurement) -> str:
    """The key of a fit, 16 hex digits; empty for an untrained method."""
    if isinstance(described, Measurement):
        return described.keys.fit
    # A fit's description is not a Measurement, but its fields have the same paths and give the same key.
    shape = _shape(FitDescription, True)
    return _hash("fit", shape.picks["fit"](shape.texts(described)))


def training_key(described: FitDescription) -> str:
    """The key of a fit without the choice of its evaluated weights: fits with equal keys are trained alike."""
    training = dataclasses.replace(described.training, recipe=described.training.recipe.trajectory)
    return fit_key(dataclasses.replace(described, training=training))


def cell_key(measurement: Measurement) -> str:
    """The key of an eval, 16 hex digits."""
    return measurement.keys.cell


def _hash(key: str, entries: tuple[str, ...]) -> str:
    return hashlib.sha256(f"{{{','.join(filter(None, entries))}}}".encode()).hexdigest()[: _LENGTHS[key]]
