"""Memory by settings: recomputed activations change no number, and what a fit needs is known from shapes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.api import ClipMethod, LabelSet, build_method
from harness.base.errors import UserError
from harness.engine.cost.memory import FitShape, fit_memory, saved_by_loss
from harness.engine.cost.profile import meta_backbone
from harness.engine.method import method_class
from harness.engine.model.compiled import is_compiled
from harness.engine.training.gradient_checkpointing import blocks_of, checkpointed
from harness.engine.video.loaders import Row
from harness.machine.compute_options import ComputeOptions
from tests.conftest import ROOT, in_process
from tests.engine.conftest import run_fit, tiny_method

GIB = 2**30
FOUR = LabelSet(("run", "walk slowly", "jump", "pour water"))
LEARNING: dict[str, dict[str, Any]] = {
    "vificlip": {}, "image_ft": {}, "text_ft": {}, "xclip": {"frames": 2}, "actionclip": {},
    "bridge_prompt": {"stage_one": "clip"}, "efficient_prompt": {"frames": 2},
}  # fmt: skip


def gradients(method: ClipMethod, recompute: bool) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    video = torch.randn(4, 2, 3, 64, 64)
    targets = torch.eye(len(FOUR))[torch.arange(4) % len(FOUR)]
    method.zero_grad()
    with checkpointed(method.backbone, recompute) as blocks:
        assert (blocks == 6) is recompute
        method.train().loss(video, targets, FOUR).backward()
    return {n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    "name",
    [n if n in ("vificlip", "xclip") else pytest.param(n, marks=pytest.mark.slow) for n in LEARNING],
)
def test_recomputing_changes_no_gradient(name: str) -> None:
    method = tiny_method(name, **LEARNING[name])
    plain, recomputed = gradients(method, False), gradients(method, True)
    assert plain.keys() == recomputed.keys() and plain
    for parameter, gradient in plain.items():
        torch.testing.assert_close(recomputed[parameter], gradient, rtol=1e-5, atol=1e-7)
    assert not any("forward" in vars(block) for block in blocks_of(method.backbone)), "the blocks are as before"


def test_recomputing_saves_what_is_inside_of_blocks() -> None:
    """Measured on the graph: with it, far less is reachable from the loss."""
    method = tiny_method().train()
    held: dict[bool, int] = {}
    for recompute in (False, True):
        kept: dict[int, torch.Tensor] = {}

        def pack(tensor: torch.Tensor, kept: dict[int, torch.Tensor] = kept) -> torch.Tensor:
            kept[tensor.untyped_storage()._cdata] = tensor
            return tensor

        with checkpointed(method.backbone, recompute), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            method.loss(torch.randn(4, 2, 3, 64, 64), torch.eye(4), FOUR)
        parameters = {p.untyped_storage()._cdata for p in method.parameters()}
        held[recompute] = sum(t.untyped_storage().nbytes() for k, t in kept.items() if k not in parameters)
    assert held[True] < 0.25 * held[False]


def test_a_fit_with_recomputed_activations_has_the_same_curve(rows: list[Row], tmp_path: Path) -> None:
    curves = []
    for recompute in (False, True):
        compute = ComputeOptions(device="cpu", workers=0, fit_clips=4, grad_checkpointing=recompute)
        method, _, folder = run_fit(tmp_path / str(recompute), rows[:8], compute=compute, accumulate=1)
        curves.append([json.loads(line)["loss"] for line in (folder / "curve.jsonl").read_text().splitlines()])
        assert not any("forward" in vars(block) for block in blocks_of(method.backbone))
    np.testing.assert_allclose(*curves, rtol=0, atol=1e-5)


def test_compiled_blocks_are_recomputed_too() -> None:
    from harness.engine.model.compiled import compile_vision

    method = tiny_method()
    compile_vision(method.backbone)
    with checkpointed(method.backbone, True):
        pass
    assert all(is_compiled(block) for block in method.backbone.vision_blocks), "and are compiled afterwards"


# the estimate -------------------------------------------------------------------------------------------------------


SMALL = FitShape(arch="ViT-B-32", frames=2, clips=2, names=5, precision="fp32")


@pytest.fixture(scope="module")
def real_method() -> ClipMethod:
    """A method whose tensors have values. The bytes do not depend on the values, so that none are drawn."""
    backbone = meta_backbone("ViT-B-32").to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*backbone.parameters(), *backbone.buffers()):
            tensor.fill_(0.01)
    return build_method("vificlip", backbone).train()


@pytest.mark.parametrize(
    ("precision", "recompute"),
    [("fp32", True), *(pytest.param(*case, marks=pytest.mark.slow) for case in (("fp32", False), ("bf16", True)))],
)
def test_what_is_counted_on_shapes_is_what_a_real_model_saves(
    real_method: ClipMethod, precision: str, recompute: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ViT-B/32 with values saves, in a forward pass that is computed, the bytes that are counted without values."""
    # The estimate is for GPUs, which compute open_clip's modules.
    monkeypatch.setattr("harness.engine.model.clip_model.is_lean", lambda *_: False)
    shape, method = replace(SMALL, precision=precision, grad_checkpointing=recompute), real_method
    recipe = method_class("vificlip").recipe_for("b2n", "ucf101")
    assert recipe is not None
    frames = torch.randint(0, 256, (2, 2, 3, 224, 224), dtype=torch.uint8)
    real = saved_by_loss(method, recipe, frames, shape, cuda=False)
    estimate = fit_memory(shape, cuda=False)
    exact = 0.0 if precision == "fp32" else 1e-3  # some of torch's bf16 kernels keep a few bytes more
    assert estimate.activations == pytest.approx(real.bytes + 5 * frames.numel(), rel=exact, abs=0)
    total, trained = method.parameter_counts()
    assert (estimate.parameters, estimate.gradients, estimate.moments) == (4 * total, 4 * trained, 8 * trained)
    working = real.block + max(2 * real.largest, 3 * real.passing)
    assert estimate.working == pytest.approx(working, rel=exact, abs=0)
    assert (real.block > 0) is recompute


