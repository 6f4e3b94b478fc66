"""The architectures and pretrained tags of the installed open_clip, read from its files without importing torch."""

from __future__ import annotations

import ast
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.base.errors import UserError, unknown_name
from harness.cells.backbone import BackboneChoice
from harness.weights.describe import is_path
from harness.weights.hub import cached_file, cached_snapshot, is_hub, openai_cache, repository_of
from harness.weights.identity import is_external
from harness.weights.index import tag_names
from harness.weights.sizes import QUICK_SUFFIX

WEIGHT_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")


@dataclass(frozen=True)
class Tag:
    """A pretrained tag of open_clip.

    Args:
        url: Address of a file; empty without one.
        hub: Repository on the Hugging Face hub; empty without one.
        quick_gelu: Whether the weights were trained with QuickGELU.
    """

    url: str = ""
    hub: str = ""
    quick_gelu: bool = False


def check_backbone(choice: BackboneChoice) -> None:
    """Check that an architecture and a tag exist; weight files are checked for existence.

    Raises:
        UserError: An unknown architecture or tag (with the nearest), or a weight file that does not exist.
    """
    if choice.is_mini:
        return
    known = architectures()
    if choice.arch is not None and known and choice.arch.removesuffix(QUICK_SUFFIX) not in known:
        raise unknown_name("architecture", choice.arch, (*known, "mini-clip"))
    weights, arch = choice.weights or "openai", choice.arch or "ViT-B-16"
    if weights == "random" or is_external(weights):
        return
    if Path(weights).suffix in WEIGHT_SUFFIXES or os.sep in weights:
        raise UserError(f"The weight file {weights} does not exist.", "Give the path of a file, or an open_clip tag.")
    tags = pretrained_tags().get(arch)
    if tags and weights.lower().replace("-", "_") not in tags:
        raise unknown_name(f"pretrained tag of {arch}", weights, [*tags, "random"])


def weights_on_disk(choice: BackboneChoice, weights_dir: Path) -> bool | None:
    """Whether the weights of a backbone are on this machine; None if that is not known without open_clip."""
    weights, arch = choice.weights or "openai", choice.arch or "ViT-B-16"
    if choice.is_mini or weights == "random" or is_path(weights):
        return True
    if is_hub(weights):
        return cached_snapshot(repository_of(weights), weights_dir) is not None
    tag = pretrained_tags().get(arch, {}).get(weights.lower().replace("-", "_"))
    if tag is None:
        return None
    names = tag_names(arch, weights)
    name = Path(tag.url).name
    if any((weights_dir / candidate).is_file() for candidate in (*names, *([name] if name else []))):
        return True
    if name and (openai_cache() / name).is_file():
        return True
    repository, _, file = tag.hub.rpartition("/")
    return bool(repository) and cached_file(repository, file, weights_dir) is not None


@cache
def architectures() -> tuple[str, ...]:
    """Names of the architectures of the installed open_clip; none if it is not installed."""
    folder = _open_clip()
    return tuple(sorted(path.stem for path in (folder / "model_configs").glob("*.json"))) if folder else ()


@cache
def pretrained_tags() -> dict[str, dict[str, Tag]]:
    """The tags of each architecture of the installed open_clip; none if its source has another form."""
    folder = _open_clip()
    try:
        tree = ast.parse((folder / "pretrained.py").read_text(encoding="utf-8")) if folder else ast.Module([], [])
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
    tags: dict[str, dict[str, Tag]] = {}
    for key, value in zip(table.keys, table.values, strict=True):
        variable = assigned.get(value.id) if isinstance(value, ast.Name) else value
        if isinstance(key, ast.Constant) and isinstance(variable, ast.Call | ast.Dict):
            tags[str(key.value)] = dict(_tags(variable))
    # open_clip offers the tags that were trained with QuickGELU under a second name of the architecture.
    quick = {f"{arch}-quickgelu": {n: t for n, t in of.items() if t.quick_gelu} for arch, of in tags.items()}
    return tags | {arch: of for arch, of in quick.items() if of}


def _tags(table: ast.Call | ast.Dict) -> Iterator[tuple[str, Tag]]:
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
        values = {k.arg: k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)}
        first = [a.value for a in call.args if isinstance(a, ast.Constant)]
        url = values.get("url") or (first[0] if first else "")
        yield name, Tag(str(url), str(values.get("hf_hub") or ""), bool(values.get("quick_gelu")))


@cache
def _open_clip() -> Path | None:
    """The folder of the installed open_clip, found without importing it."""
    found = importlib.util.find_spec("open_clip")
    return Path(found.origin).parent if found is not None and found.origin else None
