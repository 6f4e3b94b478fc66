"""Logits of a device batch, from frames or from cached frame features.

This module does not read videos, so that a benchmark can time exactly what an eval computes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from harness.base.errors import EXIT_FAILED, UserError
from harness.engine.compute.device import Device
from harness.engine.method import ClipMethod, TextT, VideoT
from harness.engine.video.frames import normalise, split_views
from harness.spec import Views


def view_logits(
    method: ClipMethod[VideoT, TextT], frames: Tensor, text: TextT, views: Views, device: Device, classes: int
) -> Tensor:
    """Return logits (B, V, C) in fp32 of decoded frames.

    Args:
        method: The method, on the device.
        frames: (B, V*T, 3, H, W) uint8.
        text: Encoded label set.
        views: The views, V per video and T frames per view.
        device: Device of the computation.
        classes: Number of classes C.

    Raises:
        UserError: The method returns scores of a wrong shape, or scores that are not finite.
    """
    video = split_views(normalise(frames, views, device.device), views)
    return check_logits(method, method.score(method.encode_video(video), text), len(video), views, classes)


def feature_logits(
    method: ClipMethod[Tensor, TextT], features: Tensor, text: TextT, views: Views, device: Device, classes: int
) -> Tensor:
    """Return logits (B, V, C) in fp32 of frame features (B, V*T, D); the other arguments are those of `view_logits`.

    Raises:
        UserError: The method returns scores of a wrong shape, or scores that are not finite.
    """
    frames = split_views(features.to(device.device, non_blocking=True), views)
    return check_logits(method, method.score(method.pool(frames), text), len(frames), views, classes)


def check_logits(method: ClipMethod[VideoT, TextT], scores: Tensor, clips: int, views: Views, classes: int) -> Tensor:
    """Return scores (B*V, C) of `clips` = B*V views as logits (B, V, C) in fp32.

    Raises:
        UserError: The scores have a wrong shape or are not finite.
    """
    # Half-precision scores are compared and sorted in fp32.
    logits = scores.float()
    if logits.shape != (clips, classes):
        raise UserError(
            f"{method.name} returned scores of shape {tuple(logits.shape)} for {clips} views and {classes} classes.",
            "score() must return (videos, classes).",
            EXIT_FAILED,
        )
    # Refused here: NumPy sorts NaN last, so that the last class would win (D9 of docs/stack.md).
    if not torch.isfinite(logits).all():
        raise UserError(f"{method.name} returned scores that are not finite (NaN or infinite).", "", EXIT_FAILED)
    return torch.unflatten(logits, 0, (-1, views.count))
