"""Cached frame features: the same results, nothing decoded twice, and no entry that is trusted without a check."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from harness.api import ClipMethod, LabelSet, Recipe, Views
from harness.engine.evaluate import Scores
from harness.engine.features import cache as features
from harness.engine.features.cache import FeatureCache
from harness.engine.features.cached_loaders import ListFeatures, eval_features
from harness.engine.features.context import Context
from harness.engine.job import EvalJob
from harness.engine.scoring import view_logits
from harness.engine.video.batches import Draw
from harness.engine.video.loaders import Row
from harness.engine.video.video_bytes import MachineFaultError
from harness.machine.compute_options import ComputeOptions
from results.provenance import environment
from tests.conftest import CLASSES, write_clip
from tests.engine.conftest import CPU, LABELS, VIEWS, tiny_method
from tests.engine.conftest import score as score_list

COMPUTE = ComputeOptions(device="cpu", workers=0, eval_clips=4, fit_clips=8)
PLAIN = Recipe(
    epochs=2, lr=3e-3, warmup_epochs=0, micro_batch=8, ranks=1, accumulate=1, mixup=0.0, cutmix=0.0, smoothing=0.0,
    augmentation="none",
)  # fmt: skip
FROZEN_VISION = ("vanilla_clip", "text_ft", "efficient_prompt", "eszsl", "sje", "dem")


def method_of(name: str) -> ClipMethod:
    return tiny_method(name, frames=VIEWS.frames) if name == "efficient_prompt" else tiny_method(name)


def score(
    method: ClipMethod, rows: list[Row], cache: FeatureCache | None, views: Views = VIEWS, **named: Any
) -> Scores:
    return score_list(method, rows, LABELS, views, CPU, COMPUTE, cache=cache, **named)


def same(a: Scores, b: Scores) -> None:
    np.testing.assert_array_equal(a.ids, b.ids)
    np.testing.assert_allclose(a.probabilities, b.probabilities, rtol=0, atol=1e-6)
    assert a.failed == b.failed


def features_of(cache: FeatureCache, method: ClipMethod, rows: list[Row], views: Views = VIEWS) -> ListFeatures:
    features = eval_features(EvalJob(method, rows, LABELS, views), Context(CPU, COMPUTE, cache), 4)
    assert features is not None
    return features


@pytest.mark.parametrize("name", FROZEN_VISION)
def test_the_same_scores_with_and_without(name: str, rows: list[Row], cache: FeatureCache, decodes: list[Draw]) -> None:
    method = method_of(name)
    without = score(method, rows[:10], None)
    same(score(method, rows[:10], cache), without)
    assert len(decodes) == 20
    same(score(method, rows[:10], cache), without)
    assert len(decodes) == 20, "the second eval decodes nothing"


def test_logits_from_features_equal_logits_from_frames(rows: list[Row], cache: FeatureCache) -> None:
    method = method_of("vanilla_clip").eval()
    features = features_of(cache, method, rows[:4])
    draws = [Draw(i) for i in range(4)]
    features.complete(draws)
    frames = torch.from_numpy(np.stack([features.dataset[draw]["frames"] for draw in draws]))
    with torch.no_grad():
        text = method.encode_text(LABELS)
        wanted = view_logits(method, frames, text, VIEWS, CPU, len(LABELS))[:, 0]
        logits = method.score(method.pool(torch.stack([features.get(draw) for draw in draws])), text)
    torch.testing.assert_close(logits, wanted, rtol=0, atol=1e-6)


def test_shared_by_methods_label_sets_and_lists(rows: list[Row], cache: FeatureCache, decodes: list[Draw]) -> None:
    score(method_of("vanilla_clip"), rows[:8], cache)
    score(method_of("text_ft"), rows[4:8], cache)
    score_list(method_of("efficient_prompt"), rows[:3], LabelSet(CLASSES[:2]), VIEWS, CPU, COMPUTE, cache=cache)
    assert len(decodes) == 8
    score(method_of("text_ft"), rows[4:10], cache)
    assert [draw.index for draw in decodes[8:]] == [4, 5]


def test_changed_weights_views_precision_and_activation_have_other_entries(cache: FeatureCache) -> None:
    method = method_of("vanilla_clip")
    keys = {cache.open(method, VIEWS, CPU).key}
    assert keys == {cache.open(method_of("text_ft"), VIEWS, CPU).key}
    for views in (
        replace(VIEWS, frames=4), replace(VIEWS, normalize="clip"), replace(VIEWS, reader="exact"),
        replace(VIEWS, crops=3),
        replace(VIEWS, clips=2, sampling="uniform"), replace(VIEWS, clips=2, sampling="random"),
    ):  # fmt: skip
        keys.add(cache.open(method, views, CPU).key)
    keys.add(cache.open(method, VIEWS, replace(CPU, dtype=torch.bfloat16)).key)
    keys.add(cache.open(method, VIEWS, CPU, PLAIN).key)
    activated = method_of("vanilla_clip")
    activated.backbone.vision_blocks[1].mlp.gelu = torch.nn.ReLU()
    keys.add(cache.open(activated, VIEWS, CPU).key)
    with torch.no_grad():
        method.backbone.visual.proj[0, 0] += 1e-3
    keys.add(cache.open(method, VIEWS, CPU).key)
    assert len(keys) == 11


@pytest.mark.slow
def test_another_version_of_a_package_that_touches_frames_has_other_entries(
    cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, keys = method_of("vanilla_clip"), set()
    known = environment()
    for name in ("", "decord", "av", "opencv-python", "mmaction2", "open_clip_torch", "torch", "torchvision", "numpy"):
        changed = replace(known, packages={**known.packages, name: "0.0.0"})
        monkeypatch.setattr(features, "environment", lambda changed=changed: changed)
        keys.add(cache.open(method, VIEWS, CPU).key)
    assert len(keys) == 9
    monkeypatch.setattr(features, "environment", lambda: replace(known, packages={**known.packages, "pandas": "0.0.0"}))
    assert cache.open(method, VIEWS, CPU).key in keys, "a package that touches no frame"


@pytest.mark.slow
def test_an_eval_says_whether_features_came_from_the_cache(rows: list[Row], cache: FeatureCache) -> None:
    method = method_of("vanilla_clip")
    assert [score(method, rows, cache).cached for _ in range(2)] == [False, True]
    assert not score(method, rows, None).cached


def test_changed_weights_change_the_scores(rows: list[Row], cache: FeatureCache) -> None:
    """As after a parent fit: the method is the same, its vision tower is not."""
    method = method_of("text_ft")
    score(method, rows[:4], cache)
    with torch.no_grad():
        method.backbone.visual.proj.copy_(method.backbone.visual.proj.roll(1, dims=1))
    same(score(method, rows[:4], cache), score(method, rows[:4], None))


def test_another_content_at_the_same_place(rows: list[Row], cache: FeatureCache, tmp_path: Path) -> None:
    video = tmp_path / "clip.avi"
    method = method_of("vanilla_clip")
    entries = []
    for source in (rows[0][0], rows[20][0], rows[0][0]):
        shutil.copyfile(str(source), video)
        os.utime(video, (1e9 + len(entries),) * 2)
        entries.append(cache.open(method, VIEWS, CPU).entry(video))
        same(score(method, [(video, 0)], cache), score(method, [(video, 0)], None))
    assert entries[0] == entries[2] != entries[1]


def test_a_file_that_just_changed_is_hashed_again(rows: list[Row], cache: FeatureCache, tmp_path: Path) -> None:
    """Same size, same time stamp: within the clock's grain only the content tells."""
    video = tmp_path / "clip.bin"
    video.write_bytes(b"a" * 100)
    first, stamp = cache.content(video), video.stat().st_mtime_ns
    video.write_bytes(b"b" * 100)
    os.utime(video, ns=(stamp, stamp))
    assert cache.content(video) != first


