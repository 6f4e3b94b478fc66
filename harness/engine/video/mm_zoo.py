"""Recognisers of mmaction2: their configs, weights and class scores."""

from __future__ import annotations

import copy
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import mmaction
import yaml
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor

from harness.base.errors import UserError
from harness.engine.video.mm_setup import ensure_action_models

if TYPE_CHECKING:
    from harness.engine.video.mm_types import MMRecognizer

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
    """Return the configs of recognisers in mmaction2's wheel, by file stem."""
    folder = Path(mmaction.__file__).parent / ".mim" / "configs" / "recognition"
    return {path.stem: path for path in sorted(folder.glob("*/*.py"))}


def read_config(path: Path) -> ConfigFile:
    """Return the content of a config with its bases, as plain types. mmengine runs the code of a config.

    Raises:
        UserError: The file cannot be loaded.
    """
    try:
        config = Config.fromfile(str(path))
    except Exception as error:  # whatever the file's own code raises
        raise UserError(f"The config {path} does not load: {type(error).__name__}: {error}") from error
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


def build_recognizer(model: ModelConfig) -> MMRecognizer:
    """Return a recogniser with initial values, which downloads nothing and does not average views.

    Raises:
        UserError: mmaction2 does not have a part of the model, or the part needs another package.
    """
    ensure_action_models()
    # A copy, because keys are removed below and the config is cached.
    model = copy.deepcopy(model)
    model["backbone"].pop("pretrained", None)  # both would download weights, which the checkpoint replaces
    model["backbone"].pop("init_cfg", None)
    if test := model.get("test_cfg"):
        test.pop("max_testing_views", None)  # it allows only batches of one video
    try:
        with DefaultScope.overwrite_default_scope("mmaction"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.meshgrid")
            recognizer: MMRecognizer = MODELS.build(model).eval()
            return recognizer
    except Exception as error:  # registries, constructors and optional packages raise many types
        raise UserError(f"mmaction2 cannot build this model: {type(error).__name__}: {error}") from error


def recognizer_scores(recognizer: MMRecognizer, video: Tensor) -> Tensor:
    """Return class scores (B, C) before the softmax of videos (B, T, 3, H, W), RGB 0..255, one view per video.

    The recogniser's preprocessor normalises the videos. The remaining steps are those of mmaction2's `predict`, without
    the mean over views. For a 2D recogniser the frames are the segments of one view.
    """
    preprocessor = recognizer.data_preprocessor
    # 3D recognisers take one dimension of views, and channels before frames: (B, 1, 3, T, H, W).
    clips = video.transpose(1, 2).unsqueeze(1) if preprocessor.format_shape == "NCTHW" else video
    inputs, _ = preprocessor.preprocess(list(clips), None, training=False)
    features, named = recognizer.extract_feat(inputs, test_mode=True)
    scores: Tensor = recognizer.cls_head(features, **named)
    return scores
