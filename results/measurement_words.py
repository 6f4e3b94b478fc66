"""A measurement in words: signature, division, differences, and reasons why its row is not ranked."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass

from harness.spec import Recipe, Views
from results.measurement import (
    FIELDS,
    RANDOM,
    UNKNOWN,
    FieldValue,
    FitDescription,
    ListId,
    Measurement,
    ModelId,
    Part,
    Plain,
    Training,
    Value,
    computed_once,
    keys_of,
    leaves,
)
from results.probes import UNRANKED as UNRANKED_PROBE
from results.probes import is_probe

NOT_SHOWN = (
    "protocol.part", "protocol.repeat.", "protocol.scope.", "protocol.prescribed.", "training.declared.",
    "training.recipe.source", "training.list.root", "evaluation.list.root", "protocol.table_root",
    "training.weights_sha256", "training.start.weights_sha256", "training.start.complete",
)  # fmt: skip
"""Fields that `differences` omits: part and repeat of a record, and fields that do not describe how it was measured. A
name that ends in a dot stands for all fields below it."""
EMBEDDED_ARCH = "mini-clip"
"""Architecture of the embedded tiny CLIP, whose weights are a file of the package."""
WRITTEN_TEXTS = {"llm-rewritten": "class text of a language model", "human-written": "class text written by people"}
"""Class texts that are more than names and templates, in words."""
_LIST_NAMES = ("dataset", "name", "label_variant")
_FOLLOWS = {
    "method.version": ("method.name",), "method.code": ("method.name",), "training.start.key": ("training.start.name",),
    "model.tensors_sha256": ("model.arch", "model.weights"),
    **{
        f"{side}.list.{name}": tuple(f"{side}.list.{shown}" for shown in _LIST_NAMES)
        for side in ("training", "evaluation") for name in ("labels", "sha256", "labels_sha256", "n", "content")
    },
}  # fmt: skip
"""Fields that `differences` omits if one of the listed fields differs, from which they follow."""
_LABELS = {
    "engine": "engine version", "protocol.name": "protocol", "protocol.version": "protocol version",
    "protocol.table": "dataset of the row",
    "method.name": "method", "method.version": "method version", "method.code": "code",
    "method.class_text": "class text", "method.class_text_sha256": "class text file",
    "method.extra_data": "extra data", "method.checkpoint": "checkpoint", "model.arch": "backbone",
    "model.weights": "weights", "model.config": "model configuration", "model.tensors_sha256": "tensors of the weights",
    "model.image_size": "image size", "model.text_length": "text length", "model.tokenizer": "tokenizer",
    "model.padding": "padding of texts", "training.precision": "precision of the fit",
    "training.device_batch": "device batch of the fit",
    "training.used": "training videos used", "training.start.kind": "start", "training.start.name": "parent fit",
    "training.start.key": "parent fit's key", "evaluation.evaluated": "videos evaluated",
    "evaluation.precision": "precision of the eval", "evaluation.transform": "view transform",
    "evaluation.sample": "sample",
}  # fmt: skip
_PLACES = {
    "training.recipe.": "", "training.views.": "training views ", "evaluation.views.": "views ",
    "training.list.": "training list ", "evaluation.list.": "evaluation list ", "model.": "model ",
}  # fmt: skip
_HASHES = ("sha256", ".code", ".content", ".key", ".checkpoint", ".config")


def _is_option(path: str) -> bool:
    return path.startswith(("method.options.", "method.evaluation_options."))


@dataclass(frozen=True)
class Difference:
    """A field in which two measurements differ, with both values; None if a measurement has no such field."""

    path: str
    a: FieldValue
    b: FieldValue

    @property
    def label(self) -> str:
        """Readable name of the field, e.g. `lr` or `views frames`."""
        if _is_option(self.path):
            return f"option {self.path.split('.', 2)[2]}"
        if self.path in _LABELS:
            return _LABELS[self.path]
        prefix = next((p for p in _PLACES if self.path.startswith(p)), "")
        return _PLACES.get(prefix, "") + self.path.removeprefix(prefix).replace("_", " ")

    def value(self, value: FieldValue) -> str:
        """One of the two values as text; of hashes the first eight digits."""
        if value is None:
            return "none"
        text = plain(value) or "none"
        if _is_option(self.path) or text in ("none", UNKNOWN):
            return text
        return text.removeprefix("sha256:")[:8] if self.path.endswith(_HASHES) or text.startswith("sha256:") else text

    @property
    def keyed(self) -> bool:
        """Whether the field enters the key of a fit or an eval; all other fields are known only after computation."""
        path = ".".join(self.path.split(".")[:2]) if _is_option(self.path) else self.path
        return bool({"fit", "cell"} & set(FIELDS.get(path, "cell").split()))

    @property
    def short(self) -> str:
        """The label with the value of the first side, e.g. `lr 8e-06`."""
        return f"{self.label} {self.value(self.a)}"

    def __str__(self) -> str:
        return f"{self.label} {self.value(self.a)} against {self.value(self.b)}"


def plain(value: FieldValue) -> str:
    """A value as text: `8e-06`, `true`, `0.9, 0.98`; texts are unchanged."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e16:
            return str(int(value))  # 5 and 5.0 are one number
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    if isinstance(value, tuple):
        return ", ".join(plain(item) for item in value)
    return "none" if value is None else str(value)