def test_the_same_content_elsewhere_is_found(
    rows: list[Row], cache: FeatureCache, tmp_path: Path, decodes: list[Draw]
) -> None:
    method = method_of("vanilla_clip")
    score(method, rows[:1], cache)
    copied = Path(shutil.copy(str(rows[0][0]), tmp_path / "elsewhere.avi"))
    score(method, [(copied, 0), (copied, 0)], cache)
    assert len(decodes) == 1


def entries_of(cache: FeatureCache) -> list[Path]:
    return sorted(cache.folder.rglob("*.safetensors"))


def other_values(data: bytes) -> bytes:
    """Features that are not the entry's, with the header of the entry."""
    values = bytearray(data)
    values[-3] ^= 0xFF
    return bytes(values)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"", lambda data: data[: len(data) // 2], lambda data: b"not features", other_values,
        lambda data: save({"features": torch.zeros(2, 96)}),
        lambda data: save(load(data), {"entry": "x", "sha256": "y"}),
        lambda data: b"\xff" * 8 + data[8:],
    ],
    ids=["empty", "cut", "text", "flipped bit", "no header", "another header", "length of the header"],
)  # fmt: skip
def test_a_damaged_entry_is_computed_anew(
    rows: list[Row], cache: FeatureCache, decodes: list[Draw], damage: Callable[[bytes], bytes], caplog: Any
) -> None:
    method = method_of("vanilla_clip")
    wanted = score(method, rows[:3], cache)
    path = entries_of(cache)[0]
    whole = load(path.read_bytes())["features"]
    path.write_bytes(damage(path.read_bytes()))
    del decodes[:]
    same(score(method, rows[:3], cache), wanted)
    assert len(decodes) == 1
    torch.testing.assert_close(load(path.read_bytes())["features"], whole)
    assert path.name in caplog.text


def test_an_entry_under_another_name_is_not_taken(rows: list[Row], cache: FeatureCache, decodes: list[Draw]) -> None:
    method = method_of("vanilla_clip")
    wanted = score(method, rows[:2], cache)
    first, second = entries_of(cache)
    second.write_bytes(first.read_bytes())
    same(score(method, rows[:2], cache), wanted)
    assert len(decodes) == 3