def test_a_large_backbone_on_one_card_of_24_gb() -> None:
    """ViT-L/14, 16 frames, 400 names, bf16, 16 clips a device batch: with gradient checkpointing, not without."""
    card = 24e9 - GIB  # the CUDA runtime has its own
    large = FitShape(arch="ViT-L-14-quickgelu", clips=16)
    assert fit_memory(replace(large, grad_checkpointing=True)).total < 0.7 * card


@pytest.mark.slow
def test_that_card_does_not_hold_a_single_group_without() -> None:
    assert fit_memory(FitShape(arch="ViT-L-14-quickgelu", clips=4)).total > 24e9 - GIB


def test_the_estimate_against_peaks_of_a_gpu() -> None:
    """Peaks that a throughput run on an H200 recorded; all of them: benchmarks/memory.py --recorded."""
    recorded = json.loads((ROOT / "benchmarks/results/memory-h200.json").read_text())["rows"]
    learning = [row for row in recorded if row["method"] in ("vificlip", "image_ft", "xclip", "actionclip")]
    assert len(learning) >= 6 and all(abs(row["ratio"] - 1) < 0.05 for row in learning)
    row = next(row for row in learning if row["precision"] == "bf16")
    fields = {k: row[k] for k in FitShape.__dataclass_fields__ if k in row}
    assert fit_memory(FitShape(**fields)).total / GIB == pytest.approx(row["measured_gib"], rel=0.05)


@pytest.mark.slow
def test_sharded_moments_are_a_share() -> None:
    whole, shared = fit_memory(SMALL), fit_memory(replace(SMALL, processes=8))
    assert shared.moments == pytest.approx(whole.moments / 8, abs=1)
    assert replace(shared, moments=whole.moments) == whole


@pytest.mark.slow
def test_shared_blocks_are_a_share_and_the_rest_is_whole() -> None:
    """ViT-B/32: 12 blocks of 768 and 12 of 512 with 12 w^2 + 13 w parameters each."""
    block, text = (12 * w * w + 13 * w for w in (768, 512))
    blocks = 12 * (block + text)
    whole, shared = fit_memory(SMALL), fit_memory(replace(SMALL, processes=8, shard="fsdp"))
    saved, gathered = 4 * blocks * 7 // 8, 2 * 4 * block
    assert shared.parameters == whole.parameters - saved + gathered
    assert shared.gradients == whole.gradients - saved + gathered and shared.moments == whole.moments - 2 * saved
    assert (shared.activations, shared.working) == (whole.activations, whole.working)
    assert fit_memory(replace(SMALL, shard="fsdp")) == whole, "one process shares nothing"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"arch": "ViT-B-33"}, "no architecture named 'ViT-B-33'"),
        ({"precision": "fp8"}, "not in 'fp8'"),
        ({"clips": 0}, "at least 1"),
        ({"shard": "all"}, "zero or fsdp"),
        ({"method": "vanilla_clip"}, "vanilla_clip is not trained"),
    ],
)
def test_what_cannot_be_estimated_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fit_memory(replace(SMALL, **wrong))


@pytest.mark.slow
def test_profile_prints_the_memory(capsys: pytest.CaptureFixture[str]) -> None:
    what = ("--method", "vificlip", "--arch", "ViT-B-32", "--frames", 2, "--clips", 1, "--names", 5)
    assert in_process("profile", "--memory", *what, "--json") == 0
    estimates = json.loads(capsys.readouterr().out)
    assert [row["clips"] for row in estimates] == [1] and estimates[0]["total"] > estimates[0]["parameters"]
    assert in_process("profile", "--memory", *what) == 0
    assert "GiB per GPU" in capsys.readouterr().out