def differences(a: Measurement, b: Measurement, omit: Collection[str] = ()) -> tuple[Difference, ...]:
    """All fields in which two measurements differ, in the order of the definition.

    Args:
        a: One measurement.
        b: The other.
        omit: Paths of fields to omit, e.g. `method.name`.

    Options that only one of two methods has are omitted, because they define the methods. The training of a trained
    method is not compared with an untrained method. Hashes are omitted if a name shows the difference.
    """
    sides = [_values(a), _values(b)]
    same_method = a.method.name == b.method.name
    same_kind = (a.fitted is None) == (b.fitted is None)
    changes = []
    for path in dict.fromkeys([*sides[0], *sides[1]]):
        if _same(path, *sides) or path in omit or _not_shown(path):
            continue
        if not same_kind and path.startswith("training"):
            continue
        if _is_option(path) and not same_method and not all(path in side for side in sides):
            continue
        if any(not _same(principal, *sides) for principal in _FOLLOWS.get(path, ())):
            continue
        changes.append(Difference(path, *(side.get(path) for side in sides)))
    if not same_kind and same_method:
        changes.append(Difference("training", _training_word(a), _training_word(b)))
    return tuple(changes)


def differences_of_fits(a: FitDescription, b: FitDescription) -> tuple[Difference, ...]:
    """All fields in which two fits of one method differ, in the order of the definition."""
    sides = [_values(a), _values(b)]
    paths = [path for path in dict.fromkeys([*sides[0], *sides[1]]) if not (_same(path, *sides) or _not_shown(path))]
    shown = [path for path in paths if all(_same(name, *sides) for name in _FOLLOWS.get(path, ()))]
    return tuple(Difference(path, sides[0].get(path), sides[1].get(path)) for path in shown)


def _same(path: str, a: Mapping[str, FieldValue], b: Mapping[str, FieldValue]) -> bool:
    """True if both sides have the same value; True and 1 differ, as they do in the keys."""
    values = a.get(path), b.get(path)
    bools = [isinstance(value, bool) for value in values]
    return (path in a) == (path in b) and values[0] == values[1] and bools[0] == bools[1]


def _not_shown(path: str) -> bool:
    return any(path == name or (name.endswith(".") and path.startswith(name)) for name in NOT_SHOWN)


def _training_word(m: Measurement) -> str:
    return "trained" if m.fitted else UNKNOWN if m.training == UNKNOWN else "untrained"


def _values(m: Measurement | FitDescription) -> dict[str, FieldValue]:
    """Values by path; each option has a path."""
    values: dict[str, FieldValue] = {}
    for path, value in leaves(m):
        if isinstance(value, dict):
            values |= {f"{path}.{name}": option for name, option in value.items()}
        else:
            values[path] = value
    return values


