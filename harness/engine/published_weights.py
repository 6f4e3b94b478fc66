"""Names of published checkpoints translated to open_clip's.

Layouts (specification: the authors' saving code): OpenAI's names are open_clip's own; ViFi-CLIP saves
`{"model": ...}` with a `module.` prefix, `image_encoder.*` for the vision tower and `text_encoder.*` for the text
tower, without the token embedding; X-CLIP saves OpenAI's names under `model` plus its own modules; ActionCLIP saves
`model_state_dict` and `fusion_model_state_dict`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from harness.errors import UserError

_CONTAINERS = ("model", "model_state_dict", "state_dict")


def to_clip_state(content: dict[str, Any]) -> tuple[dict[str, Tensor], str]:
    """The CLIP tensors of a checkpoint under open_clip's names, and its family: `clip` or `vificlip`.

    Raises:
        UserError: The content holds no CLIP tensors.
    """
    for key in _CONTAINERS:
        if isinstance(content.get(key), dict):
            content = content[key]
            break
    state = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if state and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    if any(name.startswith("image_encoder.") for name in state):
        return _vificlip(state), "vificlip"
    if not any(name.startswith("visual.") for name in state):
        raise UserError(
            "The file holds no CLIP weights: no tensor is named 'visual.*' or 'image_encoder.*'.",
            f"Found: {', '.join(sorted(state)[:3]) or 'no tensors at all'}.",
        )
    return state, "clip"


def _vificlip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, value in state.items():
        if name.startswith("prompt_learner."):
            continue  # depends on the label set of the training run; rebuilt from the label set at hand
        name = name.replace("image_encoder.", "visual.", 1) if name.startswith("image_encoder.") else name
        renamed[name.removeprefix("text_encoder.")] = value
    return renamed
