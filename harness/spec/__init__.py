"""The words of the benchmark as plain data: label sets, lists, views, recipes, fits, evals, protocols, method cards.

Nothing here imports torch, so a protocol can be listed, planned and checked without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar
from typing import Protocol as StructuralType

from harness.base.canonical import canonical_json, fingerprint, labels_sha256, rows_sha256
from harness.base.errors import UserError


@dataclass(frozen=True)
class LabelSet:
    """Ordered class names; the id of a class is its position.

    Args:
        names: Class names, distinct and not blank.
        variant: `published`; `corrected` where published names are wrong; `split` where they are words run together.
    """

    names: tuple[str, ...]
    variant: str = "published"

    def __post_init__(self) -> None:
        if not self.names:
            raise UserError("A label set needs at least one class name, found none.")
        blank = [i for i, name in enumerate(self.names) if not name.strip()]
        if blank:
            raise UserError(f"Class {blank[0]} has a blank name.", "Give every class a name of at least one character.")
        seen: dict[str, int] = {}
        for i, name in enumerate(self.names):
            if name in seen:
                raise UserError(f"Class name {name!r} occurs twice, as id {seen[name]} and id {i}.")
            seen[name] = i

    def __len__(self) -> int:
        return len(self.names)

    @property
    def sha256(self) -> str:
        """sha256 of the lines `id,name` (LF). Independent of quoting and line ends of the file they came from."""
        return labels_sha256(self.names)


@dataclass(frozen=True)
class VideoList:
    """Video paths with label ids: what is trained on or evaluated on.

    Args:
        name: The list's name in its dataset, e.g. `base_s1`.
        rows: (path, label id) in list order. Paths are the list's own, not those of the local disk.
        origin: `published`, `generated` or `own`: where the rows come from. `own` is never ranked with the others.
    """

    name: str
    rows: tuple[tuple[str, int], ...]
    origin: str = "generated"

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths, in list order."""
        return tuple(path for path, _ in self.rows)

    @property
    def sha256(self) -> str:
        """sha256 of the lines `path label` (LF): the list's content, whatever its line ends on disk."""
        return rows_sha256(self.rows)


@dataclass(frozen=True)
class Views:
    """How a video is looked at: frames x temporal clips x spatial crops, and how they are sampled.

    Args:
        frames: Frames per view.
        clips: Temporal views.
        crops: Spatial crops, 1 (centre) or 3 (left, right, middle).
        sampling: `centre` (single view), for several clips `random` (published: the training sampler, drawn from a
            recorded seed) or `uniform` (deterministic, interleaved); `dense:N`, for methods that bring their own model:
            every N-th frame, clips evenly spaced over the video.
        normalize: `imagenet` (published for ViFi-CLIP and X-CLIP) or `clip`; `raw`, for methods that bring their own
            model and its statistics: 0..255 as decoded.
        reader: `decord` (published: random access) or `exact` (frames equal to a sequential decode).
    """

    frames: int = 32
    clips: int = 1
    crops: int = 1
    sampling: str = "centre"
    normalize: str = "imagenet"
    reader: str = "decord"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("crops", (1, 3)),
            ("sampling", ("centre", "random", "uniform", "dense:N")),
            ("normalize", ("imagenet", "clip", "raw")),
            ("reader", ("decord", "exact")),
        ):
            if name == "sampling" and self.stride:
                continue
            if getattr(self, name) not in allowed or self.sampling == "dense:N":
                raise UserError(f"views.{name} is {getattr(self, name)!r}, expected one of {allowed}.")
        if self.frames < 1 or self.clips < 1:
            raise UserError(f"views need at least one frame and one clip, found {self.frames} x {self.clips}.")
        if self.clips > 1 and self.sampling == "centre":
            raise UserError(f"{self.clips} clips need sampling 'random' (published) or 'uniform', found 'centre'.")

    @property
    def stride(self) -> int:
        """N of `dense:N`; 0 for the other ways of sampling."""
        kind, _, stride = self.sampling.partition(":")
        return int(stride) if kind == "dense" and stride.isdecimal() else 0

    @property
    def count(self) -> int:
        """Views per video: clips x crops."""
        return self.clips * self.crops

    def __str__(self) -> str:
        text = f"{self.frames}x{self.clips}x{self.crops}"
        if self.sampling != "centre":
            text += f"-{self.sampling}"
        if self.normalize != "imagenet":
            text += f"-{self.normalize}norm"
        if self.reader != "decord":
            text += f"-{self.reader}"
        return text


