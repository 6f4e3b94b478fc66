"""The CLIP model of a request: its name, its identity in measurements, and the views that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.base.errors import UserError
from harness.base.files import cached_file_sha256
from harness.cells.open_clip_source import architecture_config, canonical_tag
from harness.cells.own_input import PUBLISHED, OwnInput, own_input
from harness.spec import Views
from harness.spec.method_spec import OwnModel
from harness.spec.overrides import views_with
from harness.spec.views import NO_INPUT, InputSettings
from harness.weights.activation import QUICK_GELU, require_known
from harness.weights.describe import LOCAL_DIR, describe, is_path
from harness.weights.hub import HUB
from harness.weights.identity import file_identity, is_external, request_of, short_name
from harness.weights.sizes import QUICK_SUFFIX
from results.measurement import ModelId

MINI_ARCH = "mini-clip"
MINI_FRAMES = 4
MINI_INPUT = InputSettings((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "shortest", "bilinear")
"""Input of the embedded tiny CLIP (benchmarks/pretrain_mini_clip.py)."""
MINI_WEIGHTS = Path(__file__).resolve().parents[1] / "data" / "assets" / "mini_clip.safetensors"


@dataclass(frozen=True)
class BackboneChoice:
    """A backbone by name: an architecture and an open_clip tag, a weight file, or the embedded tiny CLIP.

    Args:
        arch: open_clip architecture or `mini-clip`; None for ViT-B-16, or for the architecture of a weight file.
        weights: open_clip tag, weight file, folder, `local-dir:DIR` or `hf-hub:ORG/NAME`; None for OpenAI's weights.
        activation: `quickgelu` or `gelu`; None where the weights or the architecture state it.
        base: CLIP weights that complete a file of ViFi-CLIP; None for OpenAI's.
        of_method: Whether the weights are those in the checkpoint of a method.

    Raises:
        UserError: An empty name, or weights for the embedded tiny CLIP, which has its own.
    """

    arch: str | None
    weights: str | None
    activation: str | None = None
    base: str | None = None
    of_method: bool = False

    def __post_init__(self) -> None:
        self._take_weights_from_arch()
        if self.activation is not None:
            require_known(self.activation)
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
                "Leave --weights out. Weights of a method: --checkpoint FILE. Another CLIP: --weights FILE.",
            )
        if self.weights is not None and not is_external(self.weights):
            # open_clip ignores case and dashes of a tag; two spellings must not give two cells.
            object.__setattr__(self, "weights", canonical_tag(self.arch or "ViT-B-16", self.weights))
        if self.is_mini and (self.activation is not None or self.base is not None):
            flag = "--activation" if self.activation is not None else "--base"
            raise UserError(f"{flag} is given, but --arch {MINI_ARCH} takes none.", f"Leave {flag} out.")

    def _take_weights_from_arch(self) -> None:
        """Read `--arch hf-hub:ORG/NAME` and `--arch local-dir:DIR`, open_clip's spelling, as weights."""
        if self.arch is None or not self.arch.startswith((HUB, LOCAL_DIR)):
            return
        if self.weights is not None:
            raise UserError(
                f"--arch is {self.arch!r}, which names weights, but --weights is {self.weights!r}.",
                "Leave one of them out.",
            )
        object.__setattr__(self, "weights", self.arch)
        object.__setattr__(self, "arch", None)

    def for_checkpoint(self, checkpoint: str) -> BackboneChoice:
        """The backbone of a method with a checkpoint: the CLIP in the checkpoint, if it holds all of it.

        Weights that the user names are kept; where they state no activation, that of the checkpoint applies. A
        checkpoint of ViFi-CLIP lacks tensors, which `base` completes.
        """
        if self.is_mini or not Path(checkpoint).is_file():
            return self
        described = describe(checkpoint)
        if self.weights is not None:
            stated = described.statement.activation
            open_question = self.activation is None and is_path(self.weights)
            if stated and open_question and not describe(self.weights).statement.activation:
                return replace(self, activation="quickgelu" if stated == QUICK_GELU else "gelu")
            return self
        if self.arch is None and described.file.metadata.get("arch") == MINI_ARCH:
            return BackboneChoice(MINI_ARCH, None)
        if described.is_complete:
            return replace(self, weights=checkpoint, of_method=True)
        # The family states its activation, and a base that is a file need not.
        by_family = "quickgelu" if self.base is not None and is_external(self.base) else None
        return replace(self, weights=self.base, base=None, activation=self.activation or by_family)

    @classmethod
    def for_model(cls, model: ModelId, weights: str, base: str | None = None) -> BackboneChoice:
        """The backbone of a recorded model whose weights are a file or a folder."""
        arch, activation = request_of(weights, model.arch)
        return cls(arch, weights, activation, base)

    @property
    def is_mini(self) -> bool:
        """Whether the backbone is the embedded tiny CLIP."""
        return self.arch == MINI_ARCH

    def model_id(self) -> ModelId:
        """The model as measurements state it before its weights are read: its tag, or the sha256 of its weight file."""
        if self.is_mini:
            return ModelId(MINI_ARCH, f"sha256:{cached_file_sha256(MINI_WEIGHTS)}", tokenizer="clip")
        weights = self.weights or "openai"
        name = self.arch or "ViT-B-16"
        if is_external(weights):
            name, weights = file_identity(weights, self.arch, self.activation, self.base, self.of_method)
        config = architecture_config(name) or architecture_config(name.removesuffix(QUICK_SUFFIX))
        return ModelId(name, weights, tokenizer=config.tokenizer if config else "clip")

    @property
    def own_input(self) -> OwnInput:
        """The input settings that the weights were trained with."""
        if self.is_mini:
            return OwnInput(MINI_INPUT, "its training", True)
        weights = self.weights or "openai"
        known = describe(weights).architectures if self.arch is None and is_path(weights) else ()
        return own_input(self.arch or (known or ("ViT-B-16",))[0], weights)

    @property
    def takes_published_input(self) -> bool:
        """Whether the input of a published table is the default, and not the input of the weights."""
        weights = self.weights or PUBLISHED
        # The input of a checkpoint is that of its method, see `MethodRow.published_input`.
        return self.is_mini or self.of_method or weights == PUBLISHED or not self.own_input.replaces_published(weights)

    def views_of(self, views: Views) -> Views:
        """A protocol's views as the backbone takes them: its own input, and few frames for the embedded tiny CLIP."""
        if self.is_mini:
            views = replace(views, frames=min(views.frames, MINI_FRAMES))
        if views.normalize == "imagenet" and not self.takes_published_input:
            views = replace(views, normalize="model")
        return self.with_input(views)

    def with_input(self, views: Views) -> Views:
        """Views with the settings of the weights if they are `normalize=model`, else without."""
        settings = self.own_input.settings if views.normalize == "model" else NO_INPUT
        return views if views.input == settings else replace(views, input=settings)

    def check_views(self, views: Views) -> None:
        """Refuse views that only methods with their own model take.

        Raises:
            UserError: Frames that are not normalised, or three crops of frames that are squeezed into a square.
        """
        if views.normalize == "raw":
            raise UserError(
                "CLIP takes no views with views.normalize 'raw'; expected 'imagenet', 'clip' or 'model'.",
                "raw is for methods with their own model, such as mmaction2. Use --views normalize=clip.",
            )
        if views.crops == 3 and views.input.resize not in ("", "shortest"):
            raise UserError(
                f"views.crops is 3, but the weights take frames with resize {views.input.resize} (normalize=model), "
                "which leaves nothing to crop.",
                "Use --views crops=1, or other statistics: --views normalize=clip.",
            )

    def slug(self) -> str:
        """The name of the backbone's folder below the run folder."""
        if self.is_mini:
            return MINI_ARCH
        weights = self.weights or "openai"
        if is_external(weights):
            return f"{self.model_id().arch}-{short_name(weights)}"
        return f"{self.arch or 'ViT-B-16'}-{Path(weights).stem}"


def preset_of(backbone: BackboneChoice | OwnModel) -> str:
    """The preset of recipes and options for a backbone: `mini` for the embedded tiny CLIP, else empty."""
    return "mini" if backbone.is_mini else ""


def views_for(published: Views, backbone: BackboneChoice | OwnModel, overrides: Mapping[str, str]) -> Views:
    """A protocol's views as the backbone takes them, with the user's overrides.

    Raises:
        UserError: An unknown setting or value, or views that the backbone cannot take.
    """
    return overridden(backbone.views_of(published), backbone, overrides)


def overridden(views: Views, backbone: BackboneChoice | OwnModel, overrides: Mapping[str, str]) -> Views:
    """Views of a backbone with the user's overrides.

    Raises:
        UserError: An unknown setting or value, or views that the backbone cannot take.
    """
    views = views_with(views, overrides)
    if isinstance(backbone, BackboneChoice):
        views = backbone.with_input(views)
    backbone.check_views(views)
    return views
