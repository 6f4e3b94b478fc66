"""Fits on cached frame features: the curve of a fit that decodes, and each clip decoded once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.base.errors import UserError
from harness.engine.features.cache import FeatureCache
from harness.engine.features.context import Context
from harness.engine.job import FitJob
from harness.engine.training.fit import fit
from harness.engine.video.batches import Draw
from harness.engine.video.loaders import Row
from results.codec import encode
from tests.engine.conftest import CPU, LABELS, VIEWS
from tests.engine.test_features import COMPUTE, PLAIN, method_of, score


def train(
    folder: Path, rows: list[Row], cache: FeatureCache | None, name: str, **recipe: Any
) -> tuple[list[float], Any]:
    """(losses, outcome) of a fit."""
    losses: list[float] = []
    job = FitJob(method_of(name), rows, LABELS, VIEWS, replace(PLAIN, **recipe))
    outcome = fit(job, folder, Context(CPU, COMPUTE, cache), lambda done, total, loss: losses.append(loss))
    return losses, outcome


def test_training_without_augmentation_decodes_each_clip_once(
    rows: list[Row], cache: FeatureCache, tmp_path: Path, decodes: list[Draw]
) -> None:
    wanted, _ = train(tmp_path / "a", rows[::2], None, "efficient_prompt", epochs=3)
    assert len(decodes) == 48
    cached_losses, _ = train(tmp_path / "b", rows[::2], cache, "efficient_prompt", epochs=3)
    assert len(decodes) == 48 + 16
    np.testing.assert_allclose(cached_losses, wanted, rtol=0, atol=1e-4)
    assert len(set(cached_losses)) > 3
    score(method_of("vanilla_clip"), rows[::2], cache)
    assert len(decodes) == 48 + 16, "an eval of the same views finds the features of the fit"


def test_augmented_training_does_not_use_the_cache(
    rows: list[Row], cache: FeatureCache, tmp_path: Path, decodes: list[Draw]
) -> None:
    train(tmp_path / "a", rows[::2], cache, "text_ft", augmentation="published")
    train(tmp_path / "b", rows[::2], cache, "text_ft", mixup=0.8)
    assert len(decodes) == 64 and not cache.folder.exists()


def test_cached_augmented_views(rows: list[Row], cache: FeatureCache, tmp_path: Path, decodes: list[Draw]) -> None:
    settings: dict[str, Any] = dict(augmentation="published", views_cached=2, epochs=3)
    wanted, _ = train(tmp_path / "a", rows[::2], None, "text_ft", **settings)
    del decodes[:]
    cached_losses, _ = train(tmp_path / "b", rows[::2], cache, "text_ft", **settings)
    assert len(decodes) == 32
    assert {(draw.epoch, draw.position) for draw in decodes} == {(v, i) for v in (0, 1) for i in range(16)}
    np.testing.assert_allclose(cached_losses, wanted, rtol=0, atol=1e-4)
    fresh, _ = train(tmp_path / "c", rows[::2], None, "text_ft", augmentation="published", epochs=3)
    assert not np.allclose(fresh, wanted, atol=1e-4), "fewer views are another method"


def test_views_cached_is_part_of_the_recipe() -> None:
    assert encode(PLAIN)["views_cached"] == 0
    assert encode(replace(PLAIN, views_cached=4))["views_cached"] == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "recipe", "message"),
    [
        ("text_ft", {"mixup": 0.8}, "MixUp and CutMix, which need pixels, are not possible"),
        ("text_ft", {"cutmix": 1.0}, "MixUp and CutMix, which need pixels, are not possible"),
        ("text_ft", {"augmentation": "multi_scale+erasing:0.2"}, "erasing in the augmentation"),
        ("vificlip", {}, "frozen, unchanged vision tower"),
    ],
)
def test_views_that_cannot_be_cached(
    rows: list[Row], cache: FeatureCache, tmp_path: Path, name: str, recipe: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train(tmp_path / "fit", rows[::2], cache, name, **{"augmentation": "published", "views_cached": 2, **recipe})


@pytest.mark.parametrize("cached", [False, True])
def test_an_undecodable_training_clip_is_replaced_by_the_same_clip(
    rows: list[Row], cache: FeatureCache, tmp_path: Path, cached: bool
) -> None:
    broken = tmp_path / "page.avi"
    broken.write_text("<html>404</html>")
    training = [*rows[::2][:15], (broken, 3)]
    losses, outcome = train(tmp_path / "fit", training, cache if cached else None, "efficient_prompt")
    assert outcome.replaced == [15]
    standing_in = [*training[:15], training[12]]
    wanted, _ = train(tmp_path / "other", standing_in, None, "efficient_prompt")
    np.testing.assert_allclose(losses, wanted, rtol=0, atol=1e-4)


def test_a_class_without_a_decodable_clip_ends_the_fit(rows: list[Row], cache: FeatureCache, tmp_path: Path) -> None:
    page = tmp_path / "page.avi"
    page.write_text("<html>")
    training = [*rows[:15], (page, 3)]
    with pytest.raises(UserError, match="No training clip of class 'square right'"):
        train(tmp_path / "fit", training, cache, "efficient_prompt")
