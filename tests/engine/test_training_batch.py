"""Hard labels beside soft targets, and random draws that depend on seed, epoch and position alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.api import ClipMethod, LabelSet, MethodCard, Recipe, TrainingBatch, load_backbone
from harness.engine.training.fit import CURVE
from harness.engine.training.trained_weights import WEIGHTS
from harness.engine.video.loaders import Row
from harness.machine.compute_options import ComputeOptions
from tests.engine.conftest import LABELS, run_fit

ONE_UPDATE = dict(ranks=1, accumulate=2, warmup_epochs=0, schedule="constant")


class Dropping(ClipMethod):
    """Dropout on the video features, and one template for each clip."""

    name = "dropping"
    card = MethodCard(title="Dropping", source="a test")
    recipe = Recipe(epochs=2, lr=1e-3)
    random_draws = True

    def setup(self) -> None:
        self.freeze_clip()
        self.dropout = nn.Dropout(0.5)
        self.map = nn.Linear(self.embed_dim, self.embed_dim)

    def pool(self, frames: Tensor) -> Tensor:
        return self.map(self.dropout(frames.mean(dim=1)))


class HardLabels(Dropping):
    """Cross-entropy with the class ids; keeps the batches of its losses."""

    random_draws = False

    def setup(self) -> None:
        super().setup()
        self.dropout = nn.Identity()
        self.batches: list[TrainingBatch] = []

    def training_loss(self, batch: TrainingBatch) -> Tensor:
        self.batches.append(batch)
        return F.cross_entropy(self(batch.video, batch.label_set), batch.labels)


def fitted(folder: Path, rows: list[Row], clips: int = 4, **more: Any) -> np.ndarray:
    """The mean losses of the epochs of a fit on eight clips."""
    compute = ComputeOptions(device="cpu", workers=0, fit_clips=clips)
    run_fit(folder, rows[::4], Dropping(load_backbone("mini-clip")), compute=compute, **ONE_UPDATE, **more)
    losses = [json.loads(line)["loss"] for line in (folder / CURVE).read_text().splitlines()]
    return np.array(losses).reshape(more.get("epochs", 2), -1).mean(axis=1)


@pytest.fixture(scope="module")
def whole(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    np.save(folder / "losses.npy", fitted(folder, rows))
    return folder


@pytest.mark.slow
def test_dropout_does_not_depend_on_the_device_batch(rows: list[Row], whole: Path, tmp_path: Path) -> None:
    """Two processes with half of an update each see the same groups as one process with small device batches."""
    found = np.load(whole / "losses.npy")
    np.testing.assert_allclose(found, fitted(tmp_path / "large", rows, 8), rtol=2e-5)
    assert abs(found[0] - fitted(tmp_path / "seed", rows, 8, seed=3, epochs=1)[0]) > 1e-3


class StopError(Exception):
    """Ends a fit in the middle of its second epoch."""


@pytest.mark.slow
def test_dropout_does_not_depend_on_interruptions(rows: list[Row], whole: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int, loss: float) -> None:
        if done == 3:
            raise StopError

    with pytest.raises(StopError):
        fitted(tmp_path, rows, progress=stop)
    fitted(tmp_path, rows)
    assert (tmp_path / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


@pytest.mark.slow
def test_hard_labels_beside_blended_targets(rows: list[Row], tmp_path: Path) -> None:
    method = HardLabels(load_backbone("mini-clip"))
    compute = ComputeOptions(device="cpu", workers=0, fit_clips=8)
    run_fit(tmp_path, rows[::4], method, compute=compute, **{**ONE_UPDATE, "micro_batch": 2, "accumulate": 4})
    assert len(method.batches) == 2  # a device batch of 8 clips in each of two epochs
    for batch in method.batches:
        assert batch.labels.shape == (8,) and batch.labels.dtype == torch.int64 and batch.label_set == LABELS
        assert ((batch.targets > 0.03).sum(dim=1) > 1).any(), "the targets are blended"
    assert [batch.epoch for batch in method.batches] == [0, 1]
    assert method.batches[0].positions == tuple(range(8))
    assert method.batches[0].labels.bincount().tolist() == [2, 2, 2, 2]


def batch(epoch: int = 0, positions: tuple[int, ...] = (0, 1), seed: int = 1) -> TrainingBatch:
    labels = torch.zeros(len(positions), dtype=torch.int64)
    return TrainingBatch(torch.zeros(2, 1), torch.zeros(2, 1), labels, LabelSet(("run",)), seed, epoch, positions)


def draw(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))


def test_generators_follow_seed_epoch_and_position() -> None:
    of_clips: Callable[..., list[float]] = lambda *a, **k: [draw(g) for g in batch(*a, **k).generators_of_clips()]  # noqa: E731
    assert of_clips(positions=(3, 4))[1] == of_clips(positions=(4, 7))[0]
    assert len({*of_clips(0, (3, 4)), *of_clips(1, (3, 4)), *of_clips(0, (3, 4), seed=2)}) == 6
    epoch = draw(batch(0, (1, 2)).generator_of_epoch())
    assert epoch == draw(batch(0, (5,)).generator_of_epoch()) and epoch != draw(batch(1).generator_of_epoch())
    assert epoch != draw(batch().generator_of_epoch("templates"))
