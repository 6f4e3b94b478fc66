"""Recognisers of mmaction2: the built models and their class scores."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING

from mmaction.registry import MODELS
from mmengine.registry import DefaultScope
from torch import Tensor

from harness.base.errors import UserError
from harness.engine.video.mm_setup import ensure_action_models

if TYPE_CHECKING:
    from harness.engine.video.mm_configs import ModelConfig
    from harness.engine.video.mm_types import MMRecognizer


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
        parts = f"{model.get('type')} with the backbone {model['backbone'].get('type')}"
        raise UserError(
            f"mmaction2 cannot build the model {parts}: {type(error).__name__}: {error}.",
            "Install the package that the message names, or choose another config.",
        ) from error


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
