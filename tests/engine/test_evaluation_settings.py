"""Settings of views that later methods were measured with: the resizing of an eval and the combination of views."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.base.errors import UserError
from harness.engine.partial_scores import PartialScores, view_probabilities
from harness.engine.video.batches import Draw
from harness.engine.video.loaders import EvalBatch
from harness.engine.video.mm_pipeline import ListVideoDataset, eval_pipeline
from harness.spec import Views
from results.codec import encode

PLAIN = Views(frames=2)


def test_mean_logits_may_rank_other_classes_than_mean_probabilities() -> None:
    logits = torch.tensor([[[9.0, 0.0, 7.0], [-4.0, 3.0, 1.0]]])  # the second class of both views is the best mean
    by = {how: PartialScores([(None, 0)], 3, None, how) for how in ("probabilities", "logits")}
    for scores in by.values():
        scores.add(EvalBatch([0], None, {}), logits)
    assert by["probabilities"].ids[0].tolist() == [0, 1, 2] and by["logits"].ids[0].tolist() == [2, 0, 1]
    expected = logits.double().mean(dim=1).softmax(dim=-1)
    torch.testing.assert_close(view_probabilities(logits, "logits"), expected)
    np.testing.assert_allclose(by["logits"].probabilities[0], expected[0, [2, 0, 1]])


@pytest.mark.parametrize("crops", [1, 3])
@pytest.mark.parametrize("resize", ["input", "slowfast"])
def test_the_short_side_is_the_side_of_the_input(resize: str, crops: int, rows: list[tuple[Path, int]]) -> None:
    clips = [
        ListVideoDataset(list(rows[:1]), eval_pipeline(views, 32), 0)[Draw(0)]["frames"]
        for views in (replace(PLAIN, crops=crops), replace(PLAIN, crops=crops, resize=resize))
    ]
    assert clips[1].shape == clips[0].shape == (2 * crops, 3, 32, 32)
    difference = np.abs(clips[1].astype(float) - clips[0]).max()
    # Three published crops have this short side already; only rounding and the offset of the centre differ.
    assert difference > 8 if crops == 1 else difference < (1e-9 if resize == "input" else 256)


def test_transforms_get_whole_grey_levels(rows: list[tuple[Path, int]]) -> None:
    views = replace(PLAIN, resize="slowfast")
    for name, kind in (("", np.float32), ("blur_1", np.uint8)):
        assert ListVideoDataset(list(rows[:1]), eval_pipeline(views, 32, name), 0)[Draw(0)]["frames"].dtype == kind


def test_settings_of_evals_leave_fits_as_they_are() -> None:
    views = replace(PLAIN, clips=3, sampling="slowfast:16", resize="slowfast", combine="logits")
    assert views.training == Views(frames=2, sampling="slowfast:16") and views.single == PLAIN
    assert str(views) == "2x3x1-slowfast:16-slowfastsize-logits"
    assert not {"resize", "combine"} & set(encode(PLAIN)) and encode(views)["combine"] == "logits"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"resize": "224"}, "views.resize is '224', expected one of"), ({"combine": "sum"}, "views.combine is 'sum'"),
        ({"resize": "input", "normalize": "model"}, "views.resize is 'input' with normalize=model"),
    ],
)  # fmt: skip
def test_settings_that_do_not_exist_are_refused(settings: dict[str, str], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        Views(**settings)  # type: ignore[arg-type]
