"""Recognisers of mmaction2: configs read and models built. Beside `mm`, the only file that imports its packages."""

from __future__ import annotations

import copy
import warnings
from functools import cache
from pathlib import Path
from typing import Any, cast

import mmaction
import yaml
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from harness.base.errors import UserError
from harness.engine.video.mm_setup import ensure_action_models

KINDS = ("Recognizer2D", "Recognizer3D")


@cache
def shipped_configs() -> dict[str, Path]:
    """The configs of recognisers that mmaction2's wheel contains, by file stem."""
    folder = Path(mmaction.__file__).parent / ".mim" / "configs" / "recognition"
    return {path.stem: path for path in sorted(folder.glob("*/*.py"))}


def read_config(path: Path) -> dict[str, Any]:
    """The content of a config with its bases, as plain types. A config in Python is run, as mmengine does.

    Raises:
        UserError: The file does not load.
    """
    try:
        config = Config.fromfile(str(path))
    except Exception as error:  # whatever the file's own code raises
        raise UserError(f"The config {path} does not load: {type(error).__name__}: {error}") from error
    return cast(dict[str, Any], config.to_dict())


def weights_address(path: Path) -> str | None:
    """Where mmaction2's index says that the weights of a shipped config lie; None where it lists none."""
    index = path.with_name("metafile.yml")
    if not index.is_file():
        return None
    models = yaml.safe_load(index.read_text(encoding="utf-8")).get("Models", [])
    found = [model.get("Weights") for model in models if Path(model.get("Config", "")).name == path.name]
    return str(found[0]) if found and found[0] else None


def build_recognizer(model: dict[str, Any]) -> nn.Module:
    """A recogniser with initial values; nothing is downloaded and no view is averaged inside.

    Raises:
        UserError: A part that mmaction2 does not have, or that needs another package.
    """
    ensure_action_models()
    model = copy.deepcopy(model)
    model["backbone"].pop("pretrained", None)
    model["backbone"].pop("init_cfg", None)
    if model.get("test_cfg"):
        model["test_cfg"].pop("max_testing_views", None)  # it allows one video a batch, and the harness has its own
    try:
        with DefaultScope.overwrite_default_scope("mmaction"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.meshgrid")
            return cast(nn.Module, MODELS.build(model).eval())
    except Exception as error:  # registries, constructors and imports of optional packages fail in many ways
        raise UserError(f"mmaction2 cannot build this model: {type(error).__name__}: {error}") from error


def recognizer_scores(recognizer: Any, video: Tensor) -> Tensor:
    """Class scores (B, C) before the softmax of videos (B, T, 3, H, W), RGB 0..255, one view each.

    The recogniser's own preprocessor normalises them; what follows is `predict` of mmaction2 without its mean over
    views. A 2D recogniser sees the frames as segments of one view.
    """
    preprocessor = recognizer.data_preprocessor
    # Views apart, then channels before frames, where frames are convolved: (B, 1, 3, T, H, W).
    clips = video.transpose(1, 2).unsqueeze(1) if preprocessor.format_shape == "NCTHW" else video
    inputs, _ = preprocessor.preprocess(list(clips), None, training=False)
    features, named = recognizer.extract_feat(inputs, test_mode=True)
    return cast(Tensor, recognizer.cls_head(features, **named))
