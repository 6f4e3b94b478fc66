"""Weights of a method, CLIP and the method's own tensors: read from published checkpoints, written as safetensors."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save

from harness.base.atomic import write_bytes
from harness.cells.own_input import METADATA, metadata_text
from harness.engine.method import ClipMethod, TextT, VideoT
from harness.engine.model.published_weights import EXPORT_PREFIX, fit_names, read_published
from harness.engine.model.weights import read_weights, strict_load

SCHEMA = "1"


def load_published(method: ClipMethod[VideoT, TextT], path: Path) -> str:
    """Load a published or exported checkpoint strictly into a method, its backbone included.

    Returns:
        The family of the checkpoint, as in `PublishedWeights`.

    Raises:
        UserError: The file is missing or damaged, or a tensor is missing, unexpected or of another shape.
    """
    content, _ = read_weights(path)
    weights = read_published(content)
    prefix = "backbone.clip."
    state = {prefix + n: v for n, v in fit_names(method.backbone.clip, weights.clip).items()}
    state |= {n: v.float() if v.is_floating_point() else v for n, v in weights.own.items()}
    # The whole method at once, so that a tensor of CLIP or of the method that is missing is named.
    strict_load(method, state, str(path), tuple(prefix + name for name in weights.absent))
    return weights.family


def export(method: ClipMethod[VideoT, TextT], path: Path) -> Path:
    """Write all weights of a method: CLIP's tensors under open_clip's names, the method's own below `method.`.

    A method that adds no tensors to CLIP gives a plain open_clip state dict, which `load_backbone(weights=path)` and
    open_clip itself read. Every export can be loaded into its method by `load_published`.

    Args:
        method: The method.
        path: The file, which is written atomically; its folder is created.

    Returns:
        The path.
    """
    tensors = {}
    for name, value in method.state_dict().items():
        clip_name = name.removeprefix("backbone.clip.")
        key = clip_name if clip_name != name else EXPORT_PREFIX + name
        # safetensors refuses tensors that share memory, hence the clone.
        tensors[key] = value.detach().cpu().contiguous().clone()
    facts = method.backbone.facts
    metadata = {
        # Transformers and other readers of safetensors expect `format`.
        "format": "pt", "schema": SCHEMA, "method": method.name, "options": json.dumps(method.options.as_dict()),
        "arch": facts.arch, "weights": facts.weights, "quick_gelu": json.dumps(facts.quick_gelu),
        METADATA: metadata_text(facts.input),
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, save(tensors, metadata=metadata))
    return path