@dataclass(frozen=True)
class Recipe:
    """The optimisation settings of a method for one protocol and dataset.

    The effective batch is `micro_batch * ranks * accumulate` clips whatever the number of processes at run time.
    `ranks` and `accumulate` stay explicit because the published schedule counts micro-iterations per rank and the
    published blending mixes inside one micro-batch: "the same total batch" would be another method.

    Args:
        epochs: Passes over the training list.
        lr: Peak learning rate of the main parameter group.
        warmup_epochs: Linear warm-up. The cosine is evaluated at the absolute iteration, as published.
        micro_batch: Clips per blending group (4 in all published ViFi-CLIP recipes).
        ranks: Processes of the published run.
        accumulate: Micro-batches per update and rank.
        augmentation: `published` or `none`.
        smoothing, mixup, cutmix, switch: Label smoothing, Beta parameters, and the probability of CutMix over Mixup.
            With mixup = cutmix = 0 nothing is blended.
        views_cached: Augmented views per clip whose frame features are kept, epoch e using view e modulo this number;
            0 for fresh views in every epoch. Needs a frozen vision tower and no blending, and is another method.
        schedule: `absolute_cosine` (X-CLIP and ViFi-CLIP), `stepped_cosine` (ActionCLIP) or `constant`.
        seed: Base seed of every random draw of the fit.
        source: Where the settings are published, or `own` with a reason.
    """

    epochs: int
    lr: float
    warmup_epochs: float = 5
    micro_batch: int = 4
    ranks: int = 8
    accumulate: int = 2
    weight_decay: float = 0.001
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-8
    min_lr_ratio: float = 0.01
    augmentation: str = "published"
    flip: bool = True
    smoothing: float = 0.1
    mixup: float = 0.8
    cutmix: float = 1.0
    switch: float = 0.5
    schedule: str = "absolute_cosine"
    seed: int = 1024
    selection: str = "last"
    source: str = "own"
    views_cached: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "micro_batch", "ranks", "accumulate"):
            if getattr(self, name) < 1:
                raise UserError(f"recipe.{name} is {getattr(self, name)}, expected at least 1.")
        for name in ("lr", "warmup_epochs", "weight_decay", "smoothing", "mixup", "cutmix", "switch", "min_lr_ratio"):
            value = getattr(self, name)
            if not 0 <= value < float("inf") or (name == "lr" and not value):
                least = "above" if name == "lr" else "from"
                raise UserError(f"recipe.{name} is {value:g}, expected a number {least} 0.")
        for name, allowed in (
            ("augmentation", ("published", "none")),
            ("schedule", ("absolute_cosine", "stepped_cosine", "constant")),
            ("selection", ("last",)),
        ):
            if getattr(self, name) not in allowed:
                raise UserError(f"recipe.{name} is {getattr(self, name)!r}, expected one of {', '.join(allowed)}.")

    @property
    def effective_batch(self) -> int:
        """Clips per parameter update."""
        return self.micro_batch * self.ranks * self.accumulate

    def as_dict(self) -> dict[str, Any]:
        """The settings by name, JSON-ready."""
        return {**asdict(self), "betas": list(self.betas)}


@dataclass(frozen=True)
class ParentFit:
    """Another fit that a method starts from, named by what identifies it on the dataset at hand.

    Args:
        method: The method that is fitted first.
        protocol: Whose first fit for the dataset is meant: `zero_shot` fits on the whole training list of its source.
    """

    method: str
    protocol: str


@dataclass(frozen=True)
class ListRef:
    """A list of a dataset together with the label set its ids point into, all by name."""

    dataset: str
    list: str
    labels: str


@dataclass(frozen=True)
class Repeat:
    """One of several measurements averaged in a table.

    Args:
        kind: `test_split`, `class_subset`, `train_subset`, `seed` or `single`.
        index: 1, 2, 3, ...
    """

    kind: str = "single"
    index: int = 1


