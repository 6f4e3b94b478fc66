"""The number of clips in a device batch: the option, or the default of the device."""

from __future__ import annotations

from typing import Literal

from harness.engine.compute.device import Device
from harness.machine.compute_options import ComputeOptions
from harness.spec.method_spec import MethodSpec
from harness.spec.options import MethodOptions

DEFAULT_CLIPS = {("fit", "cpu"): 16, ("fit", "cuda"): 32, ("eval", "cpu"): 8, ("eval", "cuda"): 32}
"""Clips per device batch for (kind of cell, kind of device)."""


def eval_batch(spec: type[MethodSpec], options: MethodOptions, device: Device, compute: ComputeOptions) -> int:
    """Videos per device batch of an eval: the number that the method scores together, or that of the device."""
    return spec.scored_together(options) or device_batch("eval", device, compute)


def device_batch(kind: Literal["fit", "eval"], device: Device, compute: ComputeOptions) -> int:
    """Clips per device batch of a fit or an eval.

    Args:
        kind: `fit` or `eval`.
        device: The device, whose kind decides the default.
        compute: `fit_clips` and `eval_clips` override the default.
    """
    option = compute.fit_clips if kind == "fit" else compute.eval_clips
    return option or DEFAULT_CLIPS[kind, device.kind]
