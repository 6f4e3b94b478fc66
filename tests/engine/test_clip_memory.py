"""Clips kept in memory between fits and evals: the same results, fewer decodings, and no clip of a changed file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.engine.evaluate import evaluate
from harness.engine.features.context import Context
from harness.engine.job import EvalJob, FitJob
from harness.engine.training.fit import fit
from harness.engine.video.batches import Draw
from harness.engine.video.clip_memory import ClipMemory, KeptClips, Pipeline
from harness.engine.video.loaders import Row
from harness.engine.video.transforms import PackedClip
from harness.machine.compute_options import ComputeOptions
from harness.spec import Views
from results.fit_file import FitOutcome
from tests.conftest import CLASSES, write_clip
from tests.engine.conftest import CPU, LABELS, RECIPE, VIEWS, tiny_method

COMPUTE = ComputeOptions(workers=0)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    folder = tmp_path_factory.mktemp("memory")
    return [(write_clip(folder / f"{name}.avi", name, seed=1), label) for label, name in enumerate(CLASSES)]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were decoded, in order."""
    from harness.engine.video.mm_pipeline import ListVideoDataset

    names: list[str] = []
    packed = ListVideoDataset.packed

    def noted(self: ListVideoDataset, draw: Draw) -> PackedClip:
        names.append(str(self.video(draw)))
        return packed(self, draw)

    monkeypatch.setattr(ListVideoDataset, "packed", noted)
    return names


def scores(rows: list[Row], memory: ClipMemory | None, views: Views = VIEWS, seed: int = 0) -> np.ndarray:
    context = Context(CPU, COMPUTE, clips=memory)
    return evaluate(EvalJob(tiny_method(), rows, LABELS, views, seed), context).probabilities


@pytest.mark.slow
def test_a_later_eval_decodes_only_new_videos_and_has_the_same_scores(clips: list[Row], decoded: list[str]) -> None:
    memory = ClipMemory()
    scores(clips[:2], memory)
    assert len(decoded) == 2
    joint = scores(clips, memory)
    assert len(decoded) == len(clips) and len(set(decoded)) == len(clips)
    assert np.array_equal(joint, scores(clips, None))


@pytest.mark.slow
def test_other_views_and_a_changed_file_are_decoded_again(clips: list[Row], decoded: list[str], tmp_path: Path) -> None:
    memory = ClipMemory()
    file = write_clip(tmp_path / "clip.avi", CLASSES[0], seed=1)
    before = scores([(file, 0)], memory)
    more = Views(**{**vars(VIEWS), "frames": VIEWS.frames + 1})
    scores([(file, 0)], memory, more)
    assert len(decoded) == 2
    write_clip(file, CLASSES[1], seed=2)
    os.utime(file, ns=(1, 1))
    after = scores([(file, 0)], memory)
    assert len(decoded) == 3 and not np.array_equal(before, after)


@pytest.mark.slow
def test_random_views_are_kept_for_their_row_and_seed(clips: list[Row], decoded: list[str]) -> None:
    memory, views = ClipMemory(), Views(frames=2, sampling="random")
    first = scores(clips, memory, views, seed=3)
    assert np.array_equal(scores(clips, memory, views, seed=3), first) and len(decoded) == len(clips)
    scores(clips, memory, views, seed=4)
    scores(clips[1:], memory, views, seed=3)
    assert len(decoded) == 3 * len(clips) - 1


def test_the_memory_is_bounded() -> None:
    clip = PackedClip(frames=np.zeros((2, 3, 4, 4), np.uint8), label=0)
    memory = ClipMemory(limit=clip["frames"].nbytes)
    here = Path(__file__)
    kept = KeptClips(memory, Pipeline(VIEWS, 32, "", 1), lambda draw: here)
    kept.put(Draw(0), clip)
    kept.put(Draw(1), clip)
    assert kept.get(Draw(0)) is clip and kept.get(Draw(1)) is None
    missing = KeptClips(memory, Pipeline(VIEWS, 32, "", None), lambda draw: Path("missing"))
    missing.put(Draw(0), clip)
    assert missing.get(Draw(0)) is None


def fitted(folder: Path, rows: list[Row], memory: ClipMemory | None, augmentation: str, workers: int = 0) -> FitOutcome:
    recipe = replace(RECIPE, augmentation=augmentation, micro_batch=2, accumulate=1)
    context = Context(CPU, replace(COMPUTE, workers=workers), clips=memory)
    return fit(FitJob(tiny_method(), rows, LABELS, VIEWS, recipe), folder, context)


@pytest.mark.slow
def test_a_fit_without_augmentation_decodes_each_clip_once(
    clips: list[Row], decoded: list[str], tmp_path: Path
) -> None:
    memory, rows = ClipMemory(), clips[:2]
    fitted(tmp_path / "kept", rows, memory, "none")
    assert len(decoded) == len(set(decoded)) == 2
    fitted(tmp_path / "workers", rows, memory, "none", workers=1)
    scores(rows, memory)
    assert len(decoded) == 2, "another fit and an eval on the same videos decode none of them"
    fitted(tmp_path / "decoded", rows, None, "none")
    assert len(decoded) == 2 + 2 * RECIPE.epochs
    assert len({(tmp_path / name / "weights.safetensors").read_bytes() for name in ("kept", "workers", "decoded")}) == 1


@pytest.mark.slow
def test_an_augmented_fit_decodes_another_view_in_each_epoch(
    clips: list[Row], decoded: list[str], tmp_path: Path
) -> None:
    memory = ClipMemory()
    fitted(tmp_path, clips[:2], memory, "published")
    assert len(decoded) == 2 * RECIPE.epochs
    scores(clips[:2], memory)
    assert len(decoded) == 2 * RECIPE.epochs + 2, "an eval does not read the views of a fit"


@pytest.mark.slow
def test_a_replaced_clip_is_replaced_again_from_memory(clips: list[Row], tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.avi"
    damaged.write_bytes(b"not a video")
    rows = [clips[0], (damaged, clips[0][1])]
    outcomes = [fitted(tmp_path / str(kept is None), rows, kept, "none") for kept in (ClipMemory(), None)]
    assert [outcome.replaced for outcome in outcomes] == [[1]] * 2
    first, second = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("True", "False"))
    assert first == second
