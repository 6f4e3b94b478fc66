"""The engine on a CUDA device: one command, `python -m pytest -m gpu`, shows that everything works there.

`benchmarks/gpu_check.sh` lists the packages that it needs where the project is not installed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.engine.compute.device import Device, choose_device
from harness.engine.features.cache import FeatureCache
from harness.engine.model.compiled import compile_vision
from harness.engine.training.step import build_optimizer
from harness.engine.training.trained_weights import load_fit
from harness.engine.video.loaders import Row
from harness.machine.compute_options import ComputeOptions
from tests.conftest import ROOT, in_process
from tests.engine.conftest import CPU, LABELS, RECIPE, VIEWS, run_fit, score, tiny_method

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]
COMPUTE = ComputeOptions(device="cuda", workers=2, fit_clips=8, eval_clips=8)


def gpu(precision: str = "bf16") -> Device:
    return choose_device(ComputeOptions(device="cuda", precision=precision))


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "curve.jsonl").read_text().splitlines()]


def test_chosen_by_itself() -> None:
    chosen = choose_device(ComputeOptions())
    assert chosen.kind == "cuda" and chosen.precision in ("bf16", "fp16")
    assert chosen.label == torch.cuda.get_device_name()


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_fit_follows_the_cpu(rows: list[Row], tmp_path: Path, precision: str) -> None:
    run_fit(tmp_path / "cpu", rows[::2], device=CPU)
    _, outcome, folder = run_fit(tmp_path / "gpu", rows[::2], device=gpu(precision), compute=COMPUTE)
    assert outcome.peak_memory_gib > 0 and outcome.skipped_updates <= 2
    close = 1e-3 if precision == "fp32" else 0.1
    first = np.mean(losses(tmp_path / "cpu")[:2])  # there a device batch has 4 clips, here 8
    assert losses(folder)[0] == pytest.approx(first, abs=close)
    assert outcome.final_loss is not None and np.isfinite(outcome.final_loss)


def test_weights_of_a_gpu_load_on_a_cpu(rows: list[Row], tmp_path: Path) -> None:
    method, _, folder = run_fit(tmp_path / "gpu", rows[::2], device=gpu(), compute=COMPUTE)
    loaded = tiny_method()
    load_fit(loaded, folder)
    on_gpu = score(method, rows[:8], LABELS, VIEWS, gpu("fp32"), COMPUTE)
    on_cpu = score(loaded, rows[:8], LABELS, VIEWS, CPU, ComputeOptions(device="cpu", workers=0, eval_clips=8))
    np.testing.assert_allclose(on_gpu.probabilities, on_cpu.probabilities, atol=1e-3)


def test_resumes_on_the_gpu(rows: list[Row], tmp_path: Path) -> None:
    class InterruptError(Exception):
        pass

    def stop(done: int, total: int, loss: float) -> None:
        if done == 5:
            raise InterruptError

    with pytest.raises(InterruptError):
        run_fit(tmp_path / "fit", rows[::2], device=gpu(), compute=COMPUTE, progress=stop, epochs=3)
    _, outcome, folder = run_fit(tmp_path / "fit", rows[::2], device=gpu(), compute=COMPUTE, epochs=3)
    assert outcome.resumed_at >= 1 and len(losses(folder)) == 6


def test_the_optimiser_is_fused() -> None:
    assert build_optimizer(tiny_method().to("cuda"), RECIPE).defaults["fused"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_cached_features_give_the_same_scores(rows: list[Row], tmp_path: Path, precision: str) -> None:
    method, cache = tiny_method("vanilla_clip"), FeatureCache(tmp_path / "features")
    wanted = score(method, rows, LABELS, VIEWS, gpu(precision), COMPUTE)
    for _ in range(2):
        cached = score(method, rows, LABELS, VIEWS, gpu(precision), COMPUTE, cache=cache)
        np.testing.assert_array_equal(cached.ids, wanted.ids)
        np.testing.assert_allclose(cached.probabilities, wanted.probabilities, rtol=0, atol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compiled_blocks_follow_the_plain_ones(precision: str) -> None:
    device, video = gpu(precision), torch.randn(4, 2, 3, 64, 64, device="cuda")
    results: list[Any] = []
    for compiled in (False, True):
        method = tiny_method().to("cuda")
        if compiled:
            assert compile_vision(method.backbone) == 4
        with torch.autocast("cuda", dtype=device.dtype, enabled=precision != "fp32"):
            frames = method.encode_frames(video)
        frames.float().square().mean().backward()
        results.append((frames.detach().float(), method.backbone.visual.conv1.weight.grad))
    close = 1e-4 if precision == "fp32" else 5e-2
    for plain, fast in zip(*results, strict=True):
        assert torch.linalg.vector_norm(fast - plain) <= close * torch.linalg.vector_norm(plain)


def test_recomputed_activations_need_less_memory(rows: list[Row], tmp_path: Path) -> None:
    peaks, curves = [], []
    for recompute in (False, True):
        compute = ComputeOptions(device="cuda", workers=2, fit_clips=8, grad_checkpointing=recompute)
        folder = tmp_path / str(recompute)
        _, outcome, _ = run_fit(folder, rows[::2], device=gpu("fp32"), compute=compute)
        peaks.append(outcome.peak_memory_gib)
        curves.append(losses(folder))
    assert peaks[1] < peaks[0]
    np.testing.assert_allclose(*curves, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_a_large_backbone_inside_24_gb() -> None:
    """ViT-L/14 at 16 frames and 400 names, with torch's allocator held to 24 GB; peaks beside the estimates."""
    command = [sys.executable, "benchmarks/memory.py", "--limit-gib", "24"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    ratios = [float(line.split()[-1]) for line in done.stdout.splitlines() if line.startswith("vificlip")]
    assert len(ratios) == 3 and all(0.85 < ratio < 1.2 for ratio in ratios), done.stdout


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
@pytest.mark.parametrize("shard", ["none", "zero", "fsdp"])
def test_two_gpus_give_the_records_of_one(small_dataset: Path, tmp_path: Path, shard: str) -> None:
    """NCCL: the same curve to 1e-4 in fp32 and the same scores of an untrained method."""
    from tests.engine.test_processes import arguments, assert_same_scores, curve, torchrun

    more = ("--recipe", "epochs=3", "--device", "cuda", "--precision", "fp32")
    methods = ("vificlip", "vanilla_clip")
    assert in_process(*arguments(small_dataset, tmp_path / "one", *more, methods=methods)) == 0
    torchrun(2, arguments(small_dataset, tmp_path / "two", *more, "--shard", shard, methods=methods))
    one, two = ([row["loss"] for row in curve(tmp_path / folder)] for folder in ("one", "two"))
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-4)
    assert_same_scores(tmp_path / "two", tmp_path / "one", "vanilla_clip", 1e-5)
