"""Fits: bit-identical, independent of the device batch, changing what is declared and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from harness.api import ClipMethod, MethodCard, Recipe, load_backbone
from harness.base.errors import UserError
from harness.engine.training.schedule import rate_of_update
from harness.engine.training.step import build_optimizer
from harness.engine.training.trained_weights import WEIGHTS, load_fit
from harness.engine.video.loaders import Row
from harness.machine.compute_options import ComputeOptions
from results.curve_file import CURVE
from results.fit_file import FitOutcome
from tests.engine.conftest import LABELS, RECIPE, VIEWS, run_fit, tiny_method

Fit = Callable[..., Any]


@dataclass(frozen=True)
class Finished:
    """A finished fit of `vificlip`, shared by tests that do not change it.

    Args:
        before: Parameters and buffers before the fit.
        steps: Arguments (done, total) of each call of `progress`.
    """

    method: ClipMethod
    outcome: FitOutcome
    folder: Path
    before: dict[str, torch.Tensor]
    steps: list[tuple[int, int]]


@pytest.fixture(scope="module")
def finished(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Finished:
    method, steps = tiny_method(), []
    before = {n: v.clone() for n, v in method.state_dict().items()}
    _, outcome, folder = run_fit(
        tmp_path_factory.mktemp("finished") / "fit", rows[::2], method,
        progress=lambda done, total, loss: steps.append((done, total)),
    )  # fmt: skip
    return Finished(method, outcome, folder, before, steps)


def curve(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / CURVE).read_text().splitlines()]


def test_the_same_fit_twice_is_bit_identical(small_fit: Fit) -> None:
    """In one process, after other random draws, with other numbers of workers."""
    _, first, a = small_fit("a", compute=ComputeOptions(device="cpu", workers=0))
    torch.rand(7)
    np.random.rand(7)
    _, second, b = small_fit("b", compute=ComputeOptions(device="cpu", workers=2))
    assert (a / WEIGHTS).read_bytes() == (b / WEIGHTS).read_bytes()
    assert first.final_loss == second.final_loss
    assert [r["loss"] for r in curve(a)] == [r["loss"] for r in curve(b)]


def test_another_seed_is_another_fit(small_fit: Fit) -> None:
    folders = [small_fit(f"seed{seed}", seed=seed, epochs=1)[2] for seed in (1, 2)]
    assert curve(folders[0])[0]["loss"] != curve(folders[1])[0]["loss"]


def test_the_device_batch_changes_nothing_but_rounding(small_fit: Fit) -> None:
    """Micro-batches of 4 on the device or all 16 clips of an update at once: the same losses and logits."""
    video = torch.randn(4, VIEWS.frames, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    by_clips = {}
    for clips in (4, 8, 16):
        compute = ComputeOptions(device="cpu", workers=0, fit_clips=clips)
        method, outcome, folder = small_fit(f"batch{clips}", compute=compute, accumulate=4, epochs=3)
        assert outcome.updates == 3
        rows = curve(folder)
        assert len(rows) == 3 * 16 // clips
        means = np.array([r["loss"] for r in rows]).reshape(3, -1).mean(axis=1)
        with torch.no_grad():
            by_clips[clips] = means, method.eval()(video, LABELS)
    for clips in (8, 16):
        np.testing.assert_allclose(by_clips[clips][0], by_clips[4][0], rtol=2e-5)
        torch.testing.assert_close(by_clips[clips][1], by_clips[4][1], rtol=1e-3, atol=1e-3)


def test_the_curve_and_the_outcome(finished: Finished) -> None:
    outcome, rows = finished.outcome, curve(finished.folder)
    assert [(r["epoch"], r["iteration"]) for r in rows] == [(i // 4, i) for i in range(8)]
    assert finished.steps == [(i + 1, 8) for i in range(8)]
    assert (outcome.updates, outcome.updates_per_epoch, outcome.unused_per_epoch, outcome.resumed_at) == (4, 2, 0, 0)
    assert outcome.final_loss == pytest.approx(np.mean([r["loss"] for r in rows[4:]]))
    expected = [rate_of_update(i // 2, RECIPE, 4) for i in range(8)]
    np.testing.assert_allclose([r["lr"] for r in rows], expected, rtol=1e-6)
    assert rows[0]["lr"] == 0.0 and outcome.seconds > 0


def test_a_fit_learns(small_fit: Fit) -> None:
    plain = dict(augmentation="none", mixup=0.0, cutmix=0.0, smoothing=0.0, warmup_epochs=0, schedule="constant")
    _, outcome, folder = small_fit(epochs=6, lr=1e-3, accumulate=1, **plain)
    assert outcome.final_loss < 0.6 * np.mean([r["loss"] for r in curve(folder)[:4]])
    left = {p.name for p in folder.iterdir() if not p.name.startswith("epoch_")}
    assert left <= {WEIGHTS, "curve.jsonl", "last_checkpoint"}, left  # nothing of the package underneath


@pytest.mark.parametrize("name", ["vificlip", "image_ft", "text_ft"])
def test_nothing_but_the_declared_parameters_changes(finished: Finished, small_fit: Fit, name: str) -> None:
    if name == "vificlip":
        method, before, folder = finished.method, finished.before, finished.folder
    else:
        method = tiny_method(name)
        before = {n: v.clone() for n, v in method.state_dict().items()}
        _, _, folder = small_fit(method=method)
    declared = set(method.trained_state())
    after = method.state_dict()
    changed = {n for n, v in before.items() if not torch.equal(v, after[n])}
    assert changed and changed <= declared
    still = {n for n in declared - changed if before[n].abs().sum() > 0}
    assert len(still) < 0.1 * len(declared), still  # what is declared does learn
    assert set(load_file(folder / WEIGHTS)) == declared


def test_a_finished_fit_loads_into_a_fresh_method(finished: Finished) -> None:
    fresh = tiny_method()
    load_fit(fresh, finished.folder)
    assert all(torch.equal(v, fresh.state_dict()[n]) for n, v in finished.method.state_dict().items())


def test_weights_of_another_method_are_refused(finished: Finished, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished.folder, tmp_path / "fit"))
    with pytest.raises(UserError, match="does not fit text_ft: missing"):
        load_fit(tiny_method("text_ft"), folder)
    (folder / WEIGHTS).unlink()
    with pytest.raises(UserError, match="are missing") as caught:
        load_fit(tiny_method(), folder)
    assert "--force" in caught.value.hint


class Bare(ClipMethod):
    """A method with one parameter of its own."""

    name = "bare"
    card = MethodCard(title="Bare")
    recipe = RECIPE

    def setup(self) -> None:
        self.freeze_clip()
        self.shift = torch.nn.Parameter(torch.zeros(self.embed_dim))

    def pool(self, frames: torch.Tensor) -> torch.Tensor:
        return super().pool(frames) + self.shift


class Frozen(Bare):
    name = "frozen"

    def setup(self) -> None:
        super().setup()
        self.shift.requires_grad_(False)


class Listed(Bare):
    name = "listed"

    def parameter_groups(self, recipe: Recipe) -> list[dict[str, Any]]:
        return [{"params": [self.shift, self.backbone.logit_scale]}]


class TwoRates(Bare):
    name = "two_rates"

    def setup(self) -> None:
        super().setup()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def pool(self, frames: torch.Tensor) -> torch.Tensor:
        return super().pool(frames) * self.scale

    def parameter_groups(self, recipe: Recipe) -> list[dict[str, Any]]:
        return [{"params": [self.shift], "lr": recipe.lr}, {"params": [self.scale], "lr": 10 * recipe.lr}]


class Diverging(Bare):
    name = "diverging"

    def loss(self, *arguments: Any) -> torch.Tensor:
        return super().loss(*arguments) * float("nan")


def test_a_method_of_its_own(small_fit: Fit) -> None:
    method = Bare(load_backbone("mini-clip"))
    small_fit(method=method)
    assert method.shift.abs().sum() > 0


def test_what_learns_nothing_is_refused(small_fit: Fit) -> None:
    with pytest.raises(UserError, match="frozen has no parameter that learns"):
        small_fit(method=Frozen(load_backbone("mini-clip")))


def test_frozen_parameters_in_a_group_are_refused() -> None:
    with pytest.raises(UserError, match=r"listed.*1 parameters that do not learn"):
        build_optimizer(Listed(load_backbone("mini-clip")), RECIPE)


def test_each_group_follows_its_own_peak_rate(small_fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[tuple[float, ...]] = []
    step = torch.optim.AdamW.step

    def spy(self: torch.optim.AdamW, *arguments: Any, **more: Any) -> Any:
        rates.append(tuple(group["lr"] for group in self.param_groups))
        return step(self, *arguments, **more)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    small_fit(method=TwoRates(load_backbone("mini-clip")))
    expected = [tuple(rate_of_update(k, RECIPE, 4, peak) for peak in (RECIPE.lr, 10 * RECIPE.lr)) for k in range(4)]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


def test_a_loss_that_is_not_finite_ends_the_fit(small_fit: Fit, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="The fit of diverging failed: the training loss became nan") as caught:
        small_fit(method=Diverging(load_backbone("mini-clip")))
    assert caught.value.exit_code == 1
    assert not list(tmp_path.rglob(WEIGHTS)) and not list(tmp_path.rglob("*.pth"))


def test_too_few_clips(small_fit: Fit, rows: list[Row]) -> None:
    with pytest.raises(UserError, match="7 training clips give no update at an effective batch of 8"):
        small_fit(train=rows[:7])


def test_an_undecodable_clip_is_replaced_and_named(small_fit: Fit, rows: list[Row], tmp_path: Path) -> None:
    page = tmp_path / "page.avi"
    page.write_text("<html>")
    train = [(page, label) if i == 5 else (path, label) for i, (path, label) in enumerate(rows[::2])]
    for workers in (0, 2):
        compute = ComputeOptions(device="cpu", workers=workers)
        _, outcome, _ = small_fit(f"w{workers}", train=train, compute=compute, epochs=1)
        assert outcome.replaced == [5]
    assert (tmp_path / "w0" / WEIGHTS).read_bytes() == (tmp_path / "w2" / WEIGHTS).read_bytes()


def test_what_was_replaced_before_an_interruption_is_named_too(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last session of a fit may decode nothing at all; `replaced` covers all of them."""
    page = tmp_path / "page.avi"
    page.write_text("<html>")
    train = [(page, label) if i == 5 else (path, label) for i, (path, label) in enumerate(rows[::2])]

    def full_disk(state: dict[str, torch.Tensor]) -> bytes:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr("harness.engine.training.kept_weights.save", full_disk)
        run_fit(tmp_path / "fit", train, epochs=1)
    _, outcome, _ = run_fit(tmp_path / "fit", train, epochs=1)
    assert outcome.resumed_at == 1
    assert outcome.replaced == [5]


def test_views_and_labels_of_the_fit_do_not_stay_in_the_method(finished: Finished) -> None:
    """A fitted method scores another label set as a fresh method with the same weights does."""
    fresh = tiny_method()
    load_fit(fresh, finished.folder)
    others = replace(LABELS, names=("walking a dog", "juggling", "running"))
    video = torch.randn(2, VIEWS.frames, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(finished.method.eval()(video, others), fresh.eval()(video, others))
