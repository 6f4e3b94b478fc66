"""The CLIP model of a request: its name, its identity in measurements, and the views that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.base.errors import UserError
from harness.base.files import cached_file_sha256
from harness.spec import Views
from harness.spec.method_spec import OwnModel
from harness.spec.overrides import views_with
from results.measurement import ModelId

MINI_ARCH = "mini-clip"
MINI_FRAMES = 4
MINI_WEIGHTS = Path(__file__).resolve().parents[1] / "data" / "assets" / "mini_clip.safetensors"


@dataclass(frozen=True)
class BackboneChoice:
    """A backbone by name: an architecture and an open_clip tag, a weight file, or the embedded tiny CLIP.

    Args:
        arch: open_clip architecture or `mini-clip`; None for ViT-B-16, or for the architecture of a weight file.
        weights: open_clip tag or weight file; None for OpenAI's weights.

    Raises:
        UserError: An empty name, or weights for the embedded tiny CLIP, which has its own.
    """

    arch: str | None
    weights: str | None

    def __post_init__(self) -> None:
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
        """Whether the backbone is the embedded tiny CLIP."""
        return self.arch == MINI_ARCH

    def model_id(self) -> ModelId:
        """The model as measurements state it before its weights are read: its tag, or the sha256 of its weight file."""
        if self.is_mini:
            return ModelId(MINI_ARCH, f"sha256:{cached_file_sha256(MINI_WEIGHTS)}")
        weights = self.weights or "openai"
        path = Path(weights)
        if path.is_file():
            return ModelId(self.arch or "inferred", f"sha256:{cached_file_sha256(path.resolve())}")
        return ModelId(self.arch or "ViT-B-16", weights)

    def views_of(self, views: Views) -> Views:
        """A protocol's views, with fewer frames for the embedded tiny CLIP."""
        return replace(views, frames=min(views.frames, MINI_FRAMES)) if self.is_mini else views

    def check_views(self, views: Views) -> None:
        """Refuse views that only methods with their own model take.

        Raises:
            UserError: Dense sampling, which fits do not support, or frames that are not normalised.
        """
        if views.stride or views.normalize == "raw":
            raise UserError(
                f"CLIP takes no views sampled {views.sampling} and normalised {views.normalize}.",
                "dense:N and raw are for methods with their own model, such as mmaction2.",
            )

    def slug(self) -> str:
        """The name of the backbone's folder below the run folder."""
        if self.is_mini:
            return MINI_ARCH
        weights = self.weights or "openai"
        return f"{self.arch or ('inferred' if Path(weights).is_file() else 'ViT-B-16')}-{Path(weights).stem}"


def preset_of(backbone: BackboneChoice | OwnModel) -> str:
    """The preset of recipes and options for a backbone: `mini` for the embedded tiny CLIP, else empty."""
    return "mini" if backbone.is_mini else ""


def views_for(published: Views, backbone: BackboneChoice | OwnModel, overrides: Mapping[str, str]) -> Views:
    """A protocol's views as the backbone takes them, with the user's overrides.

    Raises:
        UserError: An unknown setting or value, or views that the backbone cannot take.
    """
    views = views_with(backbone.views_of(published), overrides)
    backbone.check_views(views)
    return views
