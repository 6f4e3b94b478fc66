"""The architecture of a weight file, from the shapes of its tensors and open_clip's table of architectures."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path

import msgspec

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of tensors by open_clip's names."""
QUICK_SUFFIX = "-quickgelu"
"""End of the names under which open_clip offers an architecture with QuickGELU."""


class _Vision(msgspec.Struct):
    """The vision tower in a configuration of open_clip, with its defaults."""

    layers: int | list[int] | None = 12
    width: int | None = 768
    patch_size: int | None = 16
    image_size: int | list[int] = 224
    timm_model_name: str | None = None


class _Text(msgspec.Struct):
    """The text tower in a configuration of open_clip, with its defaults."""

    context_length: int = 77
    vocab_size: int = 49408
    width: int = 512
    layers: int = 12
    hf_model_name: str | None = None


class _Config(msgspec.Struct):
    """A configuration of open_clip."""

    embed_dim: int
    vision_cfg: _Vision
    text_cfg: _Text
    quick_gelu: bool = False
    custom_text: bool = False
    multimodal_cfg: dict[str, int | float | str | bool | None] | None = None


@dataclass(frozen=True)
class Sizes:
    """The sizes of a CLIP model that its tensors state.

    Args:
        embed_dim: Joint dimension.
        image_size: Side of the square input in pixels.
        vision_layers: Blocks of a ViT, or of each of the four stages of a ResNet.
        vision_width: Width of the vision tower.
        patch_size: Side of a patch in pixels; 0 for a ResNet.
        context_length: Length of a text in tokens.
        text_width: Width of the text tower.
        text_layers: Blocks of the text tower.
        vocabulary: Number of tokens; 0 where the file lacks the table, as those of ViFi-CLIP do.
    """

    embed_dim: int
    image_size: int
    vision_layers: tuple[int, ...]
    vision_width: int
    patch_size: int
    context_length: int
    text_width: int
    text_layers: int
    vocabulary: int = 0


def sizes_of(shapes: Shapes) -> Sizes | None:
    """The sizes that a state dict with OpenAI's names states; None if it holds another kind of towers."""
    try:
        table = shapes.get("token_embedding.weight", (0,))
        text = (
            shapes["positional_embedding"][0], shapes["ln_final.weight"][0], _blocks(shapes, "transformer.resblocks."),
            table[0],
        )  # fmt: skip
        embed_dim = shapes["text_projection"][1]
        if "visual.layer1.0.conv1.weight" in shapes:
            # The spacing of pixels before the pooling is 32 in all ResNets of CLIP.
            grid = math.isqrt(shapes["visual.attnpool.positional_embedding"][0] - 1)
            stages = tuple(_blocks(shapes, f"visual.layer{stage}.") for stage in (1, 2, 3, 4))
            return Sizes(embed_dim, 32 * grid, stages, shapes["visual.layer1.0.conv1.weight"][0], 0, *text)
        width, _, patch, _ = shapes["visual.conv1.weight"]
        # One position belongs to the class token; the patches form a square.
        grid = math.isqrt(shapes["visual.positional_embedding"][0] - 1)
        layers = _blocks(shapes, "visual.transformer.resblocks.")
        return Sizes(embed_dim, grid * patch, (layers,), width, patch, *text)
    except (KeyError, IndexError, ValueError):
        return None


def _blocks(shapes: Shapes, prefix: str) -> int:
    """The number of different indices behind a prefix."""
    return len({name.removeprefix(prefix).split(".")[0] for name in shapes if name.startswith(prefix)})


def sizes_of_transformers(shapes: Shapes) -> Sizes | None:
    """The sizes that a state dict with the names of transformers' CLIPModel states."""
    try:
        width, _, patch, _ = shapes["vision_model.embeddings.patch_embedding.weight"]
        grid = math.isqrt(shapes["vision_model.embeddings.position_embedding.weight"][0] - 1)
        return Sizes(
            embed_dim=shapes["visual_projection.weight"][0],
            image_size=grid * patch,
            vision_layers=(_blocks(shapes, "vision_model.encoder.layers."),),
            vision_width=width,
            patch_size=patch,
            context_length=shapes["text_model.embeddings.position_embedding.weight"][0],
            text_width=shapes["text_model.final_layer_norm.weight"][0],
            text_layers=_blocks(shapes, "text_model.encoder.layers."),
            vocabulary=shapes["text_model.embeddings.token_embedding.weight"][0],
        )
    except (KeyError, IndexError, ValueError):
        return None


def architectures_of(sizes: Sizes) -> tuple[str, ...]:
    """The architectures of open_clip with these sizes, without the second names of QuickGELU."""
    known = _known_sizes()
    wanted = astuple(sizes) if sizes.vocabulary else astuple(sizes)[:-1]
    names = [name for name, other in known.items() if astuple(other)[: len(wanted)] == wanted]
    return tuple(name for name in names if name.removesuffix(QUICK_SUFFIX) == name or _plain(name) not in names)


def named(arch: str, quick_gelu: bool) -> str:
    """The name under which open_clip offers an architecture with an activation, e.g. `ViT-B-16-quickgelu`."""
    plain = _plain(arch)
    return f"{plain}{QUICK_SUFFIX}" if quick_gelu and f"{plain}{QUICK_SUFFIX}" in _configs() else arch


def states_quick_gelu(arch: str) -> bool:
    """Whether the name of an architecture states QuickGELU."""
    config = _configs().get(arch)
    return arch.endswith(QUICK_SUFFIX) or (config is not None and config.quick_gelu)


def known_architectures() -> frozenset[str]:
    """The architectures in the table of the installed open_clip."""
    return frozenset(_configs())


def _plain(arch: str) -> str:
    return arch.removesuffix(QUICK_SUFFIX)


@cache
def _known_sizes() -> dict[str, Sizes]:
    """The sizes of the architectures whose towers are CLIP's own."""
    return {name: sizes for name, config in sorted(_configs().items()) if (sizes := _sizes_of_config(config))}


def _sizes_of_config(config: _Config) -> Sizes | None:
    """The sizes of a configuration; None if a tower has another class than CLIP's own."""
    vision, text = config.vision_cfg, config.text_cfg
    others = config.custom_text, vision.timm_model_name, text.hf_model_name, config.multimodal_cfg
    if any(others) or not isinstance(vision.image_size, int):
        return None
    if vision.layers is None or vision.width is None:
        return None
    resnet = isinstance(vision.layers, list)
    layers = tuple(vision.layers) if isinstance(vision.layers, list) else (vision.layers,)
    return Sizes(
        config.embed_dim, vision.image_size, layers, vision.width, 0 if resnet else vision.patch_size or 0,
        text.context_length, text.width, text.layers, text.vocab_size,
    )  # fmt: skip


@cache
def _configs() -> dict[str, _Config]:
    """The configurations of the installed open_clip, read without importing it; none if it is not installed."""
    found = importlib.util.find_spec("open_clip")
    if found is None or not found.origin:
        return {}
    folder = Path(found.origin).parent / "model_configs"
    return {path.stem: msgspec.json.decode(path.read_bytes(), type=_Config) for path in folder.glob("*.json")}
