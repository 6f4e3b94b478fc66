"""Hints for checkpoints that do not fit a method: the method that they belong to, or the options that they need."""

from __future__ import annotations

import json
from collections.abc import Mapping

from harness.base.canonical import is_file_hash
from harness.engine.method import ClipMethod, TextT, VideoT
from harness.spec.options import OptionValue
from harness.weights import later_families
from harness.weights.describe import Description
from harness.weights.owner import owner_of
from harness.weights.stored import StoredTensor

_LIKE_VIFICLIP = ("vificlip", "image_ft", "text_ft", "vanilla_clip")
"""Methods whose weights are those of CLIP alone, as in a file of ViFi-CLIP without prompts."""
_ARCHITECTURE = "Choose the architecture that the weights belong to (--arch NAME)."
OTHER_HEADS = ("fusion.lstm", "fusion.shift", "fusion.conv", "fusion.cls_token", "fusion.class_embedding")
"""Beginnings of tensors of ActionCLIP's fusions that the method does not have."""


def mismatch_hint(described: Description, method: ClipMethod[VideoT, TextT]) -> str:
    """The fix of a checkpoint whose tensors do not fit a method.

    Args:
        described: The checkpoint.
        method: The method.
    """
    owner = owner_of(described)
    if owner and owner != method.name and not (owner in _LIKE_VIFICLIP and method.name in _LIKE_VIFICLIP):
        return f"The file is a checkpoint of {described.title}: give --method {owner}."
    if any(name.startswith(OTHER_HEADS) for name in described.published.own):
        return "The fusions transf and mean of ActionCLIP are supported; the file has another one."
    given = {**method.options.as_dict()}
    changed = {name: value for name, value in file_options(described).items() if str(given.get(name, value)) != value}
    frames = changed.pop("frames", None)
    flags = [f"--views frames={frames}"] if frames is not None else []
    flags += [f"--set {name}={value}" for name, value in sorted(changed.items())]
    return f"Give the settings of the file: {' '.join(flags)}." if flags else _ARCHITECTURE


def file_options(described: Description) -> dict[str, str]:
    """The options of a method that the shapes of a checkpoint's own tensors state, as text by name."""
    own, family = described.published.own, described.published.family
    options: dict[str, str] = {name: str(value) for name, value in _exported_options(described).items()}
    if family == "tcclip":
        # A file does not state the numbers of the text blocks before which its prompt layers stand.
        options["bias"] = str(any(name.startswith("bias_tables.") for name in own))
        if "text_context" in own:
            options["context_vectors"] = str(own["text_context"].shape[0])
    elif "text_context" in own:
        options["text_tokens"] = str(own["text_context"].shape[0])
        options["text_depth"] = str(1 + _indices(own, "text_prompts."))
        options["vision_depth"] = str(_indices(own, "vision_prompts."))
        if "vision_prompts.0" in own:
            options["vision_tokens"] = str(own["vision_prompts.0"].shape[0])
    if family == "ezclip":
        options["frames"] = str(own["temporal_embedding"].shape[1])
        prompts = own["temporal_prompts"].shape[0] if "temporal_prompts" in own else 0
        adapted = "adapters" if any(name.startswith("temporal_adapters.") for name in own) else "none"
        options["temporal"] = {0: adapted, 1: "first"}.get(prompts, "prompts")
    if "mit.positional_embedding" in own:
        options["frames"] = str(own["mit.positional_embedding"].shape[1])
        options["mit_layers"] = str(_indices(own, "mit.resblocks."))
        options["prompt_layers"] = str(_indices(own, "prompts_generator.decoder."))
    if "training_texts" in own:
        options["training_classes"] = str(own["training_texts"].shape[0])
        options["layers"] = str(_indices(own, "head.transformer.resblocks."))
        options["experts"] = str(_indices(own, "head.transformer.resblocks.0.mlp.fc_up."))
    if family == "actionclip" or any(name.startswith("fusion.") for name in own):
        layers = _indices(own, "fusion.transformer.resblocks.")
        options |= {"fusion": "transf", "layers": str(layers)} if layers else {"fusion": "mean"}
    if family in later_families.TITLES:
        options |= later_families.options_of(family, {name: tensor.shape for name, tensor in own.items()})
    if "temporalEmbedding.weight" in own:
        options["frames"] = str(own["temporalEmbedding.weight"].shape[0])
    return options


def _exported_options(described: Description) -> dict[str, OptionValue]:
    """The options of the fit that an export states, but for files, which it states by their hash."""
    text = described.file.metadata.get("options", "")
    options: dict[str, OptionValue] = json.loads(text) if text else {}
    return {name: value for name, value in options.items() if not is_file_hash(str(value))}


def _indices(own: Mapping[str, StoredTensor], prefix: str) -> int:
    """The number of different indices behind a prefix."""
    return len({name.removeprefix(prefix).split(".")[0] for name in own if name.startswith(prefix)})
