"""The architectures and pretrained tags of the installed open_clip, read from its files without importing torch."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import msgspec

from harness.spec.views import InputSettings

Constant = str | bool | tuple[float, ...]
"""A value in open_clip's table of tags that is read here."""
CLIP_INPUT = InputSettings(
    (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711), "shortest", "bicubic"
)
"""Input of OpenAI's CLIP, and open_clip's default (`PreprocessCfg`)."""


@dataclass(frozen=True)
class Tag:
    """A pretrained tag of open_clip.

    Args:
        url: Address of a file; empty without one.
        hub: Repository on the Hugging Face hub; empty without one.
        quick_gelu: Whether the weights were trained with QuickGELU.
        input: Input statistics and resizing of the weights.
    """

    url: str = ""
    hub: str = ""
    quick_gelu: bool = False
    input: InputSettings = CLIP_INPUT


@dataclass(frozen=True)
class TextConfig:
    """The text tower in open_clip's configuration of an architecture; `hf_` names are those on the hub."""

    context_length: int = 77
    vocab_size: int = 49408
    width: int = 512
    layers: int = 12
    embed_cls: bool = False
    hf_model_name: str = ""
    hf_tokenizer_name: str = ""


@dataclass(frozen=True)
class VisionConfig:
    """The vision tower in open_clip's configuration of an architecture; a timm model states no width."""

    image_size: int = 224
    width: int = 0
    layers: int | tuple[int, ...] = 0
    timm_model_name: str = ""


@dataclass(frozen=True)
class ArchitectureConfig:
    """open_clip's configuration of an architecture, as far as plans need it."""

    embed_dim: int
    vision_cfg: VisionConfig
    text_cfg: TextConfig
    quick_gelu: bool = False
    custom_text: bool = False
    init_logit_bias: float | None = None
    multimodal_cfg: dict[str, int] = field(default_factory=dict)

    @property
    def needs_transformers(self) -> bool:
        """Whether the text tower or the tokenizer comes from Hugging Face."""
        return bool(self.text_cfg.hf_model_name or self.text_cfg.hf_tokenizer_name)

    @property
    def tokenizer(self) -> str:
        """`clip` for CLIP's byte-pair encoding, else the name of the tokenizer on the Hugging Face hub."""
        return self.text_cfg.hf_tokenizer_name or "clip"


@cache
def architectures() -> tuple[str, ...]:
    """Names of the architectures of the installed open_clip; none if it is not installed."""
    folder = open_clip_folder()
    return tuple(sorted(path.stem for path in (folder / "model_configs").glob("*.json"))) if folder else ()


@cache
def architecture_config(arch: str) -> ArchitectureConfig | None:
    """open_clip's configuration of an architecture; None for a name that it does not have."""
    if (folder := open_clip_folder()) is None or arch not in architectures():
        return None
    content = (folder / "model_configs" / f"{arch}.json").read_bytes()
    return msgspec.json.decode(content, type=ArchitectureConfig)


def computes_quick_gelu(arch: str, stated: bool) -> bool:
    """Whether the weights of a tag were trained with QuickGELU.

    An architecture with QuickGELU whose name does not say so (roberta-ViT-B-32) has no second name for GELU: its tags
    were trained with it, although their entries state nothing.

    Args:
        arch: The architecture.
        stated: Whether the entry of the tag states QuickGELU.
    """
    config = architecture_config(arch)
    return stated or (config is not None and config.quick_gelu and not arch.endswith("-quickgelu"))


def canonical_tag(arch: str, weights: str) -> str:
    """A pretrained tag in open_clip's spelling (`OpenAI` -> `openai`); other names of weights unchanged."""
    cleaned = weights.lower().replace("-", "_")
    known = cleaned == "random" or (cleaned != weights and cleaned in pretrained_tags().get(arch, {}))
    return cleaned if known else weights