def recipe_changes(training: Training | None) -> Mapping[str, Value]:
    """The values of the recipe settings that differ from the declared recipe."""
    return {} if training is None else computed_once(training, "_changes", lambda: _changes(training))


def _changes(training: Training) -> dict[str, Value]:
    used, declared = training.recipe, training.declared
    names = [f.name for f in fields(Recipe) if f.name != "source"]
    return {name: getattr(used, name) for name in names if getattr(used, name) != getattr(declared, name)}


def own_recipe(training: Training | None) -> bool:
    """True if the declared recipe of the method is not a published recipe."""
    return training is not None and training.declared.source.startswith("own")


def open_reasons(m: Measurement) -> tuple[str, ...]:
    """The settings that put a measurement into the open division, in words; empty in the closed division."""
    # A board asks several times for each record.
    return computed_once(m, "_open_reasons", lambda: tuple(_open_reasons(m)))


def _open_reasons(m: Measurement) -> Iterator[str]:
    prescribed, evaluation = m.protocol.prescribed, m.evaluation
    if evaluation.list.origin == "own":
        yield "own evaluation list"
    if m.protocol.scope.training_origin:
        yield {"own": "own training list", "source": "a chosen source"}[m.protocol.scope.training_origin]
    if evaluation.views != prescribed.views:
        yield f"views {views_text(evaluation.views)}, prescribed {views_text(prescribed.views)}"
    if evaluation.transform != prescribed.transform:
        yield f"view transform {evaluation.transform or 'none'}, prescribed {prescribed.transform or 'none'}"
    if evaluation.sample:
        yield f"sample: {evaluation.sample}"
    if m.method.extra_data:
        yield f"extra data: {', '.join(m.method.extra_data)}"
    if m.method.checkpoint:
        yield "weights of a checkpoint"
    if m.method.class_text in WRITTEN_TEXTS:
        yield WRITTEN_TEXTS[m.method.class_text]
    if (fitted := m.fitted) and fitted.recipe.selection != prescribed.selection:
        # An epoch by number can only be preferred to the last one by its scores on an evaluation list.
        chosen = " (chosen on the evaluation list)" if fitted.recipe.chosen_epoch else ""
        yield f"checkpoint selection {fitted.recipe.selection}{chosen}, prescribed {prescribed.selection}"


def division(m: Measurement) -> str:
    """`closed` (all settings as the protocol prescribes) or `open` (all other rows)."""
    return "open" if open_reasons(m) else "closed"


def incomplete(m: Measurement) -> tuple[str, ...]:
    """Reasons why a measurement is incomplete: missing videos, an incomplete parent fit, random weights."""
    reasons = []
    missing = m.evaluation.list.n - m.evaluation.evaluated
    if missing > 0 and not m.evaluation.sample:
        reasons.append(f"{missing} of {m.evaluation.list.n} videos missing")
    if (training := m.fitted) is not None:
        if training.used < training.list.n:
            reasons.append(f"fitted on {training.used} of {training.list.n} videos")
        if not training.start.complete:
            reasons.append(f"the parent fit {training.start.name} lacked videos")
    if m.model.weights == RANDOM:
        reasons.append("random weights: only the pipeline is shown")
    return tuple(reasons)


def mean_lacks(m: Measurement) -> tuple[str, ...]:
    """Reasons why a score does not stand for its whole list: those of `incomplete`, and a sample of the list."""
    sample = (f"a sample of the list: {m.evaluation.sample}",) if m.evaluation.sample else ()
    return (*incomplete(m), *sample)


def incomplete_mark(reasons: Sequence[str]) -> str:
    """Text that follows a printed score: ` [incomplete: REASONS]`; empty without reasons."""
    return f" [incomplete: {'; '.join(reasons)}]" if reasons else ""


def unknown_fields(m: Measurement) -> tuple[str, ...]:
    """Paths of the fields whose value is `unknown`."""
    parts = ((field.name, getattr(m, field.name)) for field in fields(Measurement))
    return tuple(path for name, part in parts for path in _unknown_of(name, part))


