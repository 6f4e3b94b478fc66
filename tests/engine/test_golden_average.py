"""The mean of epochs against the averaging tool of Open-VCLIP and FROSTER."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from harness.engine.training.kept_weights import KeptEpochs, kept_file, mean_state
from harness.spec import Recipe
from methods._recipes_slowfast import FROSTER, OPEN_VCLIP
from tests.engine import golden

TEACHER = "raw_model."
"""Prefix of FROSTER's frozen copy of CLIP, which its checkpoints hold and which is not trained."""


@pytest.mark.parametrize(
    ("name", "recipe"), [("openvclip", OPEN_VCLIP["zero_shot"]), ("froster", FROSTER["b2n"])]
)  # fmt: skip
def test_the_mean_of_the_recipes_epochs_is_that_of_the_averaging_tool(
    shared: Path, tmp_path: Path, name: str, recipe: Recipe
) -> None:
    data, prefix = golden.arrays(shared, "openvclip_engine"), f"average/{name}/"
    kept = KeptEpochs(tmp_path, range(1, recipe.epochs + 1))
    for epoch in range(1, recipe.epochs + 1):
        start = f"{prefix}in/epoch{epoch:02}/"
        stored = {key.removeprefix(start): torch.from_numpy(v) for key, v in data.items() if key.startswith(start)}
        assert stored
        kept.add(epoch, {key: value for key, value in stored.items() if not key.startswith(TEACHER)})
    assert f"{prefix}in/epoch{recipe.epochs + 1:02}/model.logit_scale" not in data
    mean: dict[str, Tensor] = mean_state([kept_file(tmp_path, epoch) for epoch in recipe.ingredients])
    expected = {key.removeprefix(f"{prefix}out/"): v for key, v in data.items() if key.startswith(f"{prefix}out/")}
    assert mean.keys() == expected.keys()
    for key, value in expected.items():
        golden.close(mean[key], value, 2e-6, f"{name} {key}")
        # CLIP itself, which the tool reads as epoch 0, has no part in the mean.
        raw = f"{prefix}raw_clip/{key.removeprefix('model.')}"
        assert raw not in data or abs(float(mean[key].mean() - data[raw].mean())) > 1e-4
