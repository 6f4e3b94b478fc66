"""The typed parts of a measurement: lists, protocol, method, model, training and evaluation.

Other modules import these classes from `results.measurement`, which also defines the keys that each field enters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from msgspec import Meta

from harness.spec import Recipe, Repeat, Views

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

UNKNOWN = "unknown"
"""Value of a text field that is not known for an imported record; a row with this value is shown but not ranked."""
RANDOM = "random"
"""Value of `ModelId.weights` for random, untrained weights."""

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
END = r"(?![\s\S])"
"""End of a pattern: `$` matches before a final newline in Python, and JSON Schema's expressions have no `\\Z`."""

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}" + END, description="64 hex digits")]
Sha256OrUnknown = Annotated[
    str, Meta(pattern=r"^([0-9a-f]{64}|unknown)" + END, description="64 hex digits, or unknown")
]  # fmt: skip
Sha256OrEmpty = Annotated[
    str, Meta(pattern=r"^([0-9a-f]{64}|unknown)?" + END, description="64 hex digits, unknown, or an empty text")
]  # fmt: skip
"""A hash that can be missing, or that is not known for an imported record."""
Fingerprint = Annotated[
    str, Meta(pattern=r"^([0-9a-f]{1,64}|unknown)?" + END, description="hex digits, unknown, or an empty text")
]  # fmt: skip
"""The first digits of a hash."""
Key = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}" + END, description="16 hex digits")]
Plain = bool | int | float | str | None
Value = Plain | tuple[Plain, ...]
"""Value of a method option, as JSON stores it."""


T = TypeVar("T")


