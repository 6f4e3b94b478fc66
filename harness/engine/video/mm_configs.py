"""Configs of mmaction2's recognisers: their files, their content and the addresses of their weights. Without torch."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import TypedDict

import yaml
from mmengine.config import Config

import harness.engine.video.mm_setup  # noqa: F401  (warning filters, before a config is read)
from harness.base.errors import UserError

KINDS = ("Recognizer2D", "Recognizer3D")


class Step(TypedDict, total=False):
    """A transform of a pipeline; only the arguments that are read here."""

    type: str
    clip_len: int
    frame_interval: int
    num_clips: int
    crop_size: int | tuple[int, int]


class _DatasetConfig(TypedDict, total=False):
    pipeline: list[Step]


class _LoaderConfig(TypedDict, total=False):
    dataset: _DatasetConfig


class BackboneConfig(TypedDict, total=False):
    """The network of a recogniser."""

    type: str
    num_frames: int
    pretrained: str | None
    init_cfg: dict[str, str] | None


class _HeadConfig(TypedDict, total=False):
    num_classes: int


class _TestConfig(TypedDict, total=False):
    max_testing_views: int


class ModelConfig(TypedDict, total=False):
    """The model of a config."""

    type: str
    backbone: BackboneConfig
    cls_head: _HeadConfig
    test_cfg: _TestConfig | None


class ConfigFile(TypedDict, total=False):
    """The content of a config; only the variables that are read here."""

    model: ModelConfig
    test_pipeline: list[Step]
    val_pipeline: list[Step]
    test_dataloader: _LoaderConfig
    val_dataloader: _LoaderConfig


@cache
def shipped_configs() -> dict[str, Path]:
    """Return the configs of recognisers in mmaction2's wheel, by file stem; empty without mmaction2."""
    spec = importlib.util.find_spec("mmaction")  # an import of mmaction2 would import torch
    if spec is None or not spec.submodule_search_locations:
        return {}
    folder = Path(next(iter(spec.submodule_search_locations))) / ".mim" / "configs" / "recognition"
    return {path.stem: path for path in sorted(folder.glob("*/*.py"))}


def read_config(path: Path) -> ConfigFile:
    """Return the content of a config with its bases, as plain types. mmengine runs the code of a config.

    Raises:
        UserError: The file cannot be loaded.
    """
    try:
        config = Config.fromfile(str(path))
    except Exception as error:  # whatever the file's own code raises
        message = f"The config {path} does not load: {type(error).__name__}: {error}."
        raise UserError(message, "Correct the file, or choose another config.") from error
    content: ConfigFile = config.to_dict()
    return content


def weights_address(path: Path) -> str | None:
    """Return the address of the weights of a shipped config from mmaction2's index; None if it lists none."""
    index = path.with_name("metafile.yml")
    if not index.is_file():
        return None
    models: list[dict[str, str | None]] = yaml.safe_load(index.read_text(encoding="utf-8")).get("Models", [])
    weights = [model.get("Weights") for model in models if Path(model.get("Config") or "").name == path.name]
    return weights[0] if weights and weights[0] else None
