"""Translation of the tensor names of published checkpoints to those of open_clip and of the built-in methods.

Layouts (specification, section 7.1; the authors' saving code): OpenAI's names are open_clip's own; ViFi-CLIP saves
`{"model": ...}` with a `module.` prefix, `image_encoder.*` for the vision tower and `text_encoder.*` for the text
tower, without the token embedding; X-CLIP saves OpenAI's names under `model` plus its own modules; ActionCLIP saves
`model_state_dict` and `fusion_model_state_dict`; Efficient-Prompt saves `clipmodel.*` plus its own under `state_dict`;
this project's own exports carry a method's tensors as `method.*`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from harness.base.errors import UserError
from harness.engine.model.weights import TensorTree, strict_load

_CONTAINERS = ("model", "model_state_dict", "state_dict")
_SCALARS = ("input_resolution", "context_length", "vocab_size")
_LABEL_SET_TENSORS = ("complete_text_embeddings", "token_prefix", "token_suffix")
_TOKEN_EMBEDDING = ("token_embedding.", "text.token_embedding.")
_TEXT_TOWER = ("token_embedding.", "positional_embedding", "transformer.", "ln_final.", "text_projection")
EXPORT_PREFIX = "method."


@dataclass(frozen=True)
class PublishedWeights:
    """Tensors of a checkpoint under the names of open_clip and of this package.

    Args:
        clip: Tensors of CLIP under open_clip's names.
        own: Tensors of a method under the names of the method's parameters.
        family: `clip`, `vificlip`, `xclip`, `actionclip`, `efficient_prompt` or `export`.
        absent: Prefixes of tensors that files of the family do not hold.
    """

    clip: dict[str, Tensor]
    own: dict[str, Tensor] = field(default_factory=dict)
    family: str = "clip"
    absent: tuple[str, ...] = ()


def read_published(content: TensorTree) -> PublishedWeights:
    """Return the tensors of a checkpoint, divided into those of CLIP and those of a method, and renamed.

    Raises:
        UserError: The content holds no CLIP tensors.
    """
    # Read first: the loop replaces `content` by the mapping inside of it, and ActionCLIP's fusion lies beside that.
    fusion = content.get("fusion_model_state_dict")
    for key in _CONTAINERS:
        inner = content.get(key)
        if isinstance(inner, Mapping):
            content = inner
            break
    state = _tensors(content)
    # Plain CLIP comes last, because files of X-CLIP and ActionCLIP hold its names too.
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
    if isinstance(fusion, Mapping):
        return PublishedWeights(state, {f"fusion.{n}": v for n, v in _tensors(fusion).items()}, "actionclip")
    if any(name.startswith("mit.") for name in state):
        return _xclip(state)
    return PublishedWeights(state)


def _tensors(content: TensorTree) -> dict[str, Tensor]:
    """Return the tensors of a mapping, without the prefix of a distributed wrapper and OpenAI's three scalars."""
    state = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if state and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return {name: value for name, value in state.items() if name not in _SCALARS}


def _split(state: dict[str, Tensor], prefix: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the tensors whose names have a prefix, without the prefix, and the remaining tensors."""
    below = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
    # The prefix hid OpenAI's scalars from `_tensors`.
    below = {n: v for n, v in below.items() if n not in _SCALARS}
    return below, {n: v for n, v in state.items() if not n.startswith(prefix)}


def _vificlip(state: dict[str, Tensor]) -> PublishedWeights:
    clip, own = {}, {}
    for name, value in state.items():
        if name.rpartition(".")[2] in _LABEL_SET_TENSORS:
            continue  # depends on the label set of the training run; the method rebuilds it for each label set
        block = re.fullmatch(r"(image|text)_encoder\.transformer\.resblocks\.(\d+)\.VPT_shallow", name)
        if name == "prompt_learner.ctx":
            own["text_context"] = value
        # The original keeps the prompts of the input apart from those of the blocks (clip/model.py of ViFi-CLIP).
        elif name == "image_encoder.VPT":
            own["vision_prompts.0"] = value
        elif block:  # the first prompt of the text tower is `ctx`, so that its list of deep prompts begins at block 1
            index = int(block[2]) - (block[1] == "text")
            own[f"{'vision' if block[1] == 'image' else 'text'}_prompts.{index}"] = value
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
            # The original adds the message modules to CLIP's blocks (models/cct.py). Here the blocks stay open_clip's,
            # and the method holds the messages in a list.
            own[f"messages.{message[1]}.{message[2]}"] = value
        elif name.startswith(("mit.", "prompts_")):
            own[name] = value
        else:
            clip[name] = value
    return PublishedWeights(clip, own, "xclip")


def fit_names(clip: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return CLIP tensors in fp32 under the names of an open_clip model, whose text tower may be a submodule."""
    if "positional_embedding" in state and not hasattr(clip, "positional_embedding"):
        state = {f"text.{name}" if name.startswith(_TEXT_TOWER) else name: value for name, value in state.items()}
    # OpenAI's file is float16, and a fit needs fp32 weights. Integer tensors, such as counters of batches, stay.
    state = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    if "logit_scale" in state:
        # OpenAI saves a scalar, some open_clip models hold a vector of length 1.
        state["logit_scale"] = state["logit_scale"].reshape(clip.get_parameter("logit_scale").shape)
    return state


def load_clip(clip: nn.Module, content: TensorTree, what: str, keep_absent: bool = False) -> None:
    """Load any known layout of CLIP weights strictly into an open_clip model.

    Args:
        clip: The model that receives the values.
        content: Tensors of a weight file.
        what: Name of the file in errors.
        keep_absent: Keep the present values of tensors that files of the family do not hold.

    Raises:
        UserError: A tensor is missing, unexpected or of another shape, or belongs to a method rather than to CLIP.
    """
    weights = read_published(content)
    if weights.own:
        raise UserError(
            f"{what} holds {len(weights.own)} tensors of a method, not CLIP alone ({weights.family}; first: "
            f"{min(weights.own)}).",
            "Name the method and give the file with --checkpoint (Python: load_published(method, path)).",
        )
    strict_load(clip, fit_names(clip, weights.clip), what, weights.absent if keep_absent else ())
