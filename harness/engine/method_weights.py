"""Weights of a whole method, CLIP and its own tensors: from published checkpoints, and to one safetensors file."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save

from harness.base.atomic import write_bytes
from harness.engine.method import ClipMethod
from harness.engine.model.published_weights import EXPORT_PREFIX, fit_names, read_published
from harness.engine.model.weights import read_weights, strict_load

SCHEMA = "1"


def load_published(method: ClipMethod, path: Path) -> str:
    """Load a published or exported checkpoint into a method, backbone and own tensors, strictly; returns its family.

    Raises:
        UserError: The file is missing or damaged, or a tensor is missing, unexpected or of another shape.
    """
    content, _ = read_weights(path)
    found = read_published(content)
    prefix = "backbone.clip."
    state = {prefix + n: v for n, v in fit_names(method.backbone.clip, found.clip).items()}
    state |= {n: v.float() if v.is_floating_point() else v for n, v in found.own.items()}
    strict_load(method, state, str(path), tuple(prefix + name for name in found.absent))
    return found.family


def export(method: ClipMethod, path: Path) -> Path:
    """Write all weights of a method: CLIP's under open_clip's names, the method's own below `method.`.

    A method that adds nothing to CLIP gives a plain open_clip state dict, which `load_backbone(weights=path)` and
    open_clip itself read; any export goes back into its method with `published_weights.load_published`.

    Args:
        method: With the weights of a fit or without.
        path: Written atomically; its folder is made.

    Returns:
        The path.
    """
    tensors = {}
    for name, value in method.state_dict().items():
        clip_name = name.removeprefix("backbone.clip.")
        key = clip_name if clip_name != name else EXPORT_PREFIX + name
        tensors[key] = value.detach().cpu().contiguous().clone()
    facts = method.backbone.facts
    metadata = {
        "format": "pt", "schema": SCHEMA, "method": method.name, "options": json.dumps(method.options.as_dict()),
        "arch": facts.arch, "weights": facts.weights, "quick_gelu": json.dumps(facts.quick_gelu),
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, save(tensors, metadata=metadata))
    return path
