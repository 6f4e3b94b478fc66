"""Which precision an eval has: by device, by what was asked for, and on CPUs by the size of the vision tower."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from harness.base.errors import UserError
from harness.engine.compute import device as module
from harness.engine.compute.device import Device, casts_kept, choose_device, for_evaluation
from harness.engine.compute.device_batch import device_batch
from harness.engine.cost.profile import meta_backbone
from harness.engine.model.clip_model import Backbone
from harness.machine.compute_options import ComputeOptions
from tests.engine.conftest import CPU, tiny_method

AUTO = ComputeOptions(device="cpu")


@pytest.fixture(scope="module")
def large() -> Backbone:
    return meta_backbone("ViT-B-32")


@pytest.fixture
def bf16_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)


@pytest.mark.usefixtures("bf16_products")
def test_large_vision_transformers_are_scored_in_bf16(large: Backbone) -> None:
    assert for_evaluation(CPU, AUTO, large).precision == "bf16"
    assert for_evaluation(CPU, ComputeOptions(device="cpu", precision="fp32"), large) == CPU, "unless it was asked for"
    assert choose_device(AUTO).precision == "fp32", "fits stay as they are"


@pytest.mark.usefixtures("bf16_products")
def test_others_stay_in_fp32(large: Backbone) -> None:
    assert for_evaluation(CPU, AUTO, tiny_method().backbone) == CPU
    convolutions = Backbone.__new__(Backbone)
    torch.nn.Module.__init__(convolutions)
    convolutions.clip = torch.nn.Module()
    with torch.device("meta"):
        convolutions.clip.visual = torch.nn.Conv2d(3000, 3000, 3)
    assert for_evaluation(CPU, AUTO, convolutions) == CPU
    gpu = Device(torch.device("cuda"), torch.float16)
    assert for_evaluation(gpu, ComputeOptions(), large) == gpu


def test_casts_of_frozen_weights_are_kept() -> None:
    """As often as weights are used, they are cast once; afterwards they are frozen as before."""
    method = tiny_method("vanilla_clip")
    visual, half = method.backbone.visual, Device(torch.device("cpu"), torch.bfloat16)
    casts: list[tuple[int, ...]] = []

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            weight = args and isinstance(args[0], torch.Tensor) and args[0].shape == visual.conv1.weight.shape
            if weight and func is torch.ops.aten._to_copy.default:
                casts.append(tuple(args[0].shape))
            return func(*args, **(kwargs or {}))

    def run() -> int:
        casts.clear()
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16), Count():
            for _ in range(3):
                method.backbone.encode_images(torch.zeros(1, 3, 64, 64))
        return len(casts)

    assert run() == 3, "the fault: a cast a use"
    with torch.no_grad(), casts_kept(half, method.backbone):
        assert run() == 1
    assert not any(p.requires_grad for p in visual.parameters())
    with casts_kept(CPU, method.backbone):  # nothing to do in fp32
        assert not any(p.requires_grad for p in visual.parameters())


@pytest.mark.parametrize("capabilities", [{}, {"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}])
def test_a_cpu_that_would_emulate_bf16_does_not(
    large: Backbone, capabilities: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert for_evaluation(CPU, AUTO, large) == CPU
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # older versions of torch
    assert not module._cpu_multiplies_bf16()


@pytest.mark.parametrize(
    ("kind", "device", "clips"), [("fit", "cpu", 16), ("fit", "cuda", 32), ("eval", "cpu", 8), ("eval", "cuda", 32)]
)
def test_the_default_device_batch(kind: Any, device: str, clips: int) -> None:
    here = Device(torch.device(device), torch.float32)
    assert device_batch(kind, here, ComputeOptions()) == clips
    assert device_batch(kind, here, ComputeOptions(fit_clips=3, eval_clips=5)) == {"fit": 3, "eval": 5}[kind]


def test_what_is_unknown_or_absent_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="Device 'tpu' is unknown"):
        ComputeOptions(device="tpu")
    with pytest.raises(UserError, match="Precision 'fp8' is unknown"):
        ComputeOptions(device="cpu", precision="fp8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="sees no CUDA device"):
        choose_device(ComputeOptions(device="cuda"))