def computed_once(part: DataclassInstance, name: str, compute: Callable[[], T]) -> T:
    """A value that follows from a part alone. It is kept with the part, which is immutable and shared by records.

    Args:
        part: The part of a measurement.
        name: Attribute that keeps the value; it starts with an underscore.
        compute: Computes the value.
    """
    kept = vars(part)
    if name not in kept:
        kept[name] = compute()
    value: T = kept[name]
    return value


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
        content: Hash of the videos where paths do not identify them (custom datasets; versions of the embedded
            benchmark); otherwise empty.
        root: Eight hex digits of the hash of the folder of a custom dataset; otherwise empty. It distinguishes a new
            version of a folder from another folder of the same name, and enters only the key `line`.
    """

    dataset: str
    name: str
    origin: Literal["published", "generated", "own", "unknown"]
    sha256: Sha256OrUnknown
    labels: str
    labels_sha256: Sha256OrUnknown
    label_variant: Literal["published", "corrected", "split", "unknown"]
    n: Positive
    content: Sha256OrEmpty = ""
    root: Fingerprint = ""


@dataclass(frozen=True)
class Prescribed:
    """Settings of an eval that the protocol prescribes; other settings put the row into the open division."""

    views: Views
    transform: str = ""
    selection: str = "last"


@dataclass(frozen=True)
class Expected:
    """One evaluation that the protocol prescribes: a part in one repeat."""

    part: str
    repeat: Repeat


FieldValue = Value | dict[str, Value] | Expected | tuple[Expected, ...]
"""Value of a field of a measurement that `results.measurement.leaves` does not enter."""


@dataclass(frozen=True)
class Scope:
    """Fingerprints over all fits and evals that the protocol prescribes, so that all records of a row share them.

    Args:
        lists: All training and evaluation lists with labels, content and the fits they start from.
        evaluation_lists: The evaluation lists alone.
        training_origin: `own` if the user gave training lists, `source` if the user chose the source dataset; empty
            for the training lists of the protocol.
        own_training_lists: The training lists that the user gave; empty without.
        recipes: All recipes; empty for an untrained method.
        views: All views in training and evaluation.
        evaluation_views: Views and view transforms in evaluation, with the prescribed ones.
        expected: All parts and repeats of a complete row.
    """

    lists: Fingerprint
    evaluation_lists: Fingerprint
    training_origin: Literal["", "own", "source"]
    own_training_lists: Fingerprint
    recipes: Fingerprint
    views: Fingerprint
    evaluation_views: Fingerprint
    expected: tuple[Expected, ...]


@dataclass(frozen=True)
class ProtocolId:
    """A protocol, the measured part and repeat, and the prescribed settings.

    Args:
        name, version: Registered name and version.
        part: The part that the evaluation list measures.
        repeat: The repeat.
        prescribed: Settings of the eval that the protocol prescribes.
        scope: Fingerprints over the whole row.
        table: Dataset of the row, if the protocol evaluates lists of other datasets as well; otherwise empty, and the
            row belongs to the dataset of its evaluation lists.
        table_root: Fingerprint of the folder of a custom dataset `table`, see `ListId.root`.
    """

    name: str
    version: Positive
    part: str
    repeat: Repeat
    prescribed: Prescribed
    scope: Scope
    table: str = ""
    table_root: Fingerprint = ""


@dataclass(frozen=True)
class MethodId:
    """A method.

    Args:
        name: Registered name.
        version: Version of the method.
        code: Hash of the source code, see `harness.plugins.code_hash`.
        options: Values of the options that decide a fit.
        evaluation_options: Values of the options that matter only in evaluation.
        class_text: Source of the class texts: `names`, `templates`, `llm-rewritten`, `human-written`, `learned` or
            `none`.
        class_text_sha256: Hash of a file of class texts; empty where an option names the file.
        extra_data: Training data beyond the protocol's.
        checkpoint: sha256 of a file of the method's weights that was evaluated instead of a fit; empty without one.
    """

    name: str
    version: Positive
    code: Sha256OrUnknown
    options: dict[str, Value] = field(default_factory=dict)
    evaluation_options: dict[str, Value] = field(default_factory=dict)
    class_text: str = "names"
    class_text_sha256: Sha256OrEmpty = ""
    extra_data: tuple[str, ...] = ()
    checkpoint: Sha256OrEmpty = ""


@dataclass(frozen=True)
class ModelId:
    """The CLIP model, or the model of a method that does not use CLIP.

    Args:
        arch: Architecture, or the name of a model other than CLIP.
        weights: Pretrained tag, `sha256:` and the hash of a file, or `random`.
        config: Hash of the configuration of a model other than CLIP; empty for CLIP.
        tensors_sha256: Hash of the tensors, recorded and compared on reuse; empty while it has not been read.
        image_size: Side of the square input in pixels; 0 while the model has not been loaded.
        activation: `quick_gelu` or `gelu` for CLIP.
        text_length: Tokens of a text; 0 without a text tower.
        tokenizer: `clip` for CLIP's byte-pair encoding, else the name of a tokenizer on the Hugging Face hub; empty
            for a model other than CLIP.
        padding: Id of the token behind the end of a text; 0 for CLIP, and while the model has not been loaded.
    """

    arch: str
    weights: str
    config: Sha256OrEmpty = ""
    tensors_sha256: Sha256OrEmpty = ""
    image_size: Count = 0
    activation: str = ""
    text_length: Count = 0
    tokenizer: str = ""
    padding: Count = 0

    @property
    def unread(self) -> ModelId:
        """The model without the fields that are known only after its weights were read."""
        return replace(self, tensors_sha256="", image_size=0, activation="", text_length=0, padding=0)


@dataclass(frozen=True)
class Start:
    """The weights that a fit starts from.

    Args:
        kind: `clip` (weights of the model), `fit` (a parent fit) or `checkpoint` (a file that an option names).
        name: Name of the parent fit, e.g. `vificlip mini_source/train`.
        key: Key of the parent fit.
        weights_sha256: Hash of the parent fit's weights file.
        complete: Whether the parent fit, and its own parent, used all listed videos.
    """

    kind: Literal["clip", "fit", "checkpoint", "unknown"] = "clip"
    name: str = ""
    key: Fingerprint = ""
    weights_sha256: Sha256OrEmpty = ""
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
        device_batch: Clips in a device batch, for a method whose BatchNorm layers use its statistics; otherwise 0,
            because a fit does not depend on it.
    """

    list: ListId
    recipe: Recipe
    declared: Recipe
    views: Views
    start: Start = field(default_factory=Start)
    precision: str = ""
    used: Count = 0
    weights_sha256: Sha256OrEmpty = ""
    device_batch: Count = 0


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
