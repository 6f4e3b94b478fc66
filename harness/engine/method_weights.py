"""Weights of a method, CLIP and the method's own tensors: read from published checkpoints, written as safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save

from harness.base.atomic import write_bytes
from harness.base.errors import UserError
from harness.cells.own_input import METADATA, metadata_text
from harness.engine.method import ClipMethod, TextT, VideoT
from harness.engine.method_mismatch import mismatch_hint
from harness.engine.model.from_file import attention_heads
from harness.engine.model.published_weights import clip_state, fit_names
from harness.engine.model.weights import read_state, strict_load
from harness.weights.activation import require_activation
from harness.weights.describe import describe
from harness.weights.families import EXPORT_PREFIX

SCHEMA = "1"


def load_published(method: ClipMethod[VideoT, TextT], path: Path) -> str:
    """Load a published or exported checkpoint strictly into a method, its backbone included.

    Returns:
        The family of the checkpoint, as in `PublishedWeights`.

    Raises:
        UserError: The method has its own model, the file is missing or damaged, a tensor is missing, unexpected or of
            another shape, or the file was trained with another activation than that of the method's backbone.
    """
    if not method.uses_clip:
        raise UserError(
            f"{method.name} has its own model, which reads its checkpoint itself.",
            f"Give its weights as an option: {method.name}:checkpoint=FILE.",
        )
    described = describe(path)
    published = described.published
    require_activation(described.given, described.statement, method.backbone.facts.quick_gelu)
    prefix = "backbone.clip."
    state = {prefix + n: v for n, v in fit_names(method.backbone.clip, clip_state(described)).items()}
    own = read_state(described.file, published.own)
    state |= {n: v.float() if v.is_floating_point() else v for n, v in own.items()}
    absent = tuple(prefix + name for name in published.absent)
    # The whole method at once, so that a tensor of CLIP or of the method that is missing is named.
    strict_load(method, state, f"{path} ({described.title})", absent, mismatch_hint(described, method))
    return published.family


def export(
    method: ClipMethod[VideoT, TextT], path: Path, normalize: str = "", facts: Mapping[str, str] | None = None
) -> Path:
    """Write all weights of a method: CLIP's tensors under open_clip's names, the method's own below `method.`.

    A method that adds no tensors to CLIP gives a plain open_clip state dict, which `load_backbone(weights=path)` and
    open_clip itself read. Every export can be loaded into its method by `load_published`.

    Args:
        method: The method.
        path: The file, which is written atomically; its folder is created.
        normalize: Input statistics of the fit, which an evaluation of the file with --checkpoint then takes.
        facts: Further entries of the metadata, see `harness.weights.exported`.

    Returns:
        The path.
    """
    tensors = {}
    for name, value in method.state_dict().items():
        clip_name = name.removeprefix("backbone.clip.")
        key = clip_name if clip_name != name else EXPORT_PREFIX + name
        # safetensors refuses tensors that share memory, hence the clone.
        tensors[key] = value.detach().cpu().contiguous().clone()
    backbone = method.backbone.facts
    metadata = {
        # Transformers and other readers of safetensors expect `format`.
        "format": "pt", "schema": SCHEMA, "method": method.name, "options": json.dumps(method.options.as_dict()),
        "arch": backbone.arch, "weights": backbone.weights, "quick_gelu": json.dumps(backbone.quick_gelu),
        **({"heads": f"{heads[0]},{heads[1]}"} if (heads := attention_heads(method.backbone.clip)) else {}),
        **({"normalize": normalize} if normalize else {}),
        **({METADATA: metadata_text(backbone.input)} if backbone.input.mean else {}),
        **(facts or {}),
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, save(tensors, metadata=metadata))
    return path