def _unknown_of(name: str, part: Part | Plain) -> tuple[str, ...]:
    """Paths of the unknown fields of a part, which is the field `name` of a measurement."""
    if not is_dataclass(part):
        return (name,) if part == UNKNOWN else ()

    def search() -> tuple[str, ...]:
        return tuple(f"{name}.{path}" for path, value in leaves(part) if value == UNKNOWN)

    return computed_once(part, "_unknown", search)


def unranked_reasons(m: Measurement) -> tuple[str, ...]:
    """Reasons why a row with this measurement is not ranked; empty if it can be ranked."""
    reasons = list(incomplete(m))
    if unknown := unknown_fields(m):
        reasons.append(f"unknown: {', '.join(Difference(path, None, None).label for path in unknown)}")
    if m.evaluation.sample:
        reasons.append(f"a sample of the list: {m.evaluation.sample}")
    if is_probe(m):
        reasons.append(UNRANKED_PROBE)
    changes = recipe_changes(m.fitted)
    if changes and division(m) == "closed":
        reasons.append(f"changed recipe: {recipe_text(changes)}")
    return tuple(reasons)


def recipe_text(changes: Mapping[str, Value]) -> str:
    """`name=value` of changed recipe settings, sorted."""
    return ", ".join(f"{name}={plain(changes[name])}" for name in sorted(changes))


def views_text(views: Views) -> str:
    """`frames x clips x crops`, then each setting that differs from the published single view: `16x4x3-random`."""
    return str(views)


def model_text(model: ModelId) -> str:
    """Architecture and weights, e.g. `ViT-B-16/openai`; of a weight file the first eight digits of its hash."""
    weights = f"file-{model.weights[7:15]}" if model.weights.startswith("sha256:") else model.weights
    return model.arch if model.arch == EMBEDDED_ARCH else f"{model.arch}/{weights}"


def signature(m: Measurement) -> str:
    """One line with all settings that decide whether two scores can be compared.

    Fields are separated by `|`; `|` and backslashes in values are escaped by a backslash. The last field is the row
    key, so that different rows have different signatures.
    """
    training, protocol, listed = m.fitted, m.protocol, m.evaluation.list
    parts = (
        f"{protocol.name}.{protocol.version}",
        f"{listed.dataset}.{listed.name}{_list_marks(listed, m)}",
        f"{m.method.name}.{m.method.version}",
        model_text(m.model),
        views_text(m.evaluation.views) + (f"-{m.evaluation.transform}" if m.evaluation.transform else ""),
        f"text:{m.method.class_text}",
        f"set:{_options(m)}",
        f"init:{start_text(m)}",
        f"recipe:{_recipe(m)}",
        f"select:{training.recipe.evaluated if training else 'last'}",
        f"{protocol.repeat.kind}.{protocol.repeat.index}",
        division(m),
        f"row:{keys_of(m).row}",
    )
    return "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in parts)


def _list_marks(listed: ListId, m: Measurement) -> str:
    marks = "" if listed.label_variant == "published" else f"+{listed.label_variant}"
    marks += "+own" if listed.origin == "own" else ""
    marks += f"+{origin}-training" if (origin := m.protocol.scope.training_origin) else ""
    return marks + (f"+sample({m.evaluation.sample})" if m.evaluation.sample else "")


def _options(m: Measurement) -> str:
    values = {**m.method.options, **m.method.evaluation_options}
    return ",".join(f"{name}={plain(values[name])}" for name in sorted(values)) or "-"


def start_text(m: Measurement) -> str:
    """The weights that a method starts from: `clip`, `fit NAME`, `checkpoint-1a2b3c4d`, `random`."""
    if m.method.checkpoint:
        return f"checkpoint-{m.method.checkpoint[:8]}"
    if m.fitted is None:
        return RANDOM if m.model.weights == RANDOM else "clip"
    start = m.fitted.start
    return f"fit {start.name}" if start.kind == "fit" else start.kind


def _recipe(m: Measurement) -> str:
    if m.fitted is None:
        return UNKNOWN if m.training == UNKNOWN else "none"
    changes = recipe_changes(m.fitted)
    origin = "own" if own_recipe(m.fitted) else "published"
    return f"{origin}+{recipe_text(changes).replace(', ', '+')}" if changes else origin
