"""The function that stands for a vision block computes what open_clip's block computes."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._inductor import config as inductor

from harness.engine.compute.device import Device
from harness.engine.cost.profile import meta_backbone
from harness.engine.method import method_class
from harness.engine.model import compiled
from harness.engine.model.compiled import (
    compile_if_asked,
    compile_if_it_pays,
    compile_vision,
    is_compiled,
    runs_compiled,
    seconds_saved,
)
from tests.conftest import ROOT, TINY_RUN, in_process, machine_free
from tests.engine.conftest import LABELS, tiny_method


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same function without the compiler, which takes minutes on a CPU and needs a toolchain."""
    monkeypatch.setattr(compiled, "_compiled", lambda: compiled._block)


@pytest.mark.parametrize("activation", ["QuickGELU", "GELU"])
def test_equal_forward_and_gradients(uncompiled: None, activation: str) -> None:
    video = torch.randn(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    plain = tiny_method()
    if activation == "GELU":
        for block in plain.backbone.vision_blocks:
            block.mlp.gelu = torch.nn.GELU()
    fast = copy.deepcopy(plain)
    assert compile_vision(fast.backbone) == len(plain.backbone.vision_blocks) == 4
    wanted, found = plain(video, LABELS), fast(video, LABELS)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    wanted.square().mean().backward()
    found.square().mean().backward()
    for (name, one), (_, other) in zip(plain.named_parameters(), fast.named_parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-5, msg=name)


def test_names_and_values_of_parameters_stay(uncompiled: None) -> None:
    plain, fast = tiny_method(), tiny_method()
    compile_vision(fast.backbone)
    compile_vision(fast.backbone)  # a second eval of the same method
    assert list(fast.state_dict()) == list(plain.state_dict())
    assert all(is_compiled(block) for block in fast.backbone.vision_blocks)
    assert not any(is_compiled(module) for module in plain.modules())


def test_blocks_of_another_kind_are_left_alone(uncompiled: None) -> None:
    method = tiny_method()
    first, second, third, _ = method.backbone.vision_blocks
    first.mlp.gelu = torch.nn.ReLU()
    second.attn.dropout = 0.1
    third.ls_1 = torch.nn.Linear(1, 1)
    assert compile_vision(method.backbone) == 1


class LowRank(torch.nn.Linear):
    """A linear layer with a low-rank update, as LoRA adds it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + 0.1 * x.mean(dim=-1, keepdim=True)


@pytest.mark.parametrize("place", ["c_fc", "c_proj", "out_proj", "hook", "function"])
def test_a_block_with_a_replaced_or_hooked_layer_is_left_alone(uncompiled: None, place: str) -> None:
    """A layer of a plugin may compute something else than its weights say."""
    video = torch.randn(1, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    method = tiny_method()
    block = method.backbone.vision_blocks[0]
    owner = block.attn if place == "out_proj" else block.mlp
    old = getattr(owner, "c_fc" if place in ("hook", "function") else place)
    if place == "function":
        plain = block.attention
        block.attention = lambda **tokens: 2 * plain(**tokens)
    elif place == "hook":
        old.register_forward_hook(lambda module, inputs, output: 2 * output)
    else:
        new = LowRank(old.in_features, old.out_features)
        new.load_state_dict(old.state_dict())
        setattr(owner, place, new)
    wanted = method.encode_video(video)
    assert compile_vision(method.backbone) == 3 and not is_compiled(block)
    torch.testing.assert_close(method.encode_video(video), wanted, rtol=1e-5, atol=1e-5)


def test_a_mask_takes_the_plain_path(uncompiled: None) -> None:
    method = tiny_method().eval()
    block = method.backbone.vision_blocks[0]
    tokens = torch.randn(1, 3, 128)
    mask = torch.full((3, 3), float("-inf")).triu(1)
    with torch.no_grad():
        wanted, free = block(tokens, attn_mask=mask), block(tokens)
        compile_vision(method.backbone)
        torch.testing.assert_close(block(tokens, attn_mask=mask), wanted)
        torch.testing.assert_close(block(tokens), free, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(wanted, free)


@pytest.mark.parametrize(("wanted", "kind", "work", "frames", "runs"), [
    ("off", "cuda", "fit", 10**12, False),
    ("auto", "cuda", "fit", 10**12, True), ("auto", "cuda", "fit", 10**6, False),
    ("auto", "cuda", "eval", 10**12, True), ("auto", "cpu", "eval", 10**12, False),
    ("auto", "cpu", "fit", 10**12, False),
])  # fmt: skip
def test_compiled_where_it_pays(
    uncompiled: None, monkeypatch: pytest.MonkeyPatch, wanted: str, kind: str, work: str, frames: int, runs: bool
) -> None:
    """The tiny tower saves little a frame, so that it takes many."""
    monkeypatch.setattr(compiled, "compiler_problem", lambda kind: "")
    method = tiny_method()
    device = Device(torch.device(kind), torch.float32)
    compile_if_asked(method.backbone, wanted, device)
    assert not runs_compiled(method)
    compile_if_it_pays(method.backbone, wanted, device, work, frames)
    assert runs_compiled(method) == runs


def test_a_published_fit_on_a_gpu_is_worth_it_and_a_small_eval_is_not() -> None:
    """A ViT-B/16 at 16 frames: b2n of K-400 (6,400 clips, 11 epochs); HMDB-51's first test list, and K-400's."""
    backbone = meta_backbone("ViT-B-16")
    with torch.device("meta"):
        method = method_class("vificlip")(backbone, method_class("vificlip").options_for({}, "b2n", "k400"))
    fit = seconds_saved(method.backbone, "cuda", "fit", 11 * 200 * 16 * 16)
    evals = [seconds_saved(method.backbone, "cuda", "eval", 16 * n) for n in (1530, 19_796)]
    assert fit > compiled.WORTH_SECONDS > evals[1] > evals[0] and fit == pytest.approx(107, abs=2)


BROKEN = {"CXX": "/nonexistent/compiler", "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}


@pytest.fixture
def command(small_dataset: Path, tmp_path: Path) -> tuple[object, ...]:
    places = ("--dataset", small_dataset, "--runs", tmp_path / "runs", "--cache", tmp_path / "cache")
    return "run", "--method", "vanilla_clip", *TINY_RUN, *places, "--no-feature-cache"


def test_without_a_compiler_on_is_an_error(
    command: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, as a new one takes ten seconds: torch reads `CXX` when it is imported."""
    compiled.compiler_problem.cache_clear()
    with inductor.patch({"cpp.cxx": (None, BROKEN["CXX"]), "force_disable_caches": True}):
        assert in_process(*command, "--compile") == 1
    compiled.compiler_problem.cache_clear()
    printed = capsys.readouterr().err
    assert "error: --compile: torch.compile does not work here" in printed
    assert "Use --compile off" in printed and "Traceback" not in printed


@pytest.mark.slow
def test_without_a_compiler_auto_goes_on(command: tuple[object, ...], tmp_path: Path) -> None:
    code = (
        "import harness.engine.model.compiled as c; c.WORTH_SECONDS = -1.0; from harness.cli import main; exit(main())"
    )
    argv = [sys.executable, "-c", code, *map(str, command)]
    done = subprocess.run(argv, env=machine_free(BROKEN), cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0 and "the vision tower is not compiled" in done.stderr, done.stderr
    assert {record["environment"]["compiled"] for record in records(tmp_path / "runs")} == {False}


@pytest.mark.slow
def test_a_compiled_run_gives_the_scores_of_a_plain_one(
    harness: Callable[..., Any], small_dataset: Path, tmp_path: Path
) -> None:
    """The real compiler, on a CPU: fit and evals; batches of several sizes."""
    found = []
    for name in ("off", "on"):
        places = ("--dataset", small_dataset, "--runs", tmp_path / name, "--cache", tmp_path / "cache")
        done = harness("run", "--method", "vificlip", *TINY_RUN, *places, "--compile", name, "--eval-clips", "3",
                       timeout=500)  # fmt: skip
        assert done.returncode == 0, done.stderr
        found.append({record["key"]: record for record in records(tmp_path / name)})
    assert {record["environment"]["compiled"] for record in found[1].values()} == {True}
    assert found[0].keys() == found[1].keys()
    for key, record in found[0].items():
        assert record["metrics"] == found[1][key]["metrics"]


def records(runs: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in runs.rglob("*.record.json")]