@cache
def pretrained_tags() -> dict[str, dict[str, Tag]]:
    """The tags of each architecture of the installed open_clip; none if its source has another form."""
    folder = open_clip_folder()
    try:
        tree = ast.parse((folder / "pretrained.py").read_text(encoding="utf-8")) if folder else ast.Module([], [])
        constants = _constants((folder / "constants.py").read_text(encoding="utf-8")) if folder else {}
    except (OSError, SyntaxError):
        return {}
    assigned = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    table = assigned.get("_PRETRAINED")
    if not isinstance(table, ast.Dict):
        return {}
    defaults = {node.name: _defaults(node, constants) for node in tree.body if isinstance(node, ast.FunctionDef)}
    tags: dict[str, dict[str, Tag]] = {}
    for key, value in zip(table.keys, table.values, strict=True):
        variable = assigned.get(value.id) if isinstance(value, ast.Name) else value
        if isinstance(key, ast.Constant) and isinstance(variable, ast.Call | ast.Dict):
            tags[str(key.value)] = dict(_tags(variable, constants, defaults))
    # open_clip offers the tags that were trained with QuickGELU under a second name of the architecture.
    quick = {
        f"{arch}-quickgelu": {n: t for n, t in of_arch.items() if t.quick_gelu} for arch, of_arch in tags.items()
    }
    tags |= {arch: of_arch for arch, of_arch in quick.items() if of_arch}
    return {
        arch: {n: replace(t, quick_gelu=computes_quick_gelu(arch, t.quick_gelu)) for n, t in of_arch.items()}
        for arch, of_arch in tags.items()
    }


def _constants(source: str) -> dict[str, Constant]:
    """The named means and standard deviations of open_clip."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = _value(node.value, {})
            if value is not None:
                found[node.targets[0].id] = value
    return found


def _defaults(function: ast.FunctionDef, constants: Mapping[str, Constant]) -> dict[str, Constant]:
    """The entries of the mapping that a function of the table returns (`_pcfg`, `_slpcfg`, ...)."""
    returned = next((node.value for node in function.body if isinstance(node, ast.Return)), None)
    if not isinstance(returned, ast.Dict):
        return {}
    entries = zip(returned.keys, returned.values, strict=True)
    values = {k.value: _value(v, constants) for k, v in entries if isinstance(k, ast.Constant)}
    return {str(name): value for name, value in values.items() if value is not None}


def _value(node: ast.expr, constants: Mapping[str, Constant]) -> Constant | None:
    """A text, a truth value or a tuple of numbers; None for anything else."""
    if isinstance(node, ast.Name):
        return constants.get(node.id)
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str | bool) else None
    if isinstance(node, ast.Tuple) and all(isinstance(item, ast.Constant) for item in node.elts):
        numbers = ast.literal_eval(node)
        return tuple(float(number) for number in numbers)
    return None


def _tags(
    table: ast.Call | ast.Dict, constants: Mapping[str, Constant], defaults: Mapping[str, Mapping[str, Constant]]
) -> Iterator[tuple[str, Tag]]:
    """The tags in `dict(tag=_pcfg(...), ...)` or `{"tag": _pcfg(...), ...}`."""
    if isinstance(table, ast.Call):
        entries = [(keyword.arg, keyword.value) for keyword in table.keywords]
    else:
        entries = [
            (str(k.value) if isinstance(k, ast.Constant) else None, v)
            for k, v in zip(table.keys, table.values, strict=True)
        ]
    for name, call in entries:
        if name is None or not isinstance(call, ast.Call):
            continue
        values = dict(defaults.get(call.func.id, {})) if isinstance(call.func, ast.Name) else {}
        values |= {k.arg: value for k in call.keywords if k.arg and (value := _value(k.value, constants)) is not None}
        # The only positional argument of these functions is the address.
        first = [value for argument in call.args if (value := _value(argument, constants)) is not None]
        yield name, Tag(
            str(values.get("url") or (first[0] if first else "")), str(values.get("hf_hub") or ""),
            bool(values.get("quick_gelu")), _input(values),
        )  # fmt: skip


def _input(values: Mapping[str, Constant]) -> InputSettings:
    """The input settings in the entry of a tag; open_clip's default where the entry states none."""
    mean, std = values.get("mean", CLIP_INPUT.mean), values.get("std", CLIP_INPUT.std)
    assert isinstance(mean, tuple) and isinstance(std, tuple)
    resize, interpolation = (
        values.get("resize_mode", CLIP_INPUT.resize),
        values.get("interpolation", CLIP_INPUT.interpolation),
    )
    return InputSettings(mean, std, str(resize), str(interpolation))


@cache
def open_clip_folder() -> Path | None:
    """The folder of the installed open_clip, found without importing it."""
    found = importlib.util.find_spec("open_clip")
    return Path(found.origin).parent if found is not None and found.origin else None
