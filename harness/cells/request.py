"""What a user asks for: methods, protocols, datasets, backbone and overrides, resolved against this machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.base.errors import UserError, unknown_name
from harness.base.files import cached_file_sha256
from harness.data.catalog import open_dataset
from harness.data.lists.dataset import Dataset
from harness.machine.settings import Settings
from harness.spec import Recipe, Views
from harness.spec.method_spec import OwnModel
from harness.spec.options import split_method
from harness.spec.published_or_clean import recipe_values, views_values
from results.measurement import ModelId

MINI_ARCH = "mini-clip"
MINI_FRAMES = 4
EMBEDDED_DEFAULT = {"supervised": "mini_source"}


@dataclass(frozen=True)
class BackboneChoice:
    """The backbone by name: an architecture and an open_clip tag, a weight file, or the embedded tiny CLIP.

    Raises:
        UserError: Weights for the embedded tiny CLIP, which has its own, or an empty name.
    """

    arch: str | None
    weights: str | None

    def __post_init__(self) -> None:
        """Refuse what would be ignored."""
        for flag, value in (("--arch", self.arch), ("--weights", self.weights)):
            if value == "":
                raise UserError(f"{flag} is empty, expected a name.", f"Leave {flag} out for its default.")
        if self.weights == MINI_ARCH:
            raise UserError(
                f"--weights is {MINI_ARCH!r}, which is an architecture.", f"Write --arch {MINI_ARCH} and no --weights."
            )
        if self.is_mini and self.weights is not None:
            raise UserError(
                f"--weights is {self.weights!r}, but --arch {MINI_ARCH} takes none: {MINI_ARCH} is the embedded tiny "
                "CLIP with weights of its own.",
                "Leave --weights out. Weights of a method: --checkpoint FILE. "
                "Another CLIP: --arch ViT-B-16 --weights FILE.",
            )

    @property
    def is_mini(self) -> bool:
        """Whether it is the embedded tiny CLIP."""
        return self.arch == MINI_ARCH

    def model_id(self) -> ModelId:
        """The model as measurements state it before its weights are read: tag, or hash of the file wherever it lies."""
        if self.is_mini:
            weights_file = Path(__file__).resolve().parents[1] / "data" / "assets" / "mini_clip.safetensors"
            return ModelId(MINI_ARCH, f"sha256:{cached_file_sha256(weights_file)}")
        weights = self.weights or "openai"
        path = Path(weights)
        if path.is_file():
            return ModelId(self.arch or "inferred", f"sha256:{cached_file_sha256(path.resolve())}")
        return ModelId(self.arch or "ViT-B-16", weights)

    def views_of(self, views: Views) -> Views:
        """A protocol's views, with fewer frames for the embedded tiny CLIP."""
        return replace(views, frames=min(views.frames, MINI_FRAMES)) if self.is_mini else views

    def check_views(self, views: Views) -> None:
        """Refuse views that are for methods with a model of their own.

        Raises:
            UserError: Dense sampling, which fits would not follow, or frames that are not normalised.
        """
        if views.stride or views.normalize == "raw":
            raise UserError(
                f"CLIP takes no views sampled {views.sampling} and normalised {views.normalize}.",
                "dense:N and raw are for methods that bring their own model, such as mmaction2.",
            )

    def slug(self) -> str:
        """A folder name."""
        if self.is_mini:
            return MINI_ARCH
        weights = self.weights or "openai"
        return f"{self.arch or ('inferred' if Path(weights).is_file() else 'ViT-B-16')}-{Path(weights).stem}"


