"""Arguments of the functions for scripts and notebooks, and their translation into requests and settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypedDict

from harness.base.errors import UserError, unknown_name
from harness.cells.backbone import BackboneChoice
from harness.cells.exported_method import exported_methods, with_checkpoint
from harness.cells.request import MethodChoice, Request, parse_methods
from harness.machine.compute_options import ComputeOptions
from harness.machine.settings import Settings, load_settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Value = str | int | float | bool | tuple[float, ...]
"""Value of a recipe or view setting."""

Names = str | Path | Sequence[str | Path]
Videos: TypeAlias = "Names | NDArray[np.uint8] | Sequence[str | Path | NDArray[np.uint8]]"
"""Files, folders, tables, and arrays of frames."""


class Folders(TypedDict, total=False):
    """Folders on this machine; the defaults are those of harness.toml and the HARNESS_* variables.

    Keys:
        runs: Folder of fits and records.
        cache: Folder of rendered videos, indexes and features.
        weights_dir: Folder with weight files of open_clip tags.
        lists_dir: Folder with published or generated lists.
        data: Dataset name -> folder of its videos.
        data_labels: Name of a table or folder with numbers as classes -> its file of class names.
    """

    runs: str | Path
    cache: str | Path
    weights_dir: str | Path
    lists_dir: str | Path
    data: Mapping[str, str | Path]
    data_labels: Mapping[str, str | Path]


class Compute(TypedDict, total=False):
    """Options of the computation, see `harness.machine.compute_options.ComputeOptions`; no part of a measurement."""

    device: str
    precision: str
    workers: int | None
    fit_clips: int | None
    eval_clips: int | None
    decode_seconds: float
    allow_missing: bool
    quiet: bool
    feature_cache: bool
    compile: str
    shard: str
    grad_checkpointing: bool
    keep_epochs: str
    track: bool


class PredictOptions(Compute, total=False):
    """Options of `predict` beside model, videos, labels and views.

    Keys:
        start, end: Part of each video in seconds.
        window, step: Length of sliding windows, and the distance between their begins, in seconds.
        top_k: Classes of a prediction (5).
        fps: Frames per second of arrays of frames, for parts in seconds.
    """

    start: float
    end: float | None
    window: float | None
    step: float | None
    top_k: int
    fps: float


class RunOptions(Folders, Compute, total=False):
    """Options of `run` beside method, protocol and dataset.

    Keys:
        arch, weights: Backbone: an open_clip architecture and tag or weight file, or `mini-clip`.
        activation: `quickgelu` or `gelu`, for a weight file that does not state it.
        base: CLIP weights that complete a file of ViFi-CLIP.
        checkpoint: Published or exported weights of the (single) method, which is then evaluated and not fitted.
        recipe, views, eval_views: Settings to override; `eval_views` changes the evaluation alone.
        label_set: `published`, `corrected` or `split` class names.
        lists: `published` or `own` lists.
        repeats, shots, parts: Restrict to these repeats, to these K of few-shot fits, and to evals of these parts.
        seeds: Number of fits of each training list, from fixed seeds, as repeats of kind `seed`.
        limit: Videos of each class in all lists, a sample that is not ranked; the default is whole lists.
        source: Dataset on which zero-shot transfer fits.
        plugins: Files of methods and protocols to load first.
        keep_going: Go on with other cells after a failure.
        force: Compute finished cells anew.
    """

    arch: str
    weights: str | Path
    activation: str
    base: str | Path
    checkpoint: str | Path
    recipe: Mapping[str, Value]
    views: Mapping[str, Value]
    eval_views: Mapping[str, Value]
    label_set: str
    lists: str
    repeats: Sequence[int]
    shots: Sequence[int]
    seeds: int
    parts: Sequence[str]
    limit: int
    source: str
    plugins: Sequence[str | Path]
    keep_going: bool
    force: bool


def check_names(function: str, given: Mapping[str, object], known: type) -> None:
    """Refuse an argument that the function does not have, with the nearest name."""
    for name in given:
        if name not in known.__annotations__:
            raise unknown_name(f"argument of {function}()", name, known.__annotations__)


def texts(values: Names) -> tuple[str, ...]:
    """One or several names or paths as texts, without repetitions."""
    several = (values,) if isinstance(values, str | Path) else values
    return tuple(dict.fromkeys(str(value) for value in several))


def pairs(values: Mapping[str, Value]) -> dict[str, str]:
    """Settings as the texts that the command line takes."""
    return {
        name: ",".join(map(str, value)) if isinstance(value, tuple) else str(value) for name, value in values.items()
    }


def settings_of(given: Folders | RunOptions) -> Settings:
    """Settings of this machine, with the folders that are given."""
    flags = {f"data.{name}": str(folder) for name, folder in given.get("data", {}).items()}
    flags |= {f"labels.{name}": str(file) for name, file in given.get("data_labels", {}).items()}
    for flag, folder in (
        ("runs", given.get("runs")), ("cache", given.get("cache")), ("weights", given.get("weights_dir")),
        ("lists", given.get("lists_dir")),
    ):  # fmt: skip
        if folder is not None:
            flags[flag] = str(folder)
    return load_settings(flags)


def compute_options(options: Compute | RunOptions | PredictOptions) -> ComputeOptions:
    """The options of the computation; those that are not given have their defaults."""
    given = Compute(**{name: options[name] for name in Compute.__annotations__ if name in options})  # type: ignore[literal-required, typeddict-item]
    return ComputeOptions(**given)


def request_of(
    method: str | Sequence[str], protocol: str | Sequence[str], dataset: Names, options: RunOptions
) -> Request:
    """The request that the arguments of `run` describe."""
    checkpoint = options.get("checkpoint")
    methods: tuple[MethodChoice, ...] = parse_methods(list(texts(method))) or exported_methods(
        None if checkpoint is None else str(checkpoint)
    )
    if checkpoint is not None:
        if len(methods) != 1:
            raise UserError(
                f"checkpoint needs exactly one method, found {len(methods)}.", "Call run() once for each method."
            )
        methods = (with_checkpoint(methods[0], str(checkpoint)),)
    arch, activation = options.get("arch"), options.get("activation")
    weights, base = (None if path is None else str(path) for path in (options.get("weights"), options.get("base")))
    backbone = BackboneChoice(arch, weights, activation, base)
    return Request(
        methods=methods,
        protocols=texts(protocol),
        datasets=texts(dataset),
        backbone=backbone if arch or weights or activation or base else None,
        recipe=pairs(options.get("recipe", {})),
        views=pairs(options.get("views", {})),
        eval_views=pairs(options.get("eval_views", {})),
        variant=options.get("label_set", "published"),
        lists=options.get("lists", "published"),
        repeats=tuple(options.get("repeats", ())),
        shots=tuple(options.get("shots", ())),
        seeds=options.get("seeds", 0),
        parts=tuple(options.get("parts", ())),
        limit=options.get("limit", 0),
        source=options.get("source"),
    )
