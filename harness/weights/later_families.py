"""Layouts of the checkpoints of later methods, most of which hold the trained tensors alone.

CLIP-LoRA saves `weights`, with a mapping for each adapted layer. MAXI saves ViFi-CLIP's names with `lora_A` and
`lora_B`. ST-Adapter saves `model` with the parameters that learn, without a prefix. AIM saves mmcv's `state_dict` with
`backbone.*` (the vision tower) and `cls_head.*`. Vita-CLIP saves all of CLIP in names of its own,
and ViCLIP its two towers with fewer text positions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
TITLES: Mapping[str, str] = {
    "cliplora": "CLIP-LoRA", "maxilora": "LoRA of MAXI", "stadapter": "ST-Adapter", "aim": "AIM",
    "vitaclip": "Vita-CLIP", "viclip": "ViCLIP",
}  # fmt: skip
"""Name of each family for people."""
METHODS: Mapping[str, str] = {
    "cliplora": "lora", "maxilora": "lora", "stadapter": "st_adapter", "aim": "aim", "vitaclip": "vita_clip",
    "viclip": "viclip",
}  # fmt: skip
"""Built-in method of each family."""
ALL_OF_CLIP = ("",)
_TEXT = (
    "token_embedding.", "positional_embedding", "transformer.", "ln_final.", "text_projection", "text.", "logit_scale",
)  # fmt: skip
_MAXI_LAYERS = {
    "attn.in_proj_weight_": "in_proj", "attn.out_proj.": "proj", "mlp.c_fc.": "c_fc", "mlp.c_proj.": "c_proj",
}  # fmt: skip


@dataclass(frozen=True)
class Layout(Generic[T]):
    """The tensors of a checkpoint under the names of open_clip and of a built-in method.

    Args:
        family: A key of `TITLES`.
        clip: Tensors of CLIP.
        own: Tensors of the method.
        absent: Prefixes of tensors of CLIP that the file does not hold.
    """

    family: str
    clip: dict[str, T]
    own: dict[str, T]
    absent: tuple[str, ...]


def lora_layers(content: Mapping[str, T | Mapping[str, T]]) -> Layout[T] | None:
    """The tensors of a file of CLIP-LoRA; None for other files.

    Args:
        content: The mapping below `weights`.
    """
    own: dict[str, T] = {}
    for layer, projections in content.items():
        number = re.fullmatch(r"layer_(\d+)", layer)
        if number is None or not isinstance(projections, Mapping):
            return None
        for projection, factors in projections.items():
            if not isinstance(factors, Mapping):
                return None
            own |= {f"layers.{number[1]}.{projection}.{name}": value for name, value in factors.items()}
    return Layout("cliplora", {}, own, ALL_OF_CLIP) if own else None


def later_layout(state: Mapping[str, T]) -> Layout[T] | None:
    """The tensors of a checkpoint of ST-Adapter or AIM; None for other families.

    Args:
        state: Tensors by name, without the prefixes of wrappers.
    """
    pattern = r"transformer\.resblocks\.(\d+)\.(adapter_pre_\w+)\."
    if any(re.match(pattern, name) for name in state):
        own = {re.sub(pattern, r"adapters.\1.\2.", name): value for name, value in state.items()}
        return Layout("stadapter", {}, own, ALL_OF_CLIP)
    if any(name.startswith(("backbone.class_embedding", "cls_head.fc_cls.")) for name in state):
        return _aim(state)
    if "visual.cls_token" in state:
        return _vita_clip(state)
    if any(name.startswith("vision_encoder.") for name in state):
        return _viclip(state)
    return None


def _viclip(state: Mapping[str, T]) -> Layout[T]:
    own = {"temp", "vision_encoder.temporal_positional_embedding", "text_encoder.positional_embedding"}
    clip = {
        name.replace("vision_encoder.", "visual.").removeprefix("text_encoder."): value
        for name, value in state.items()
        if name not in own
    }
    names = {name: name.rpartition(".")[2] for name in own} | {"text_encoder.positional_embedding": "text_positions"}
    # Its texts are shorter than CLIP's, and `temp` takes the part of CLIP's scale.
    absent = ("positional_embedding", "text.positional_embedding", "logit_scale")
    return Layout("viclip", clip, {names[name]: value for name, value in state.items() if name in own}, absent)


def _aim(state: Mapping[str, T]) -> Layout[T]:
    clip: dict[str, T] = {}
    own: dict[str, T] = {}
    for name, value in state.items():
        adapter = re.fullmatch(r"backbone\.transformer\.resblocks\.(\d+)\.(\w*Adapter\w*)\.(.+)", name)
        if adapter:
            own[f"adapters.{adapter[1]}.{adapter[2]}.{adapter[3]}"] = value
        elif name == "backbone.temporal_embedding":
            own["temporal_embedding"] = value
        elif name.startswith("cls_head.fc_cls."):
            own[name.replace("cls_head.fc_cls.", "fc.")] = value
        else:
            clip["visual." + name.removeprefix("backbone.")] = value
    # AIM has no text tower, and classifies the features in front of CLIP's projection.
    return Layout("aim", clip, own, ("visual.proj", *_TEXT))


_VITA_NAMES = (
    ("visual.cls_token", "visual.class_embedding"), ("visual.pos_embed", "visual.positional_embedding"),
    ("visual.patch_embed.proj.weight", "visual.conv1.weight"), ("textual.", ""), (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."), (".norm1.", ".ln_1."), (".norm2.", ".ln_2."),
    ("visual.blocks.", "visual.transformer.resblocks."),
)  # fmt: skip
"""Names of Vita-CLIP and of CLIP."""
_VITA_OWN = ("cls_proj", "summary_ln", "summary_attn_layer", "local_prompts", "global_prompts", "time_embed")


def _vita_clip(state: Mapping[str, T]) -> Layout[T]:
    clip: dict[str, T] = {}
    own: dict[str, T] = {}
    for name, value in state.items():
        if name.startswith("prompt_learner.token_"):
            continue  # the embedded names of the classes of the training run
        if name == "prompt_learner.ctx":
            own["ctx"] = value
        elif name == "visual.patch_embed.proj.bias":
            own["patch_bias"] = value
        elif any(part in _VITA_OWN for part in name.split(".")):
            own[name.removeprefix("visual.")] = value
        else:
            for theirs, ours in _VITA_NAMES:
                name = name.replace(theirs, ours)
            clip[name] = value
    return Layout("vitaclip", clip, own, ())


def take_maxi(state: Mapping[str, T]) -> tuple[dict[str, T], dict[str, T]]:
    """The low-rank factors of a file of MAXI under the names of `lora`, and the remaining tensors.

    Args:
        state: Tensors by name, with ViFi-CLIP's prefixes of the towers.
    """
    own: dict[str, T] = {}
    pattern = r"(image|text)_encoder\.transformer\.resblocks\.(\d+)\.(.+?)lora_([AB])"
    texts = {match[2] for name in state if (match := re.match(pattern, name)) and match[1] == "text"}
    rest = {name: value for name, value in state.items() if not re.search(r"lora_[AB]$", name)}
    for name in state.keys() - rest.keys():
        match = re.fullmatch(pattern, name)
        if match is None:
            # The only factors outside the blocks are those of the convolution that embeds the patches.
            own[name.replace("image_encoder.conv1.", "patches.w_")] = state[name]
            continue
        # The method counts the layers of the text tower first.
        number = int(match[2]) + (len(texts) if match[1] == "image" else 0)
        own[f"layers.{number}.{_MAXI_LAYERS[match[3]]}.w_lora_{match[4]}"] = state[name]
    return own, rest


def options_of(family: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """The options of a method that the shapes of a checkpoint's own tensors state, as text by name.

    Args:
        family: A key of `TITLES`.
        shapes: Shapes by name of the method's tensor.
    """
    options: dict[str, str] = {}
    if "fc.weight" in shapes:
        options |= {"head": "classes", "fixed_classes": str(shapes["fc.weight"][0])}
    if family in ("cliplora", "maxilora"):
        options["form"] = "maxi" if family == "maxilora" else "clip_lora"
        layer = [shapes[name] for name in sorted(shapes) if name.startswith("layers.") and name.endswith("lora_A")]
        options |= {"rank": str(layer[0][0])} if layer else {}
    if family == "cliplora":
        words = {"q_proj": "q", "k_proj": "k", "v_proj": "v", "proj": "o"}
        present = {name.split(".")[2] for name in shapes}
        options["projections"] = "".join(letter for word, letter in words.items() if word in present)
    if family == "stadapter":
        options |= _st_adapter_options(shapes)
    if family == "vitaclip":
        options |= _vita_clip_options(shapes)
    if "temporal_embedding" in shapes:
        options["frames"] = str(shapes["temporal_embedding"][1])
        options["inner_adapter"] = str(any(".T_Adapter_in." in name for name in shapes))
    return options


def _st_adapter_options(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    parts = [part for part in ("attn", "mlp") if any(f".adapter_pre_{part}." in name for name in shapes)]
    kernels = [shapes[name] for name in sorted(shapes) if name.endswith(".conv.weight")]
    options = {"before": "+".join(parts)}
    if kernels:
        options |= {"bottleneck": str(kernels[0][0]), "kernel": "x".join(str(size) for size in kernels[0][2:])}
    return options


def _vita_clip_options(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    *classes, contexts, _ = shapes.get("ctx", (8, 0))
    return {
        "frames": str(shapes.get("time_embed", (8,))[0]),
        "global_prompts": str(shapes.get("global_prompts", (0, 0))[1]),
        "local_prompts": str("blocks.0.local_prompts" in shapes),
        "summary": str("blocks.0.summary_ln.weight" in shapes),
        "contexts": str(contexts),
        "context": "classes" if classes else "shared",
        **({"fixed_classes": str(classes[0])} if classes else {}),
    }
