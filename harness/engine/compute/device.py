"""Device and precision of this process."""

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
"""Parameters from which on a vision transformer is scored in bf16 on a CPU; CLIP's smallest has 88 million."""
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Device:
    """Where tensors live and in which precision the forward pass runs."""

    device: torch.device
    dtype: torch.dtype

    @property
    def kind(self) -> str:
        """`cpu` or `cuda`."""
        return self.device.type

    @property
    def label(self) -> str:
        """Name for records: the GPU's name, or `cpu`."""
        return torch.cuda.get_device_name(self.device) if self.kind == "cuda" else "cpu"

    @property
    def precision(self) -> str:
        """`fp32`, `bf16` or `fp16`."""
        return next(name for name, dtype in _DTYPES.items() if dtype == self.dtype)


def choose_device(compute: ComputeOptions, number: int | None = None) -> Device:
    """The device and precision that the runtime settings ask for.

    Args:
        compute: The settings.
        number: Of the CUDA device, where several processes share a machine; None for the current one.

    Raises:
        UserError: CUDA is asked for and absent, or an unknown device or precision.
    """
    if compute.device not in ("auto", "cpu", "cuda"):
        raise UserError(f"Device {compute.device!r} is unknown.", "Choose auto, cpu or cuda.")
    has_cuda = torch.cuda.is_available()
    if compute.device == "cuda" and not has_cuda:
        raise UserError("--device cuda is asked for, but torch sees no CUDA device.", "Use --device cpu or auto.")
    kind = "cuda" if has_cuda and compute.device != "cpu" else "cpu"
    if compute.precision == "auto":
        name = "fp32" if kind == "cpu" else ("bf16" if torch.cuda.is_bf16_supported() else "fp16")
    elif compute.precision in _DTYPES:
        name = compute.precision
    else:
        raise UserError(f"Precision {compute.precision!r} is unknown.", f"Choose auto, {', '.join(_DTYPES)}.")
    return Device(torch.device(kind, number if kind == "cuda" else None), _DTYPES[name])


def for_evaluation(device: Device, compute: ComputeOptions, backbone: nn.Module) -> Device:
    """The device of an eval: as it is, or in bf16 where a CPU multiplies in it and the vision tower is a real one.

    A ViT-B/16 is then scored about three times as fast (benchmarks/results/cpu-precision.json), as it is on a GPU by
    default. The embedded tiny model and convolutions, which were not measured, stay in fp32, and so do fits on CPUs.
    """
    if compute.precision != "auto" or device.kind != "cpu" or not _cpu_multiplies_bf16():
        return device
    visual = getattr(backbone, "visual", None)
    large = isinstance(visual, VisionTransformer) and sum(p.numel() for p in visual.parameters()) >= LARGE
    return replace(device, dtype=torch.bfloat16) if large else device


@contextmanager
def casts_kept(device: Device, backbone: nn.Module) -> Iterator[None]:
    """Within it, and without gradients, autocast on a CPU casts the weights of a frozen vision tower once.

    It keeps the cast of a weight only where the weight asks for gradients; each use of one that does not is cast anew,
    which took a ViT-B/16 twenty times as long.
    """
    visual = getattr(backbone, "visual", None)
    wanted = visual is not None and device.kind == "cpu" and device.dtype != torch.float32
    frozen = [p for p in visual.parameters() if not p.requires_grad] if wanted and visual is not None else []
    assert not frozen or not torch.is_grad_enabled()
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


def _cpu_multiplies_bf16() -> bool:
    """Whether the CPU has bf16 products; others emulate them, slower than fp32."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