def test_undecodable_videos_are_tried_again_each_time(
    rows: list[Row], cache: FeatureCache, tmp_path: Path, decodes: list[Draw]
) -> None:
    broken = tmp_path / "page.avi"
    broken.write_text("<html>404</html>")
    mixed = [rows[0], (broken, 1), (None, 2), rows[9]]
    method = method_of("vanilla_clip")
    wanted = score(method, mixed, None)
    assert sorted(wanted.failed) == [1, 2]
    same(score(method, mixed, cache), wanted)
    del decodes[:]
    same(score(method, mixed, cache), wanted)
    assert [draw.index for draw in decodes] == [1, 1, 2]  # a file is decoded twice before it counts as undecodable
    write_clip(broken, "square left", seed=3)
    assert 1 not in score(method, mixed, cache).failed


@pytest.mark.parametrize("cached", [True, False])
def test_a_file_that_vanished_is_an_error(rows: list[Row], cache: FeatureCache, tmp_path: Path, cached: bool) -> None:
    listed = [rows[0], (tmp_path / "absent.avi", 0)]
    with pytest.raises(MachineFaultError, match=r"absent\.avi: cannot be read: No such file"):
        score(method_of("vanilla_clip"), listed, cache if cached else None)


@pytest.mark.slow
def test_a_cache_without_room_does_not_fill_the_memory(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """B22: features that neither the disk nor the memory takes are not kept; clips are decoded instead."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("harness.engine.features.cache.KEPT_BYTES", 2 * 2 * 64 * 4)  # two videos of two frames
    method = method_of("vanilla_clip")
    cache = FeatureCache(tmp_path / "file" / "features")
    same(score(method, rows[:5], cache), score(method, rows[:5], None))
    assert "Clips are decoded without the cache" in caplog.text


@pytest.mark.parametrize("sampling", ["random", "uniform"])
def test_several_views(rows: list[Row], cache: FeatureCache, decodes: list[Draw], sampling: str) -> None:
    views = Views(frames=2, clips=2, crops=3, sampling=sampling)
    method = method_of("vanilla_clip")
    for seed in (1, 2):
        wanted = score(method, rows[:3], None, views, seed=seed)
        for _ in range(2):
            same(score(method, rows[:3], cache, views, seed=seed), wanted)
    assert len(decodes) == 6 + (6 if sampling == "random" else 3)


def test_an_unwritable_cache_changes_nothing_but_the_time(rows: list[Row], tmp_path: Path, caplog: Any) -> None:
    (tmp_path / "file").write_text("in the way")
    method = method_of("vanilla_clip")
    same(score(method, rows[:3], FeatureCache(tmp_path / "file" / "features")), score(method, rows[:3], None))
    assert "cannot be kept" in caplog.text


def test_an_entry_that_vanishes_meanwhile_is_computed_again(rows: list[Row], cache: FeatureCache) -> None:
    features = features_of(cache, method_of("vanilla_clip"), rows[:2])
    features.complete([Draw(0), Draw(1)])
    wanted = features.get(Draw(1)).clone()
    shutil.rmtree(cache.folder)
    torch.testing.assert_close(features.get(Draw(1)), wanted)


def _score_in_process(folder: Path, rows: list[Row], barrier: Any, results: Any) -> None:
    torch.set_num_threads(1)  # a forked process has none of the threads of its parent's pool
    barrier.wait()
    results.put(score(method_of("vanilla_clip"), rows, FeatureCache(folder)).ids.tolist())


def test_two_processes_at_once(rows: list[Row], cache: FeatureCache) -> None:
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(2), context.Queue()
    pool = [
        context.Process(target=_score_in_process, args=(cache.folder, rows[:12], barrier, results)) for _ in range(2)
    ]
    for process in pool:
        process.start()
    predictions = [results.get(timeout=100) for _ in pool]
    for process in pool:
        process.join(20)
        assert process.exitcode == 0
    wanted = score(method_of("vanilla_clip"), rows[:12], None).ids.tolist()
    assert predictions == [wanted, wanted]
    assert len(entries_of(cache)) == 12 and not list(cache.folder.rglob("*.tmp"))


def test_cached_evals_are_fast(rows: list[Row], cache: FeatureCache) -> None:
    method = method_of("vanilla_clip")
    score(method, rows, cache)
    started = time.perf_counter()
    score(method, rows, cache)
    cached = time.perf_counter() - started
    started = time.perf_counter()
    score(method, rows, None)
    assert cached < time.perf_counter() - started


def test_a_method_decides_how_many_videos_are_scored_together(rows: list[Row]) -> None:
    """OST's published rule ends the transport by the mean over the batch: pairs of videos, whatever the device."""
    method = tiny_method("ost", stop="batch")
    by_device = score_list(method, rows[:5], LABELS, VIEWS, CPU, ComputeOptions(device="cpu", workers=0))
    same(by_device, score_list(method, rows[:5], LABELS, VIEWS, CPU, replace(COMPUTE, eval_clips=2)))