@dataclass(frozen=True)
class Fit:
    """One training run: what it trains on and which repeat it is."""

    train: ListRef
    repeat: Repeat = Repeat()
    shots: int | None = None


@dataclass(frozen=True)
class Eval:
    """One scored list of one fit (or of the untrained method).

    Args:
        part: What the list measures: `base`, `novel`, `all`, `joint`. Columns of a table are made of parts.
        test: The list and its label set.
        repeat: Set where the repeats are evaluation lists of one fit (zero-shot test splits); otherwise the fit's.
        views: Views of this evaluation, None for the protocol's.
    """

    part: str
    test: ListRef
    repeat: Repeat | None = None
    views: Views | None = None


@dataclass(frozen=True)
class Column:
    """A column of a protocol's table: the mean of one part over repeats, or the harmonic mean of two such means."""

    name: str
    part: str = ""
    metric: str = "top1"
    harmonic_of: tuple[str, str] | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form, stored in each record so that reports need not import the protocol."""
        row: dict[str, Any] = {"name": self.name}
        if self.harmonic_of:
            row["harmonic_of"] = list(self.harmonic_of)
        else:
            row.update(part=self.part, metric=self.metric)
        return row


@dataclass(frozen=True)
class ZeroShotTest:
    """One of the evaluation lists averaged in a zero-shot score, with the kind and index of its repeat."""

    list: str
    labels: str
    repeat_kind: str
    repeat_index: int


class DatasetFacts(StructuralType):
    """What a protocol may know of a dataset: names, not videos."""

    name: str
    source: str | None
    zero_shot_tests: tuple[ZeroShotTest, ...]

    def has_list(self, name: str) -> bool:
        """Whether the dataset defines a list of this name."""
        ...


class Protocol(ABC):
    """Which lists are fitted on, which are evaluated, and how repeats aggregate.

    A subclass is pure data plus two generators; it never touches videos, methods or scores.
    """

    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    title: ClassVar[str] = ""
    datasets: ClassVar[tuple[str, ...]] = ()
    views: ClassVar[Views] = Views()
    columns: ClassVar[tuple[Column, ...]] = ()

    @abstractmethod
    def fits(self, dataset: DatasetFacts) -> Iterable[Fit]:
        """The training runs that a dataset's numbers need, in order. Equal fits of two datasets are run once."""

    @abstractmethod
    def evals(self, dataset: DatasetFacts, fit: Fit) -> Iterable[Eval]:
        """The lists on which the model of `fit` is scored."""


@dataclass(frozen=True)
class MethodCard:
    """What a method is, for people: shown by `show`, on the board and in every record.

    Args:
        title: Display name.
        paper: Address or citation.
        class_text: Where class texts come from: `names`, `templates`, `llm-rewritten`, `learned`, or `none`
            for a fixed set of classes.
        extra_data: Training data beyond what the protocol hands out.
        family: `adapting` or `tuning` (the paper's grouping), `unimodal`, or empty.
        source: What the implementation follows, e.g. repository and file.
        unverified: What could not be checked against the original, in words; empty if nothing.
    """

    title: str
    paper: str = ""
    class_text: str = "names"
    extra_data: tuple[str, ...] = ()
    family: str = ""
    source: str = ""
    unverified: str = ""


def changed(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The differences between two nested mappings as `path old -> new`, sorted: why a cell is stale."""
    rows: list[str] = []
    for key in sorted(set(a) | set(b)):
        old, new = a.get(key), b.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            rows += changed(old, new, f"{prefix}{key}.")
        elif old != new:
            rows.append(f"{prefix}{key} {old!r} -> {new!r}")
    return rows


__all__ = [
    "Column",
    "DatasetFacts",
    "Eval",
    "Fit",
    "LabelSet",
    "ListRef",
    "MethodCard",
    "ParentFit",
    "Protocol",
    "Recipe",
    "Repeat",
    "VideoList",
    "Views",
    "ZeroShotTest",
    "canonical_json",
    "changed",
    "field",
    "fields",
    "fingerprint",
    "replace",
]
