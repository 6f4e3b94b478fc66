"""Checks of a backbone before anything is computed: its names, its weights and the packages that it needs."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from harness.base.errors import EXIT_FAILED, UserError, unknown_name
from harness.cells.backbone import BackboneChoice
from harness.cells.open_clip_source import architecture_config, architectures, pretrained_tags
from harness.weights.describe import is_path
from harness.weights.folder import WEIGHT_SUFFIXES
from harness.weights.hub import cached_file, cached_snapshot, is_hub, openai_cache, repository_of
from harness.weights.identity import is_external
from harness.weights.index import tag_names
from harness.weights.sizes import QUICK_SUFFIX


def check_backbone(choice: BackboneChoice) -> None:
    """Check that an architecture and a tag exist; weight files are checked for existence.

    Raises:
        UserError: An unknown architecture or tag (with the nearest), a weight file that does not exist, or an
            architecture that needs the package `transformers`, which is not installed.
    """
    if choice.is_mini:
        return
    known = architectures()
    if choice.arch is not None and known and choice.arch.removesuffix(QUICK_SUFFIX) not in known:
        raise unknown_name("architecture", choice.arch, (*known, "mini-clip"))
    require_transformers(choice.arch or "ViT-B-16")
    weights, arch = choice.weights or "openai", choice.arch or "ViT-B-16"
    if weights == "random" or is_external(weights):
        return
    if Path(weights).suffix in WEIGHT_SUFFIXES or os.sep in weights:
        raise UserError(f"The weight file {weights} does not exist.", "Give the path of a file, or an open_clip tag.")
    tags = pretrained_tags().get(arch)
    if tags and weights not in tags:
        raise unknown_name(f"pretrained tag of {arch}", weights, [*tags, "random"])


def require_transformers(arch: str) -> None:
    """Refuse an architecture whose text tower or tokenizer comes from Hugging Face if `transformers` is missing.

    Raises:
        UserError: The package is not installed.
    """
    config = architecture_config(arch)
    if config is None or not config.needs_transformers or importlib.util.find_spec("transformers") is not None:
        return
    tower, tokenizer = config.text_cfg.hf_model_name, config.text_cfg.hf_tokenizer_name
    needed = f"its text tower is {tower}" if tower else f"its tokenizer is {tokenizer}"
    raise UserError(
        f"{arch} needs the package transformers, which is not installed: {needed} of Hugging Face.",
        "Install the extra: python -m pip install 'clip-video-harness[hf]' (or: pip install transformers).",
        EXIT_FAILED,
    )


def weights_on_disk(choice: BackboneChoice, weights_dir: Path) -> bool | None:
    """Whether the weights of a backbone are on this machine; None if that is not known without open_clip."""
    weights, arch = choice.weights or "openai", choice.arch or "ViT-B-16"
    if choice.is_mini or weights == "random" or is_path(weights):
        return True
    if is_hub(weights):
        return cached_snapshot(repository_of(weights), weights_dir) is not None
    tag = pretrained_tags().get(arch, {}).get(weights)
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
