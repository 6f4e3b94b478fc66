"""Names of published checkpoints translated to open_clip's and to those of the methods here.

Layouts (specification, section 7.1; the authors' saving code): OpenAI's names are open_clip's own; ViFi-CLIP saves
`{"model": ...}` with a `module.` prefix, `image_encoder.*` for the vision tower and `text_encoder.*` for the text
tower, without the token embedding; X-CLIP saves OpenAI's names under `model` plus its own modules; ActionCLIP saves
`model_state_dict` and `fusion_model_state_dict`; Efficient-Prompt saves `clipmodel.*` plus its own under `state_dict`;
this project's own exports carry a method's tensors as `method.*`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from harness.base.errors import UserError
from harness.engine.model.weights import strict_load

_CONTAINERS = ("model", "model_state_dict", "state_dict")
_SCALARS = ("input_resolution", "context_length", "vocab_size")
_LABEL_SET_TENSORS = ("complete_text_embeddings", "token_prefix", "token_suffix")
_TOKEN_EMBEDDING = ("token_embedding.", "text.token_embedding.")
_TEXT_TOWER = ("token_embedding.", "positional_embedding", "transformer.", "ln_final.", "text_projection")
EXPORT_PREFIX = "method."


@dataclass(frozen=True)
class PublishedWeights:
    """A checkpoint's tensors under the names used here.

    Args:
        clip: CLIP's tensors under open_clip's names.
        own: Tensors of a method, under the names of that method's parameters.
        family: `clip`, `vificlip`, `xclip`, `actionclip`, `efficient_prompt` or `export`.
        absent: Prefixes of tensors that files of the family do not hold.
    """

    clip: dict[str, Tensor]
    own: dict[str, Tensor] = field(default_factory=dict)
    family: str = "clip"
    absent: tuple[str, ...] = ()


def read_published(content: dict[str, Any]) -> PublishedWeights:
    """The tensors of a checkpoint, sorted and renamed.

    Raises:
        UserError: The content holds no CLIP tensors.
    """
    fusion = content.get("fusion_model_state_dict")
    for key in _CONTAINERS:
        if isinstance(content.get(key), dict):
            content = content[key]
            break
    state = _tensors(content)
    if any(name.startswith("image_encoder.") for name in state):
        return _vificlip(state)
    if any(name.startswith("clipmodel.") for name in state):
        clip, own = _split(state, "clipmodel.")
        return PublishedWeights(clip, own, "efficient_prompt")
    if any(name.startswith(EXPORT_PREFIX) for name in state):
        own, clip = _split(state, EXPORT_PREFIX)
        return PublishedWeights(clip, own, "export")
    if not any(name.startswith("visual.") for name in state):
        raise UserError(
            "The file holds no CLIP weights: no tensor is named 'visual.*' or 'image_encoder.*'.",
            f"Found: {', '.join(sorted(state)[:3]) or 'no tensors at all'}.",
        )
    if isinstance(fusion, dict):
        return PublishedWeights(state, {f"fusion.{n}": v for n, v in _tensors(fusion).items()}, "actionclip")
    if any(name.startswith("mit.") for name in state):
        return _xclip(state)
    return PublishedWeights(state)


def _tensors(content: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of a mapping, without the prefix of a distributed wrapper and without OpenAI's three scalars."""
    state = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if state and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return {name: value for name, value in state.items() if name not in _SCALARS}


def _split(state: dict[str, Tensor], prefix: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors below a prefix, without it, and the others."""
    below = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
    below = {n: v for n, v in below.items() if n not in _SCALARS}
    return below, {n: v for n, v in state.items() if not n.startswith(prefix)}


def _vificlip(state: dict[str, Tensor]) -> PublishedWeights:
    clip, own = {}, {}
    for name, value in state.items():
        if name.rpartition(".")[2] in _LABEL_SET_TENSORS:
            continue  # depends on the label set of the training run; rebuilt from the label set at hand
        block = re.fullmatch(r"(image|text)_encoder\.transformer\.resblocks\.(\d+)\.VPT_shallow", name)
        if name == "prompt_learner.ctx":
            own["text_context"] = value
        elif name == "image_encoder.VPT":
            own["vision_prompts.0"] = value
        elif block:  # the text tower's first prompt is `ctx`, so that its list of deep prompts begins at block 1
            number = int(block[2]) - (block[1] == "text")
            own[f"{'vision' if block[1] == 'image' else 'text'}_prompts.{number}"] = value
        elif name.startswith("image_encoder."):
            clip["visual." + name.removeprefix("image_encoder.")] = value
        else:
            clip[name.removeprefix("text_encoder.")] = value
    return PublishedWeights(clip, own, "vificlip", _TOKEN_EMBEDDING)


def _xclip(state: dict[str, Tensor]) -> PublishedWeights:
    clip, own = {}, {}
    for name, value in state.items():
        message = re.fullmatch(r"visual\.transformer\.resblocks\.(\d+)\.message_(.+)", name)
        if message:
            own[f"messages.{message[1]}.{message[2]}"] = value
        elif name.startswith(("mit.", "prompts_")):
            own[name] = value
        else:
            clip[name] = value
    return PublishedWeights(clip, own, "xclip")


def fit_names(clip: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """CLIP tensors in fp32 under the names of this open_clip model, which may keep its text tower apart."""
    if "positional_embedding" in state and not hasattr(clip, "positional_embedding"):
        state = {f"text.{name}" if name.startswith(_TEXT_TOWER) else name: value for name, value in state.items()}
    state = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    if "logit_scale" in state:
        state["logit_scale"] = state["logit_scale"].reshape(clip.logit_scale.shape)
    return state


def load_clip(clip: nn.Module, content: dict[str, Any], what: str, keep_absent: bool = False) -> None:
    """Load any known layout of CLIP weights strictly into an open_clip model.

    Args:
        clip: Receives the values.
        content: Of a weight file.
        what: Names the file in errors.
        keep_absent: Keep present values of tensors that files of the family do not hold.

    Raises:
        UserError: A tensor is missing, unexpected or of another shape, or belongs to a method rather than to CLIP.
    """
    found = read_published(content)
    if found.own:
        raise UserError(
            f"{what} holds {len(found.own)} tensors of a method, not CLIP alone ({found.family}; first: "
            f"{min(found.own)}).",
            "Name the method and give the file with --checkpoint (Python: load_published(method, path)).",
        )
    strict_load(clip, fit_names(clip, found.clip), what, found.absent if keep_absent else ())
