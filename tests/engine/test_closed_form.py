"""Fits in closed form: the same weights with and without cached features, nothing decoded twice, clear refusals."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from harness.api import ClipMethod, LabelSet, MethodCard, Recipe, load_backbone
from harness.base.errors import UserError
from harness.engine.features.cache import FeatureCache, fits_from_features
from harness.engine.features.context import Context
from harness.engine.job import FitJob
from harness.engine.training.fit import fit
from harness.engine.training.trained_weights import WEIGHTS, load_fit
from harness.engine.video.batches import Draw
from harness.engine.video.loaders import Row
from harness.machine.compute_options import ComputeOptions
from results.curve_file import CURVE
from results.fit_file import FitOutcome
from tests.engine.conftest import CPU, LABELS, VIEWS, tiny_method

COMPUTE = ComputeOptions(device="cpu", workers=0, fit_clips=8)
ONCE = Recipe(
    epochs=1, lr=1.0, warmup_epochs=0, micro_batch=1, ranks=1, accumulate=1, mixup=0.0, cutmix=0.0, smoothing=0.0,
    augmentation="none",
)  # fmt: skip


class ClassMeans(ClipMethod):
    """The simplest closed form: the mean video of each class is kept, and nothing else is read."""

    name = "class_means"
    card = MethodCard(title="Class means", source="this test")
    recipe: ClassVar[Recipe | None] = ONCE

    def setup(self) -> None:
        self.freeze_clip()
        self.mean = torch.nn.Parameter(torch.zeros(len(LABELS), self.embed_dim))

    def fit_features(self, features: Tensor, labels: Tensor, label_set: LabelSet) -> None:
        assert not torch.is_grad_enabled() and not self.training
        self.mean.copy_(torch.stack([features[labels == i].mean(dim=0) for i in range(len(label_set))]))


def run(
    folder: Path, rows: list[Row], cache: FeatureCache | None = None, method: ClipMethod | None = None, **recipe: object
) -> tuple[ClipMethod, FitOutcome]:
    method = method or ClassMeans(load_backbone("mini-clip"))
    outcome = fit(FitJob(method, rows, LABELS, VIEWS, replace(ONCE, **recipe)), folder, Context(CPU, COMPUTE, cache))
    return method, outcome


def test_a_closed_form_sees_every_clip_once_and_leaves_its_weights(rows: list[Row], tmp_path: Path) -> None:
    method, outcome = run(tmp_path / "fit", rows)
    frames = [method.encode_frames(clip) for clip in clips_of(rows[:8])]
    torch.testing.assert_close(method.mean[0], torch.cat(frames).mean(dim=(0, 1)), atol=1e-5, rtol=0)
    assert (outcome.updates, outcome.unused_per_epoch, outcome.final_loss, outcome.replaced) == (1, 0, None, [])
    assert not (tmp_path / "fit" / CURVE).exists()
    loaded = ClassMeans(load_backbone("mini-clip"))
    load_fit(loaded, tmp_path / "fit")
    assert torch.equal(loaded.mean, method.mean)


def clips_of(rows: list[Row]) -> list[Tensor]:
    from harness.engine.video import mm_pipeline
    from harness.engine.video.frames import normalise

    dataset = mm_pipeline.ListVideoDataset(rows, mm_pipeline.eval_pipeline(VIEWS, 64), 0)
    return [normalise(torch.from_numpy(dataset[Draw(i)]["frames"])[None], VIEWS, CPU.device) for i in range(len(rows))]


def test_cached_features_give_the_same_weights_and_a_second_fit_decodes_nothing(
    rows: list[Row], tmp_path: Path, decodes: list[Draw]
) -> None:
    cache = FeatureCache(tmp_path / "features")
    plain, _ = run(tmp_path / "plain", rows)
    assert len(decodes) == len(rows)
    kept, _ = run(tmp_path / "kept", rows, cache)
    assert len(decodes) == 2 * len(rows)
    again, _ = run(tmp_path / "again", rows, cache)
    assert len(decodes) == 2 * len(rows)
    assert torch.equal(plain.mean, kept.mean) and torch.equal(kept.mean, again.mean)
    assert (tmp_path / "kept" / WEIGHTS).read_bytes() == (tmp_path / "again" / WEIGHTS).read_bytes()


def test_an_interrupted_closed_form_goes_on_from_the_kept_features(
    rows: list[Row], tmp_path: Path, decodes: list[Draw], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FeatureCache(tmp_path / "features")

    calls: list[int] = []
    whole = ClassMeans.encode_frames

    def stops(self: ClipMethod, video: Tensor) -> Tensor:
        calls.append(len(video))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(self, video)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ClipMethod, "encode_frames", stops)
        run(tmp_path / "fit", rows, cache)
    assert not (tmp_path / "fit" / WEIGHTS).exists()
    before = len(decodes)
    resumed, _ = run(tmp_path / "fit", rows, cache)
    assert len(decodes) - before == len(rows) - 16  # two batches of eight were kept
    assert torch.equal(resumed.mean, run(tmp_path / "whole", rows)[0].mean)


@pytest.mark.parametrize("cached", [False, True])
def test_a_clip_that_does_not_decode_is_replaced_by_the_next_of_its_class(
    rows: list[Row], tmp_path: Path, caplog: pytest.LogCaptureFixture, cached: bool
) -> None:
    broken = tmp_path / "broken.avi"
    broken.write_bytes(b"no video")
    damaged = [(broken, 0), *rows[1:]]
    cache = FeatureCache(tmp_path / "features") if cached else None
    with caplog.at_level(logging.WARNING):
        method, outcome = run(tmp_path / "fit", damaged, cache)
    assert outcome.replaced == [0]
    assert f"training clip {broken} (class 'circle left') is replaced by {rows[1][0]}" in caplog.text
    expected, _ = run(tmp_path / "other", [rows[1], *rows[1:]])
    assert torch.equal(method.mean, expected.mean)
    with pytest.raises(UserError, match="No training clip of class 'circle left' can be decoded"):
        run(tmp_path / "none", [(broken, 0), *rows[8:]], cache)


def test_settings_that_a_closed_form_would_ignore_are_refused(rows: list[Row], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the recipe has epochs=3, mixup=0\.8"):
        run(tmp_path / "fit", rows, epochs=3, mixup=0.8)

    class Tuned(ClassMeans):
        def setup(self) -> None:
            super().setup()
            self.backbone.visual.requires_grad_(True)

    with pytest.raises(UserError, match="its vision tower learns or is changed"):
        run(tmp_path / "fit", rows, method=Tuned(load_backbone("mini-clip")))


@pytest.mark.parametrize("name", ["sje", "dem"])
def test_methods_with_an_own_loss_of_features_are_trained_on_cached_ones(
    name: str, rows: list[Row], tmp_path: Path, decodes: list[Draw]
) -> None:
    recipe = replace(tiny_method(name).recipes["mini/zero_shot"], epochs=2)
    rows = rows[::2]
    cache = FeatureCache(tmp_path / "features")
    states = []
    for folder, kept in (("cached", cache), ("again", cache), ("plain", None)):
        method = tiny_method(name)
        assert fits_from_features(method)
        fit(FitJob(method, rows, LABELS, VIEWS, recipe), tmp_path / folder, Context(CPU, COMPUTE, kept))
        states.append(load_file(tmp_path / folder / WEIGHTS))
        assert len(decodes) == (len(rows) if folder != "plain" else 3 * len(rows))
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key])
        torch.testing.assert_close(value, states[2][key], atol=1e-4, rtol=1e-3)


def test_eszsl_is_fitted_through_the_engine(rows: list[Row], tmp_path: Path) -> None:
    method = tiny_method("eszsl")
    recipe = tiny_method("eszsl").recipes["zero_shot"]
    fit(FitJob(method, rows, LABELS, VIEWS, recipe), tmp_path, Context(CPU, COMPUTE))
    assert set(load_file(tmp_path / WEIGHTS)) == {"bilinear", "penalties"}
    assert float(method.bilinear.detach().abs().max()) > 0 and method.penalties.tolist() == [1.0, 1.0]
