"""Facts of CLIP models by architecture and tag, without torch, with which the checker compares records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import msgspec

from harness.base.canonical import is_file_hash
from harness.cells.architecture_table import ARCHITECTURES
from harness.cells.backbone import MINI_ARCH, BackboneChoice
from harness.cells.open_clip_source import CLIP_INPUT
from harness.cells.own_input import OwnInput
from harness.spec import Views
from harness.spec.views import NO_INPUT, InputSettings
from harness.weights.describe import INFERRED
from harness.weights.hub import HUB
from harness.weights.sizes import QUICK_SUFFIX
from results.measurement import RANDOM, ModelId

ACTIVATIONS = ("quick_gelu", "gelu")
TEXT_LENGTH = 77
"""Tokens of a text in open_clip, unless the configuration of an architecture states another number."""
TABLE = Path(__file__).resolve().parents[1] / "data" / "assets" / "clip_models.json"
_MINI_TENSORS = "cf24b5205080a7742af3ca407afe1dbde8379579034515cd3fd6646114d474bf"
"""Hash of the tensors of the embedded tiny CLIP; a test compares it with the loaded model."""


def mini_model() -> ModelId:
    """The embedded tiny CLIP as records state it."""
    weights = BackboneChoice(MINI_ARCH, None).model_id().weights
    return ModelId(MINI_ARCH, weights, "", _MINI_TENSORS, 64, "quick_gelu", TEXT_LENGTH, "clip")


def prescribed_views(views: Views, model: ModelId, stated: Views) -> Views:
    """The views of a protocol as a CLIP model takes them, from the table alone: a board's workflow has no open_clip.

    Args:
        views: The protocol's views.
        model: The model of a record.
        stated: The prescribed views that the record states.
    """
    if model.arch == MINI_ARCH:
        return BackboneChoice(MINI_ARCH, None).views_of(views)
    if _external(model.weights):
        # The input of a weight file is stated by the file, which a submission does not contain.
        own = stated.normalize == "model" and stated.input.resize != ""
        return replace(views, normalize="model", input=stated.input) if own else views
    known = known_models().get(model.arch)
    if known is None:
        return views  # rule P029 reports the architecture
    own_input = known.input_of(model.weights)
    if views.normalize == "imagenet" and own_input.replaces_published(model.weights):
        views = replace(views, normalize="model")
    return replace(views, input=own_input.settings if views.normalize == "model" else NO_INPUT)


def frame_gmacs(model: ModelId) -> float | None:
    """10^9 multiply-adds of the vision tower for one frame; None if they are not known."""
    return ARCHITECTURES[model.arch].gmacs if model.arch in ARCHITECTURES and not model.config else None


@dataclass(frozen=True)
class KnownModel:
    """An architecture of open_clip.

    Args:
        image_size: Side of the square input in pixels; None if the configuration does not state it.
        text_length: Tokens of a text; None if the configuration does not state it.
        tokenizer: `clip`, or the name of a tokenizer on the Hugging Face hub; empty if it is not known.
        tags: For each pretrained tag, whether its weights were trained with QuickGELU.
        inputs: The input settings of the tags that do not have CLIP's.
    """

    image_size: int | None
    text_length: int | None
    tokenizer: str
    tags: dict[str, bool]
    inputs: dict[str, InputSettings] = field(default_factory=dict)

    def input_of(self, weights: str) -> OwnInput:
        """The input settings of a tag, or of random weights, as `harness.cells.own_input` reads them from open_clip."""
        if weights in self.tags:
            return OwnInput(self.inputs.get(weights, CLIP_INPUT), "its tag", True)
        of_tags = {self.inputs.get(tag, CLIP_INPUT) for tag in self.tags}
        return OwnInput(of_tags.pop() if len(of_tags) == 1 else CLIP_INPUT, "its architecture", False)


@cache
def known_models() -> dict[str, KnownModel]:
    """The table that `benchmarks/clip_models.py` makes from open_clip."""
    return msgspec.json.decode(TABLE.read_bytes(), type=dict[str, KnownModel])


def model_problems(model: ModelId) -> Iterator[tuple[str, str]]:
    """The fields of a CLIP model that differ from its architecture and tag, as (found, expected).

    A model other than CLIP (`model.config`) is not known here, and a separate rule checks the embedded tiny CLIP.
    """
    if model.config or model.arch == MINI_ARCH:
        return
    if not model.tensors_sha256:
        yield "no hash of the tensors", "the hash of the loaded tensors"
    known = _known(model)
    if known is None:
        yield f"the architecture {model.arch!r} of the weights {model.weights!r}", "an architecture of open_clip"
        return
    tag = not _external(model.weights) and model.weights != RANDOM
    if tag and model.weights not in known.tags:
        yield f"the weights {model.weights!r} of {model.arch}", "a pretrained tag of the architecture"
        return
    for name, found, expected in (
        ("image size", model.image_size, known.image_size), ("text length", model.text_length, known.text_length),
    ):  # fmt: skip
        if found < 1 or expected not in (None, found):
            yield f"{name} {found} of {model.arch}", str(expected or "a number above 0")
    if known.tokenizer not in ("", model.tokenizer):
        yield f"tokenizer {model.tokenizer!r} of {model.arch}", known.tokenizer
    if model.tokenizer == "clip" and model.padding:
        yield f"padding {model.padding} of {model.arch}", "0"
    activations = ACTIVATIONS if not tag else ("quick_gelu" if known.tags[model.weights] else "gelu",)
    # The name of an architecture states QuickGELU, for a weight file too.
    if model.arch.endswith(QUICK_SUFFIX):
        activations = ("quick_gelu",)
    if model.activation not in activations:
        yield f"activation {model.activation!r} of {model.arch}/{model.weights}", " or ".join(activations)


def _external(weights: str) -> bool:
    """Whether weights are those of a file or of a repository on the hub, which can hold any values."""
    return is_file_hash(weights) or weights.startswith(HUB)


def _known(model: ModelId) -> KnownModel | None:
    """The architecture of a model; None if open_clip does not have it.

    The harness adds the activation of a weight file to the name of its architecture.
    """
    if _external(model.weights):
        if model.arch.removesuffix(QUICK_SUFFIX) == INFERRED:
            return KnownModel(None, None, "", {})
        return known_models().get(model.arch) or known_models().get(model.arch.removesuffix(QUICK_SUFFIX))
    return known_models().get(model.arch)
