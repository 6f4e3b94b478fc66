"""Small fits on real video files: four classes, the embedded tiny CLIP, two frames a clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.api import ClipMethod, LabelSet, Recipe, Views, build_method, load_backbone
from harness.engine.compute.device import Device
from harness.engine.evaluate import Scores, evaluate
from harness.engine.features.cache import FeatureCache
from harness.engine.features.context import Context
from harness.engine.job import EvalJob, FitJob
from harness.engine.training.fit import fit
from harness.engine.video import mm_pipeline
from harness.engine.video.batches import Draw
from harness.engine.video.loaders import Row
from harness.machine.compute_options import ComputeOptions
from results.fit_file import FitOutcome
from tests.conftest import CLASSES

LABELS = LabelSet(CLASSES)
RECIPE = Recipe(epochs=2, lr=3e-4, warmup_epochs=1, ranks=1, accumulate=2)
VIEWS = Views(frames=2)
CPU = Device(torch.device("cpu"), torch.float32)


def tiny_method(name: str = "vificlip", **options: Any) -> ClipMethod:
    return build_method(name, load_backbone("mini-clip"), **options)


@pytest.fixture(scope="session")
def rows(small_dataset: Path) -> list[Row]:
    """32 clips, 8 of each class, class by class."""
    return [
        (path, label) for label, name in enumerate(CLASSES) for path in sorted((small_dataset / name).glob("*.avi"))
    ]


def run_fit(
    folder: Path,
    rows: list[Row],
    method: ClipMethod | None = None,
    device: Device = CPU,
    compute: ComputeOptions | None = None,
    progress: Callable[[int, int, float], None] | None = None,
    **recipe: Any,
) -> tuple[ClipMethod, FitOutcome, Path]:
    """Fit the tiny CLIP into a folder; 16 clips are 4 device batches and 2 updates an epoch."""
    model, settings = method or tiny_method(), replace(RECIPE, **recipe)
    compute = compute or ComputeOptions(device="cpu", workers=0, fit_clips=4)
    job, context = FitJob(model, rows, LABELS, VIEWS, settings), Context(device, compute)
    return model, fit(job, folder, context, progress), folder


def score(
    method: ClipMethod,
    rows: list[Row],
    label_set: LabelSet = LABELS,
    views: Views = VIEWS,
    device: Device = CPU,
    compute: ComputeOptions = ComputeOptions(device="cpu", workers=0, eval_clips=4),  # noqa: B008  (frozen)
    seed: int = 0,
    cache: FeatureCache | None = None,
    **more: Any,
) -> Scores:
    """Scores of a list; `more` are arguments of `evaluate`."""
    return evaluate(EvalJob(method, rows, label_set, views, seed), Context(device, compute, cache), **more)


@pytest.fixture
def small_fit(rows: list[Row], tmp_path: Path) -> Callable[..., tuple[ClipMethod, FitOutcome, Path]]:
    """A function that fits the tiny CLIP on 16 clips in a folder of the test."""

    def run(
        folder: str = "fit", train: list[Row] | None = None, **settings: Any
    ) -> tuple[ClipMethod, FitOutcome, Path]:
        return run_fit(tmp_path / folder, train or rows[::2], **settings)

    return run


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    """An empty cache of frame features."""
    return FeatureCache(tmp_path / "features")


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Draw]]:
    """The draws that were decoded in this process."""
    seen: list[Draw] = []
    plain = mm_pipeline.ListVideoDataset.__getitem__

    def counted(self: Any, draw: Draw) -> Any:
        seen.append(draw)
        return plain(self, draw)

    monkeypatch.setattr(mm_pipeline.ListVideoDataset, "__getitem__", counted)
    yield seen
