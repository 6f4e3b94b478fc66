"""Families of checkpoints, recognised by tensor names, and their names in open_clip and in the built-in methods.

Layouts (specification, section 7.1; the authors' saving code): OpenAI's names are open_clip's own; ViFi-CLIP saves
`{"model": ...}` with a `module.` prefix, `image_encoder.*` for the vision tower and `text_encoder.*` for the text
tower, without the token embedding; X-CLIP saves OpenAI's names under `model` plus its own modules; ActionCLIP saves
`model_state_dict` and `fusion_model_state_dict`, and so does MoTE, without a text tower; Efficient-Prompt saves
`clipmodel.*` plus its own under `state_dict`; Open-VCLIP and FROSTER save `model.*` under `model_state`, FROSTER also
its projectors and, before averaging, the teacher as `raw_model.*`; this project's own exports carry a method's tensors
as `method.*`; `transformers` has names of its own, which `harness.engine.model.transformers_names` translates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from harness.base.errors import UserError
from harness.weights import later_families
from harness.weights.later_families import later_layout, lora_layers, take_maxi

T = TypeVar("T")
Tree: TypeAlias = "Mapping[str, T | Tree[T]]"
"""Values by name, in nested mappings: tensors, or descriptions of tensors that were not read."""
SCALARS = ("input_resolution", "context_length", "vocab_size")
"""Numbers that OpenAI saves beside the weights."""
EXPORT_PREFIX = "method."
TITLES: Mapping[str, str] = {
    "clip": "CLIP", "export": "an export of this project", "vificlip": "ViFi-CLIP", "xclip": "X-CLIP",
    "actionclip": "ActionCLIP", "efficient_prompt": "Efficient-Prompt", "tcclip": "TC-CLIP", "mote": "MoTE",
    "ezclip": "EZ-CLIP", "open_vclip": "Open-VCLIP", "froster": "FROSTER",
    "transformers": "CLIP with the names of transformers", **later_families.TITLES,
}  # fmt: skip
"""Name of each family for people."""
PUBLISHED = (
    "vificlip", "xclip", "actionclip", "efficient_prompt", "tcclip", "open_vclip", "froster", "mote", "ezclip",
    *later_families.TITLES,
)  # fmt: skip
"""Families of published methods, all of which start from OpenAI's weights."""
_CONTAINERS = ("model", "model_state_dict", "model_state", "state_dict")
_WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes that DistributedDataParallel and torch.compile add to all names."""
_LABEL_SET_TENSORS = ("complete_text_embeddings", "token_prefix", "token_suffix")
_TEXT = (
    "token_embedding.", "positional_embedding", "transformer.", "ln_final.", "text_projection", "text.", "logit_bias",
)  # fmt: skip
_TOKEN_EMBEDDING = ("token_embedding.", "text.token_embedding.")


@dataclass(frozen=True)
class PublishedWeights(Generic[T]):
    """Tensors of a checkpoint under the names of open_clip and of this package.

    Args:
        clip: Tensors of CLIP under open_clip's names; under those of transformers for the family `transformers`.
        own: Tensors of a method under the names of the method's parameters.
        family: A key of `TITLES`.
        absent: Prefixes of tensors that files of the family do not hold.
        scalars: Whether the file holds the three numbers that OpenAI saves beside the weights.
    """

    clip: dict[str, T]
    own: dict[str, T] = field(default_factory=dict)
    family: str = "clip"
    absent: tuple[str, ...] = ()
    scalars: bool = False


def read_published(content: Tree[T], file: str = "The file") -> PublishedWeights[T]:
    """The tensors of a checkpoint, divided into those of CLIP and those of a method, and renamed.

    Args:
        content: The content of the file.
        file: Name of the file in errors.

    Raises:
        UserError: The content holds no CLIP tensors.
    """
    # Read first: the loop replaces `content` by the mapping inside of it, and ActionCLIP's fusion lies beside that.
    fusion = content.get("fusion_model_state_dict")
    layers = content.get("weights")
    if isinstance(layers, Mapping) and (lora := lora_layers(layers)) is not None:
        return PublishedWeights(lora.clip, lora.own, lora.family, lora.absent)
    for key in _CONTAINERS:
        inner = content.get(key)
        if isinstance(inner, Mapping):
            content = inner
            break
    state, scalars = _tensors(content)
    # Plain CLIP comes last, because files of X-CLIP and ActionCLIP hold its names too.
    if any(name.startswith("image_encoder.") and name.endswith("lora_A") for name in state):
        own, state = take_maxi(state)
        return PublishedWeights(_vificlip(state).clip, own, "maxilora", _TOKEN_EMBEDDING)
    if any(name.startswith("image_encoder.") for name in state):
        return _vificlip(state)
    if any(name.startswith("model.visual.") for name in state):
        return _slowfast(state)
    if (later := later_layout(state)) is not None:
        return PublishedWeights(later.clip, later.own, later.family, later.absent)
    if any(name.startswith("clipmodel.") for name in state):
        clip, own = _split(state, "clipmodel.")
        return PublishedWeights(clip, own, "efficient_prompt")
    if any(name.startswith(EXPORT_PREFIX) for name in state):
        own, clip = _split(state, EXPORT_PREFIX)
        return PublishedWeights(clip, own, "export")
    if any(name.startswith(("vision_model.", "text_model.")) for name in state):
        return PublishedWeights(_of_transformers(state, file), family="transformers")
    if not any(name.startswith("visual.") for name in state):
        if "blocks.0.attn.proj_kv.weight" in state:
            raise UserError(
                f"{file} holds a Motionformer, which is not a CLIP model.", f"Use --method mformer:checkpoint={file}."
            )
        raise UserError(
            f"{file} holds no CLIP weights: no tensor is named 'visual.*' or 'image_encoder.*'.",
            f"Found: {', '.join(sorted(state)[:3]) or 'no tensors at all'}.",
        )
    if isinstance(fusion, Mapping):
        head, _ = _tensors(fusion)
        if "spe_cls_feature" in head:  # the texts of the training classes
            own = {"training_texts" if n == "spe_cls_feature" else f"head.{n}": v for n, v in head.items()}
            return PublishedWeights(state, own, "mote", _missing(state, _TEXT))
        own = {f"fusion.{n}": v for n, v in _tensors(fusion)[0].items()}
        return PublishedWeights(state, own, "actionclip", scalars=scalars)
    if any(name.startswith("mit.") for name in state):
        return _xclip(state)
    if "visual.temporal_embedding" in state:
        return _ezclip(state)
    return PublishedWeights(state, scalars=scalars)


def _tensors(content: Tree[T]) -> tuple[dict[str, T], bool]:
    """The tensors of a mapping without wrappers' prefixes and OpenAI's scalars, and whether the scalars were there."""
    state: dict[str, T] = {name: value for name, value in content.items() if not isinstance(value, Mapping)}
    for wrapper in _WRAPPERS:
        if state and all(name.startswith(wrapper) for name in state):
            state = {name.removeprefix(wrapper): value for name, value in state.items()}
    return {n: v for n, v in state.items() if n not in SCALARS}, all(name in state for name in SCALARS)


def _split(state: dict[str, T], prefix: str) -> tuple[dict[str, T], dict[str, T]]:
    """The tensors whose names have a prefix, without the prefix, and the remaining tensors."""
    below = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
    # The prefix hid OpenAI's scalars from `_tensors`.
    below = {n: v for n, v in below.items() if n not in SCALARS}
    return below, {n: v for n, v in state.items() if not n.startswith(prefix)}


def _vificlip(state: dict[str, T]) -> PublishedWeights[T]:
    """The names of ViFi-CLIP, and of TC-CLIP, whose code begins with that of ViFi-CLIP.

    TC-CLIP divides the input projection of vision blocks into three layers, which `clip_state` joins.
    """
    clip: dict[str, T] = {}
    own: dict[str, T] = {}
    for name, value in state.items():
        if name.rpartition(".")[2] in _LABEL_SET_TENSORS:
            continue  # depends on the label set of the training run; the method rebuilds it for each label set
        block = re.fullmatch(r"(image|text)_encoder\.transformer\.resblocks\.(\d+)\.VPT_shallow", name)
        table = re.fullmatch(r"image_encoder\.transformer\.resblocks\.(\d+)\.attn\.local_global_bias_table", name)
        if name == "prompt_learner.ctx":
            own["text_context"] = value
        elif table:  # the first block has no context tokens
            own[f"bias_tables.{int(table[1]) - 1}"] = value
        elif name.startswith("text_encoder.prompt_generation_layer."):
            own[name.replace("text_encoder.prompt_generation_layer", "prompt_layers")] = value
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
    if any("prompt_generation_layer" in name or "local_global_bias_table" in name for name in state):
        return PublishedWeights(clip, own, "tcclip", _TOKEN_EMBEDDING)
    return PublishedWeights(clip, own, "vificlip", _missing(clip, _TOKEN_EMBEDDING))


def _slowfast(state: dict[str, T]) -> PublishedWeights[T]:
    """The names of Open-VCLIP and FROSTER. The teacher of FROSTER is CLIP itself, which the method copies."""
    clip, others = _split(state, "model.")
    own = {name: value for name, value in others.items() if not name.startswith("raw_model.")}
    return PublishedWeights(clip, own, "froster" if others else "open_vclip")


def _missing(state: Iterable[str], prefixes: tuple[str, ...]) -> tuple[str, ...]:
    """The prefixes if no tensor's name begins with one of them; otherwise none."""
    return () if any(name.startswith(prefixes) for name in state) else prefixes


