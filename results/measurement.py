"""The one definition of a measurement: its parts, and the keys that decide what is reused, averaged and ranked.

A `Measurement` says everything that decides a number and everything that decides whether two numbers may be compared.
Transport stays out of it: paths, workers, processes, device and device batch.

`FIELDS` names, for every field, the keys that it enters; a key is the hash of exactly those fields:

    fit     one training run
    number  the score of one evaluation list; untrained evals of several protocols share it
    cell    one eval as a unit of work: the number, with its place in a protocol
    row     all repeats and parts of one method measured in one way: a line of a table
    line    the row without lists, code and engine; records of one line and several rows are generations of one row
    group   rows that may be ranked together: a table

Planning, reports, ranks, verdicts, `compare` and the submission rules call the functions of this module and of
`results.measurement_words`; no other module lists such fields.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from msgspec import Meta

from harness.base.canonical import fingerprint
from harness.spec import Recipe, Repeat, Views

UNKNOWN = "unknown"
"""Value of a text field that an imported record cannot know; rows with such a value are shown and not ranked."""
RANDOM = "random"
"""Value of `ModelId.weights` for weights that were drawn and not trained."""

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Plain = bool | int | float | str | None
Value = Plain | tuple[Plain, ...]
"""Value of a method option, as JSON stores it."""


@dataclass(frozen=True)
class ListId:
    """A training or evaluation list.

    Args:
        dataset: Name of the dataset.
        name: Name of the list in its dataset.
        origin: `published`, `generated` from official annotations by the published rules, or `own`.
        sha256: Hash of the rows, see `harness.base.canonical.rows_sha256`.
        labels: Name of the label set (`all`, `base`, ...).
        labels_sha256: Hash of the class names in order.
        label_variant: `published`, `corrected` or `split` class names.
        n: Videos listed.
        content: Hash of the videos of an own dataset, whose paths do not tell which videos they are; else empty.
        root: Eight hex digits of the hash of an own dataset's place on the machine; else empty. It tells a folder that
            grew from another folder of the same name, and enters no other key than `line`.
    """

    dataset: str
    name: str
    origin: Literal["published", "generated", "own", "unknown"]
    sha256: str
    labels: str
    labels_sha256: str
    label_variant: Literal["published", "corrected", "split", "unknown"]
    n: Positive
    content: str = ""
    root: str = ""


@dataclass(frozen=True)
class Prescribed:
    """Settings of an eval as its protocol prescribes them; any other setting makes the division `open`."""

    views: Views
    transform: str = ""
    selection: str = "last"


@dataclass(frozen=True)
class Expected:
    """One evaluation that the protocol prescribes: a part in one repeat."""

    part: str
    repeat: Repeat


@dataclass(frozen=True)
class Scope:
    """Fingerprints over all fits and evals that the protocol prescribes, so that all records of a row share them.

    Args:
        lists: All training and evaluation lists with labels, content and the fits they start from.
        evaluation_lists: The evaluation lists alone.
        training_origin: Why training lists are not the protocol's: `own` lists, or a `source` that the user chose;
            empty if they are the protocol's.
        own_training_lists: Those training lists; empty if there are none.
        recipes: All recipes; empty for an untrained method.
        views: Views in training and evaluation.
        evaluation_views: Views and view transforms in evaluation, with the prescribed ones.
        expected: Every part and repeat that makes the row complete.
    """

    lists: str
    evaluation_lists: str
    training_origin: Literal["", "own", "source"]
    own_training_lists: str
    recipes: str
    views: str
    evaluation_views: str
    expected: tuple[Expected, ...]


@dataclass(frozen=True)
class ProtocolId:
    """A protocol, the part and the repeat that are measured, and what the protocol prescribes."""

    name: str
    version: Positive
    part: str
    repeat: Repeat
    prescribed: Prescribed
    scope: Scope


@dataclass(frozen=True)
class MethodId:
    """A method.

    Args:
        name: Registered name.
        version: Version of the method.
        code: Hash of the source code, see `harness.plugins.code_hash`.
        options: Values of the options that decide a fit.
        evaluation_options: Values of the options that matter only in evaluation.
        class_text: Source of the class texts: `names`, `templates`, `llm-rewritten`, `learned` or `none`.
        class_text_sha256: Hash of a file of class texts; empty without one.
        extra_data: Training data beyond the protocol's.
        checkpoint: sha256 of a file of the method's weights that was evaluated instead of a fit; empty without one.
    """

    name: str
    version: Positive
    code: str
    options: dict[str, Value] = field(default_factory=dict)
    evaluation_options: dict[str, Value] = field(default_factory=dict)
    class_text: str = "names"
    class_text_sha256: str = ""
    extra_data: tuple[str, ...] = ()
    checkpoint: str = ""


@dataclass(frozen=True)
class ModelId:
    """The CLIP model, or the model that a method brings along.

    Args:
        arch: Architecture, or the name of a method's own model.
        weights: Pretrained tag, `sha256:` and the hash of a file, or `random`.
        config: Hash of the configuration of a method's own model; empty for CLIP.
        tensors_sha256: Hash of the tensors, recorded and compared on reuse; empty while it has not been read.
        image_size: Side of the square input in pixels; 0 while the model has not been loaded.
        activation: `quick_gelu` or `gelu` for CLIP.
        text_length: Tokens of a text; 0 without a text tower.
    """

    arch: str
    weights: str
    config: str = ""
    tensors_sha256: str = ""
    image_size: Count = 0
    activation: str = ""
    text_length: Count = 0


@dataclass(frozen=True)
class Start:
    """The weights that a fit starts from.

    Args:
        kind: `clip` (the model's own), `fit` (a parent fit) or `checkpoint` (a file that an option names).
        name: Name of the parent fit, e.g. `vificlip mini_source/train`.
        key: Key of the parent fit.
        weights_sha256: Hash of the parent fit's weights file.
        complete: Whether the parent fit, and its own parent, used all listed videos.
    """

    kind: Literal["clip", "fit", "checkpoint", "unknown"] = "clip"
    name: str = ""
    key: str = ""
    weights_sha256: str = ""
    complete: bool = True


@dataclass(frozen=True)
class Training:
    """The fit that is evaluated.

    Args:
        list: Training list.
        recipe: Optimisation settings as used.
        declared: The recipe that the method declares for this protocol and dataset.
        views: Views of training clips.
        start: The weights that the fit starts from.
        precision: Precision of the fit, e.g. `float32`.
        used: Videos used, of `list.n` listed.
        weights_sha256: Hash of the fit's weights file; empty while the fit is not finished.
    """

    list: ListId
    recipe: Recipe
    declared: Recipe
    views: Views
    start: Start = field(default_factory=Start)
    precision: str = ""
    used: Count = 0
    weights_sha256: str = ""


@dataclass(frozen=True)
class Evaluation:
    """The evaluation list and how its videos are read.

    Args:
        list: Evaluation list.
        views: Views of each video.
        transform: Name of a view transform; empty for none.
        sample: Description of the sample if not the whole list is evaluated; empty otherwise.
        precision: Precision of the eval, e.g. `float32`.
        evaluated: Videos evaluated, of `list.n` listed.
    """

    list: ListId
    views: Views
    transform: str = ""
    sample: str = ""
    precision: str = ""
    evaluated: Count = 0


@dataclass(frozen=True)
class FitDescription:
    """The part of a measurement that describes its fit; what `fit.json` holds."""

    method: MethodId
    model: ModelId
    training: Training
    engine: Count


@dataclass(frozen=True)
class Measurement:
    """One number's definition: protocol, method, model, training (None for an untrained method) and evaluation."""

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
_LENGTHS = {"fit": 16, "number": 16, "cell": 16, "row": 12, "line": 12, "group": 12}


def _prefixed(place: str, entries: Mapping[str, str]) -> dict[str, str]:
    return {f"{place}.{name}": keys for name, keys in entries.items()}


def _every(cls: type, keys: str, **others: str) -> dict[str, str]:
    """The same keys for every field of a dataclass that has one purpose, such as a recipe; `others` differ."""
    return {f.name: others.get(f.name, keys) for f in dataclasses.fields(cls)}


_FIT = "fit number cell"
_ALWAYS = "number cell row line group"
FIELDS: Mapping[str, str] = {
    "engine": f"{_FIT} row group",
    "protocol.name": "cell row line group",
    "protocol.version": "cell row line group",
    "protocol.part": "cell",
    "protocol.repeat.kind": "cell",
    "protocol.repeat.index": "cell",
    # The prescribed settings decide the division. They reach row and group through `scope.evaluation_views`, because
    # the parts of a row may have views of their own.
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
    "training.list.dataset": f"{_FIT} row line",
    "training.list.name": _FIT,
    "training.list.origin": "",
    "training.list.sha256": _FIT,
    "training.list.labels": "",
    "training.list.labels_sha256": _FIT,
    "training.list.label_variant": f"{_FIT} row line",
    "training.list.n": _FIT,
    "training.list.content": _FIT,
    "training.list.root": "line",
    # Recipes and views of single fits reach row and line through `scope.recipes` and `scope.views`.
    **_prefixed("training.recipe", _every(Recipe, _FIT, selection=f"{_FIT} row line group", source="")),
    **_prefixed("training.declared", _every(Recipe, "")),
    **_prefixed("training.views", _every(Views, _FIT)),
    "training.start.kind": f"{_FIT} row line group",
    "training.start.name": "row line group",
    "training.start.key": _FIT,
    "training.start.weights_sha256": "",
    "training.start.complete": "",
    "training.precision": "row line",
    "training.used": "",
    "training.weights_sha256": "",
    "evaluation.list.dataset": _ALWAYS,
    "evaluation.list.name": "number cell",
    "evaluation.list.origin": "",
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
"""For every field of a measurement the keys that it enters, separated by blanks. A test holds it complete."""

_PATHS = {key: tuple(path for path, keys in FIELDS.items() if key in keys.split()) for key in KEY_NAMES}
_UNTRAINED = {"training.recipe.selection": "last", "training.start.kind": "clip", "training.start.name": ""}
"""Values with which an untrained method joins the group of the methods that start from the same weights."""


def _class_text_kind(value: object) -> str:
    """Prompts are a method's own; text written by a language model is knowledge that other methods do not have."""
    return "language model" if value == "llm-rewritten" else UNKNOWN if value == UNKNOWN else "names"


_AS_GROUPED: Mapping[str, Callable[[object], object]] = {"method.class_text": _class_text_kind}


def leaves(part: object, place: str = "") -> Iterator[tuple[str, object]]:
    """(path, value) of every field of a measurement or of one of its parts; fields of dataclasses are entered."""
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        for f in dataclasses.fields(part):
            path = f"{place}.{f.name}" if place else f.name
            value = getattr(part, f.name)
            yield from leaves(value, path) if dataclasses.is_dataclass(value) else [(path, value)]


def keys_of(measurement: Measurement) -> Keys:
    """All keys of a measurement."""
    values = dict(leaves(measurement))
    trained = measurement.fitted is not None
    return Keys(**{key: _hash(key, values) if trained or key != "fit" else "" for key in KEY_NAMES})


def fit_key(described: FitDescription | Measurement) -> str:
    """The key of a fit, 16 hex digits."""
    return _hash("fit", dict(leaves(described)))


def cell_key(measurement: Measurement) -> str:
    """The key of an eval, 16 hex digits."""
    return _hash("cell", dict(leaves(measurement)))


def _hash(key: str, values: Mapping[str, object]) -> str:
    chosen = {path: values[path] for path in _PATHS[key] if path in values}
    if "training" in values and key in ("number", "cell", "row", "line"):
        chosen["training"] = values["training"]  # untrained, or unknown
    if key == "group":
        unknown = values.get("training") == UNKNOWN
        chosen = {p: UNKNOWN if unknown else default for p, default in _UNTRAINED.items()} | chosen
        chosen |= {path: of(chosen[path]) for path, of in _AS_GROUPED.items()}
    return fingerprint({path: _normal(value) for path, value in chosen.items()}, _LENGTHS[key])


def _normal(value: object) -> object:
    """A value as hashed: 5 and 5.0 are one number, in options and in recipes."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, (list, tuple)):
        return [_normal(item) for item in value]
    return {name: _normal(item) for name, item in value.items()} if isinstance(value, dict) else value
