"""Device and precision of this process."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from harness.errors import UserError
from harness.runtime import Runtime

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


def choose_device(runtime: Runtime) -> Device:
    """The device and precision that the runtime settings ask for.

    Raises:
        UserError: CUDA is asked for and absent, or an unknown device or precision.
    """
    if runtime.device not in ("auto", "cpu", "cuda"):
        raise UserError(f"Device {runtime.device!r} is unknown.", "Choose auto, cpu or cuda.")
    has_cuda = torch.cuda.is_available()
    if runtime.device == "cuda" and not has_cuda:
        raise UserError("--device cuda is asked for, but torch sees no CUDA device.", "Use --device cpu or auto.")
    kind = "cuda" if has_cuda and runtime.device != "cpu" else "cpu"
    if runtime.precision == "auto":
        name = "fp32" if kind == "cpu" else ("bf16" if torch.cuda.is_bf16_supported() else "fp16")
    elif runtime.precision in _DTYPES:
        name = runtime.precision
    else:
        raise UserError(f"Precision {runtime.precision!r} is unknown.", f"Choose auto, {', '.join(_DTYPES)}.")
    return Device(torch.device(kind), _DTYPES[name])