def _xclip(state: dict[str, T]) -> PublishedWeights[T]:
    clip: dict[str, T] = {}
    own: dict[str, T] = {}
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


def _ezclip(state: dict[str, T]) -> PublishedWeights[T]:
    """The names of EZ-CLIP, which adds its adapters to CLIP's blocks (clip/model.py)."""
    clip: dict[str, T] = {}
    own: dict[str, T] = {}
    added = {
        "visual.temporal_embedding": "temporal_embedding", "visual.transformer.T_prompt_embeddings": "temporal_prompts"
    }  # fmt: skip
    lists = {("visual.", "Adapter"): "vision", ("visual.", "T_Adapter"): "temporal", (None, "Adapter"): "text"}
    for name, value in state.items():
        adapter = re.fullmatch(r"(visual\.)?transformer\.resblocks\.(\d+)\.(T_Adapter|Adapter)\.(.+)", name)
        if name in added:
            own[added[name]] = value
        elif adapter and (adapter[1], adapter[3]) in lists:
            own[f"{lists[adapter[1], adapter[3]]}_adapters.{adapter[2]}.{adapter[4]}"] = value
        else:
            clip[name] = value
    return PublishedWeights(clip, own, "ezclip")


def _of_transformers(state: dict[str, T], file: str) -> dict[str, T]:
    """The weights of transformers' CLIPModel, without the buffers of positions.

    Raises:
        UserError: The model has one tower, or is SigLIP.
    """
    towers = [tower for tower in ("vision_model", "text_model") if any(name.startswith(f"{tower}.") for name in state)]
    if len(towers) == 1:
        raise UserError(
            f"{file} holds only the {towers[0]} of transformers' CLIP, expected both towers.",
            "Give the weights of a CLIPModel.",
        )
    if any(name.startswith("vision_model.head.") for name in state):
        raise UserError(
            f"{file} holds a SigLIP model with the names of transformers, which are not read.",
            "Give open_clip's file of the model: --weights hf-hub:timm/NAME, or a tag of --arch ViT-B-16-SigLIP.",
        )
    return {name: value for name, value in state.items() if not name.endswith(".position_ids")}
