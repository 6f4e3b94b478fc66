"""Smoothing, MixUp and CutMix: properties of what is drawn and of what it does to a group."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.engine.training.blending import BlendDraw, apply_blend, cutmix_box, draw_blend, smooth
from harness.engine.training.step import blend_groups
from harness.engine.video.batches import Draw
from harness.engine.video.loaders import FitBatch
from harness.spec import Recipe

RECIPE = Recipe(epochs=1, lr=1e-3)


def group(seed: int = 0, size: int = 4, classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    video = torch.randn(size, 3, 3, 16, 20, generator=generator)
    return video, smooth(torch.randint(classes, (size,), generator=generator), classes, 0.1)


@given(st.integers(2, 50), st.floats(0, 0.5), st.integers(0, 2**31))
@settings(deadline=None)
def test_smoothed_targets(classes: int, smoothing: float, seed: int) -> None:
    labels = torch.randint(classes, (6,), generator=torch.Generator().manual_seed(seed))
    targets = smooth(labels, classes, smoothing)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(6))
    assert (targets.argmax(dim=1) == labels).all()
    torch.testing.assert_close(targets.min(), torch.tensor(smoothing / classes, dtype=torch.float32))


@given(st.floats(0, 1), st.integers(1, 64), st.integers(1, 64), st.data())
@settings(deadline=None)
def test_boxes_lie_in_the_frame(lam: float, height: int, width: int, data: st.DataObject) -> None:
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    (x1, y1, x2, y2), weight = cutmix_box(lam, x, y, height, width)
    assert 0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height
    assert weight == pytest.approx(1 - (x2 - x1) * (y2 - y1) / (width * height))
    assert weight >= lam - 1e-9  # clipping only ever makes the box smaller


@given(st.integers(0, 50), st.integers(0, 500), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_a_group_blended(epoch: int, number: int, seed: int) -> None:
    """Targets stay distributions; each pixel and each target comes from the clip or from its partner, by the weight."""
    draw = draw_blend(Recipe(epochs=1, lr=1e-3, seed=seed), epoch, number, 4, 16, 20)
    assert draw is not None and sorted(draw.permutation) == [0, 1, 2, 3] and 0 <= draw.weight <= 1
    video, targets = group(seed)
    kept = video.clone()
    blended, soft = apply_blend(video, targets, draw)
    assert torch.equal(video, kept)  # the input is left alone
    torch.testing.assert_close(soft.sum(dim=1), torch.ones(4))
    order = list(draw.permutation)
    torch.testing.assert_close(soft, draw.weight * targets + (1 - draw.weight) * targets[order])
    if draw.box is None:
        torch.testing.assert_close(blended, draw.weight * video + (1 - draw.weight) * video[order])
        return
    x1, y1, x2, y2 = draw.box
    inside = torch.zeros(16, 20, dtype=torch.bool)
    inside[y1:y2, x1:x2] = True
    assert torch.equal(blended[..., inside], video[order][..., inside])
    assert torch.equal(blended[..., ~inside], video[..., ~inside])
    assert draw.weight == pytest.approx(1 - inside.float().mean().item())


def test_the_share_of_cutmix_and_the_mean_weights() -> None:
    draws = [draw_blend(RECIPE, 0, number, 4, 64, 64) for number in range(4000)]
    cutmix = [d for d in draws if d is not None and d.box is not None]
    mixup = [d for d in draws if d is not None and d.box is None]
    assert len(cutmix) + len(mixup) == 4000
    assert abs(len(cutmix) / 4000 - RECIPE.switch) < 0.03
    assert abs(np.mean([d.weight for d in mixup]) - 0.5) < 0.02  # Beta(0.8, 0.8)
    assert abs(np.var([d.weight for d in mixup]) - 0.25 / 2.6) < 0.01
    partner_of_itself = np.mean([d.permutation[0] == 0 for d in cutmix])
    assert abs(partner_of_itself - 0.25) < 0.04


def test_each_group_of_an_epoch_has_its_own_draw() -> None:
    draws = {draw_blend(RECIPE, epoch, number, 4, 64, 64) for epoch in range(3) for number in range(20)}
    assert len(draws) == 60
    assert draw_blend(RECIPE, 1, 2, 4, 64, 64) == draw_blend(RECIPE, 1, 2, 4, 64, 64)


@pytest.mark.parametrize(("mixup", "cutmix", "box"), [(0.0, 1.0, True), (0.8, 0.0, False)])
def test_one_kind_alone(mixup: float, cutmix: float, box: bool) -> None:
    recipe = Recipe(epochs=1, lr=1e-3, mixup=mixup, cutmix=cutmix)
    draws = [draw_blend(recipe, 0, number, 4, 32, 32) for number in range(50)]
    assert all(d is not None and (d.box is not None) == box for d in draws)


def test_neither_kind_blends_nothing() -> None:
    recipe = Recipe(epochs=1, lr=1e-3, mixup=0.0, cutmix=0.0)
    assert draw_blend(recipe, 0, 0, 4, 32, 32) is None
    video, targets = group()
    draws = [Draw(i, 0, i, 0) for i in range(4)]
    blended_group = blend_groups(video, targets, FitBatch(video, torch.zeros(4), draws), recipe)
    assert torch.equal(blended_group[0], video) and torch.equal(blended_group[1], targets)


def test_a_group_of_one_is_left_alone() -> None:
    video, targets = group(size=1)
    for draw in (BlendDraw((0,), 0.3), BlendDraw((0,), 0.3, (2, 2, 9, 9))):
        blended, soft = apply_blend(video, targets, draw)
        torch.testing.assert_close(blended, video)
        torch.testing.assert_close(soft, targets)


@pytest.mark.parametrize("groups_per_batch", [1, 2, 4])
def test_the_device_batch_does_not_change_the_blend(groups_per_batch: int) -> None:
    video, targets = group(size=16)
    draws = [Draw(i, 2, i, i // 4) for i in range(16)]
    size = 4 * groups_per_batch
    parts = [
        blend_groups(video[s], targets[s], FitBatch(video[s], torch.zeros(size), draws[s]), RECIPE)
        for s in (slice(i, i + size) for i in range(0, 16, size))
    ]
    whole = blend_groups(video, targets, FitBatch(video, torch.zeros(16), draws), RECIPE)
    assert torch.equal(torch.cat([p[0] for p in parts]), whole[0])
    assert torch.equal(torch.cat([p[1] for p in parts]), whole[1])
