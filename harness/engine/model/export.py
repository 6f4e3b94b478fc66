"""Weights out: a method as one safetensors file in open_clip's naming."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save

from harness.base.atomic import write_bytes
from harness.engine.method import ClipMethod
from harness.engine.model.published_weights import EXPORT_PREFIX

SCHEMA = "1"


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
