"""The two example packages, installed and run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from harness.api import LabelSet, UserError, build_method, check_method
from harness.engine.contract.tiny_clip import tiny_backbone
from harness.engine.method import method_class
from tests.conftest import ROOT, in_process
from tests.examples.conftest import EXAMPLES

FEW = (
    "--repeat", "1", "--views", "frames=2", "--workers", "0", "--quiet", "--no-report", "--json",
    "--recipe", "epochs=1", "--recipe", "warmup_epochs=0",
)  # fmt: skip
LABELS = LabelSet(("open a door", "ride a bike", "jump"))


@pytest.fixture(autouse=True)
def on_the_path(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(installed))
    monkeypatch.setenv("HARNESS_CONFIG", "/dev/null")


def test_they_are_listed_with_their_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert in_process("list", "methods", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    for name in EXAMPLES:
        assert rows[name]["origin"] == f"harness-{name.replace('_', '-')} 0.1.0" and rows[name]["summary"]


@pytest.mark.parametrize(
    ("name", "options"),
    [("attention_pooling", {}), ("weight_interpolation", {}), ("weight_interpolation", {"path_loss": 0.5})],
)
def test_they_keep_the_contract(name: str, options: dict[str, Any]) -> None:
    assert [check for check in check_method(name, options) if not check.ok] == []


def test_attention_pooling_is_at_most_30_lines() -> None:
    assert len((ROOT / "examples/attention_pooling/attention_pooling.py").read_text().splitlines()) <= 30


def test_options_are_shown_with_their_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert in_process("show", "weight_interpolation", "--arch", "mini-clip") == 0
    text = capsys.readouterr().out
    assert "harness-weight-interpolation 0.1.0" in text and "alpha = 0.5: share of the fine-tuned weights" in text


@pytest.mark.parametrize("values", [{"alpha": "1.5"}, {"alpha": "half"}, {"path_end": "1"}, {"path_loss": "-1"}])
def test_options_out_of_range(values: dict[str, str]) -> None:
    with pytest.raises(UserError, match=next(iter(values))):
        build_method("weight_interpolation", tiny_backbone(), **values)


def test_the_fit_ends_between_clip_and_the_fine_tuned_weights(
    small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """WiSE-FT: theta(alpha) = (1 - alpha) theta(0) + alpha theta(1), in every tensor; alpha is part of the identity."""
    weights, scores = {}, {}
    for alpha in (0.0, 0.25, 1.0):
        runs = tmp_path / f"runs{alpha}"
        arguments = ("run", "--method", "weight_interpolation", "--set", f"alpha={alpha}", "--protocol", "b2n")
        folders = ("--dataset", small_dataset, "--arch", "mini-clip", "--runs", runs, "--cache", tmp_path / "cache")
        short = ("--recipe", "ranks=1", "--recipe", "accumulate=1")
        assert in_process(*arguments, *FEW, *short, *folders) == 0
        scores[alpha] = json.loads(capsys.readouterr().out)
        (file,) = runs.rglob("weights.safetensors")
        weights[alpha] = load_file(file)
        (fit,) = runs.rglob("fit.json")
        assert json.loads(fit.read_text())["described"]["method"]["options"]["alpha"] == alpha
    clip = build_method("weight_interpolation", _mini()).trained_state()
    for name, value in clip.items():
        assert torch.equal(weights[0.0][name], value)
        expected = 0.75 * value + 0.25 * weights[1.0][name]
        torch.testing.assert_close(weights[0.25][name], expected, rtol=1e-6, atol=1e-6)
    assert any(not torch.equal(weights[1.0][name], value) for name, value in clip.items())
    assert len({row["key"] for rows in scores.values() for row in rows}) == sum(map(len, scores.values()))


def _mini() -> Any:
    from harness.api import load_backbone

    return load_backbone("mini-clip")


def test_the_loss_on_the_path_adds_the_gradient_taken_there() -> None:
    """Open-VCLIP: gradient = g(theta) + C g(r theta_clip + (1 - r) theta), computed as in the authors' code."""
    method = build_method("weight_interpolation", tiny_backbone(), path_loss=0.5)
    plain = build_method("weight_interpolation", tiny_backbone())
    video = torch.randn(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    targets = torch.eye(3)[:2]
    with torch.no_grad():  # away from CLIP
        for p, q in zip(method.trainable(), plain.trainable(), strict=True):
            p.add_(0.01 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
            q.copy_(p)
    torch.manual_seed(11)
    r = float(torch.rand(())) * 0.6
    torch.manual_seed(11)
    method.loss(video, targets, LABELS).backward()
    plain.loss(video, targets, LABELS).backward()
    expected = [p.grad.clone() for p in plain.trainable()]
    plain.zero_grad()
    clip = [p.detach() for p in build_method("weight_interpolation", tiny_backbone()).trainable()]
    with torch.no_grad():
        for p, origin in zip(plain.trainable(), clip, strict=True):
            p.copy_(r * origin + (1 - r) * p)
    plain.loss(video, targets, LABELS).backward()
    for p, q, first in zip(method.trainable(), plain.trainable(), expected, strict=True):
        torch.testing.assert_close(p.grad, first + 0.5 * q.grad, rtol=1e-3, atol=1e-5)


def test_the_class_comes_from_the_installed_file(installed: Path) -> None:
    module = method_class("attention_pooling").__module__
    assert Path(__import__(module).__file__).parent == installed


@pytest.mark.slow
@pytest.mark.parametrize("method", ["attention_pooling", "weight_interpolation", "weight_interpolation:path_loss=0.5"])
@pytest.mark.parametrize("protocol", ["b2n", "zero_shot"])
def test_they_run_on_the_embedded_benchmark(
    method: str, protocol: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ("--dataset", "mini_target", "--runs", tmp_path / "runs")
    assert in_process("run", "--method", method, "--protocol", protocol, *FEW, *folders) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows and all(method.split(":")[0] in row["signature"] for row in rows)