@dataclass(frozen=True)
class MethodChoice:
    """A method by name with raw option values, as typed by the user.

    Args:
        name: Registered name.
        options: Raw values by option.
        checkpoint: File of published or exported weights of the method, which is then evaluated and not fitted.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: str | None = None

    @property
    def checkpoint_sha256(self) -> str:
        """Content of the checkpoint, by which it counts; its place does not.

        Raises:
            UserError: There is no such file.
        """
        path = Path(self.checkpoint or "")
        if not path.is_file():
            raise UserError(f"The checkpoint {self.checkpoint} does not exist.", "Give the path of a file.")
        return cached_file_sha256(path.resolve())


@dataclass(frozen=True)
class Request:
    """Everything that decides which cells there are.

    Args:
        methods: Method rows.
        protocols: Protocol names.
        datasets: Names or paths; empty for the default of each protocol.
        backbone: Backbone choice; None for the default of each dataset.
        recipe: Overrides of recipe fields, raw text.
        views: Overrides of view fields in training and evaluation, raw text.
        eval_views: Overrides of view fields in evaluation alone, raw text.
        variant: `published`, `corrected` or `split` class names.
        lists: `published` or `own`.
        repeats: Restrict to these repeat indices; empty for all.
        shots: Restrict few-shot fits to these K; empty for all.
        source: Dataset that zero-shot transfer fits on, instead of the target's own; the row is then `open`.
    """

    methods: tuple[MethodChoice, ...]
    protocols: tuple[str, ...]
    datasets: tuple[str, ...] = ()
    backbone: BackboneChoice | None = None
    recipe: Mapping[str, str] = field(default_factory=dict)
    views: Mapping[str, str] = field(default_factory=dict)
    eval_views: Mapping[str, str] = field(default_factory=dict)
    variant: str = "published"
    lists: str = "published"
    repeats: tuple[int, ...] = ()
    shots: tuple[int, ...] = ()
    source: str | None = None


def parse_methods(texts: list[str]) -> tuple[MethodChoice, ...]:
    """Method choices of command-line texts such as `vificlip` or `vificlip:template='a video of {}'`."""
    return tuple(MethodChoice(*split_method(text)) for text in texts)


def parse_pairs(texts: list[str], what: str) -> dict[str, str]:
    """`key=value` texts as a mapping.

    Raises:
        UserError: A text has no `=`.
    """
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"{what} {text!r} is not key=value.")
        pairs[key.strip()] = value.strip()
    return pairs


def choose_datasets(
    request: Request, protocol: str, published: tuple[str, ...], settings: Settings
) -> tuple[list[str], list[str]]:
    """The datasets to run a protocol on, and those of the protocol that are not configured.

    Without configured data roots the embedded benchmark is used; with them, the protocol's datasets that are there.
    """
    if request.datasets:
        return list(request.datasets), []
    present = [name for name in published if name in settings.data]
    if present:
        return present, [name for name in published if name not in settings.data]
    return [EMBEDDED_DEFAULT.get(protocol, "mini_target")], []


def open_requested(name: str, request: Request, settings: Settings) -> Dataset:
    """The dataset of a name with the request's label variant, list origin and zero-shot source.

    Raises:
        UserError: Its configured folder is not there, which would otherwise show as missing lists or videos.
    """
    if name in settings.data and not settings.data[name].path.exists():
        raise UserError(
            f"The video folder {settings.data[name].path} of {name} does not exist.",
            f"Give the folder that holds its videos: --data {name}=DIR, or harness.toml under [data].",
        )
    dataset = open_dataset(name, settings, lists=request.lists, variant=request.variant)
    if request.source is not None and dataset.source is not None:
        dataset.source = request.source
    return dataset


def default_backbone(dataset: Dataset, request: Request) -> BackboneChoice:
    """The requested backbone, else the tiny CLIP for embedded datasets and OpenAI's ViT-B/16 for all others."""
    if request.backbone is not None:
        return request.backbone
    return BackboneChoice(MINI_ARCH, None) if dataset.kind == "embedded" else BackboneChoice("ViT-B-16", "openai")


def override(base: Any, values: Mapping[str, str], what: str) -> Any:
    """A copy of a frozen dataclass with fields set from text.

    Raises:
        UserError: An unknown field or a value of another type.
    """
    known = {f.name: f for f in dataclasses.fields(base)}
    typed: dict[str, Any] = {}
    for key, text in values.items():
        if key not in known:
            error = unknown_name(f"{what} setting", key, known)
            raise UserError(error.message, f"Settings: {', '.join(known)}.")
        current = getattr(base, key)
        try:
            typed[key] = _as_type(text, current)
        except ValueError:
            raise UserError(f"{what}.{key} is {text!r}, expected {type(current).__name__} as in {current!r}.") from None
    return replace(base, **typed)


def _as_type(text: str, current: Any) -> Any:
    if isinstance(current, bool):
        if text.lower() not in ("true", "false", "1", "0"):
            raise ValueError(text)
        return text.lower() in ("true", "1")
    if isinstance(current, tuple):
        return tuple(float(part) for part in text.split(","))
    return type(current)(text)


def views_for(published: Views, backbone: BackboneChoice | OwnModel, overrides: Mapping[str, str]) -> Views:
    """The protocol's views as the backbone takes them, with the user's overrides.

    Raises:
        UserError: An unknown setting or value, or views that the backbone cannot take.
    """
    views = backbone.views_of(published)
    changed: Views = override(views, views_values(overrides, views.clips), "views")
    backbone.check_views(changed)
    return changed


def single_view(views: Views) -> Views:
    """The view of a training clip that goes with evaluation views."""
    return Views(frames=views.frames, normalize=views.normalize, reader=views.reader)


def recipe_with(recipe: Recipe, overrides: Mapping[str, str]) -> Recipe:
    """The recipe with the user's overrides."""
    if not overrides:
        return recipe
    changed: Recipe = override(recipe, recipe_values(overrides), "recipe")
    return changed
