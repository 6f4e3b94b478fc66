"""Device and precision of this process: chosen from the compute options, and adapted for evaluation on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from open_clip.transformer import VisionTransformer
from torch import nn

from harness.base.errors import UserError
from harness.machine.compute_options import ComputeOptions

LARGE = 20_000_000
"""Least number of parameters of a vision transformer that is evaluated in bf16 on a CPU. The smallest one of CLIP has
88 million, the embedded tiny CLIP fewer than one million."""
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Device:
    """The device of all tensors and the precision of the forward pass."""

    device: torch.device
    dtype: torch.dtype

    @property
    def kind(self) -> str:
        """`cpu` or `cuda`."""
        return self.device.type

    @property
    def label(self) -> str:
        """Name of the device in records: the name of the GPU, or `cpu`."""
        return torch.cuda.get_device_name(self.device) if self.kind == "cuda" else "cpu"

    @property
    def precision(self) -> str:
        """`fp32`, `bf16` or `fp16`."""
        return next(name for name, dtype in _DTYPES.items() if dtype == self.dtype)


def choose_device(compute: ComputeOptions, number: int | None = None) -> Device:
    """Return the device and precision that the compute options request.

    Args:
        compute: The compute options.
        number: Index of the CUDA device if several processes share a machine; None for the current CUDA device.

    Raises:
        UserError: CUDA is requested but absent.
    """
    has_cuda = torch.cuda.is_available()
    if compute.device == "cuda" and not has_cuda:
        raise UserError("--device cuda is requested, but torch sees no CUDA device.", "Use --device cpu or auto.")
    kind = "cuda" if has_cuda and compute.device != "cpu" else "cpu"
    # bf16 before fp16, because its range needs no loss scaling. fp32 on CPUs, where emulated bf16 is slower.
    if compute.precision == "auto":
        name = "fp32" if kind == "cpu" else ("bf16" if torch.cuda.is_bf16_supported() else "fp16")
    else:
        name = compute.precision
    numbered = kind == "cuda" and number is not None
    return Device(torch.device(f"{kind}:{number}" if numbered else kind), _DTYPES[name])


def for_evaluation(device: Device, compute: ComputeOptions, backbone: nn.Module) -> Device:
    """Return the device of an eval: bf16 for a large vision transformer on a CPU with bf16 products, else unchanged.

    bf16 is the default of GPUs too, and makes a ViT-B/16 about three times as fast on such a CPU
    (benchmarks/results/cpu-precision.json). The embedded tiny CLIP and convolutional towers, for which nothing was
    measured, are evaluated in fp32, and fits on CPUs run in fp32 unless `--precision bf16` is requested.
    """
    if compute.precision != "auto" or device.kind != "cpu" or not _cpu_multiplies_bf16():
        return device
    visual = getattr(backbone, "visual", None)
    large = isinstance(visual, VisionTransformer) and sum(p.numel() for p in visual.parameters()) >= LARGE
    return replace(device, dtype=torch.bfloat16) if large else device


@contextmanager
def casts_kept(device: Device, backbone: nn.Module) -> Iterator[None]:
    """Context without gradients in which autocast on a CPU casts each weight of a frozen vision tower only once.

    Raises:
        AssertionError: Gradients are enabled, so that frozen weights would learn.
    """
    visual = getattr(backbone, "visual", None)
    wanted = visual is not None and device.kind == "cpu" and device.dtype != torch.float32
    frozen = [p for p in visual.parameters() if not p.requires_grad] if wanted and visual is not None else []
    assert not frozen or not torch.is_grad_enabled()
    # Autocast caches the cast of a weight only if the weight requires gradients. Without the cache each use casts the
    # weight again, which made a ViT-B/16 twenty times slower.
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


def _cpu_multiplies_bf16() -> bool:
    """Return whether the CPU has bf16 products. Other CPUs emulate bf16 products, which is slower than fp32."""
    # `get_capabilities` is missing in older versions of torch.
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
