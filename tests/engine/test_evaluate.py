"""Scoring a list: every video once, in order, without gradients, resumable; broken videos counted as wrong."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.api import ClipMethod, LabelSet, MethodCard, Views, load_backbone
from harness.base.errors import UserError
from harness.base.files import file_sha256
from harness.engine import partial_scores as module
from harness.engine.evaluate import Scores
from harness.engine.job import EvalJob
from harness.engine.partial_scores import view_probabilities
from harness.engine.video.frames import normalise
from harness.engine.video.loaders import Row, eval_loader
from harness.engine.video.video_bytes import MachineFaultError
from harness.machine.compute_options import ComputeOptions
from results.predictions import read_predictions
from results.statistics.metrics import NO_PREDICTION, accuracies
from tests.conftest import CLASSES, in_process, write_clip
from tests.engine.conftest import CPU, LABELS, VIEWS, score, tiny_method

COMPUTE = ComputeOptions(device="cpu", workers=0, eval_clips=4)


class Probe(ClipMethod):
    """CLIP as it is, noting how it is called; a base class that a method may have."""

    name = "probe"
    card = MethodCard(title="Probe")

    def setup(self) -> None:
        self.calls: list[tuple[str, bool, bool]] = []
        self.spoil: Callable[[Tensor], Tensor] = lambda logits: logits

    def _note(self, what: str) -> None:
        self.calls.append((what, self.training, torch.is_grad_enabled()))

    def encode_text(self, label_set: LabelSet) -> Any:
        self._note("text")
        return super().encode_text(label_set)

    def encode_video(self, video: Tensor) -> Any:
        self._note("video")
        return super().encode_video(video)

    def score(self, video: Any, text: Any) -> Tensor:
        self._note("score")
        return self.spoil(super().score(video, text))


@pytest.fixture(scope="module")
def clip() -> ClipMethod:
    return tiny_method("vanilla_clip")


def probe() -> Probe:
    return Probe(load_backbone("mini-clip"))


def same(a: Scores, b: Scores) -> None:
    np.testing.assert_array_equal(a.ids, b.ids)
    np.testing.assert_array_equal(a.probabilities, b.probabilities)
    assert a.failed == b.failed


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("broken") / "page.avi"
    path.write_text("<html>404</html>")
    return path


def test_eval_mode_without_gradients_and_text_once(rows: list[Row]) -> None:
    method = probe().train()
    score(method, rows[:10], LABELS, VIEWS, CPU, COMPUTE)
    assert [what for what, _, _ in method.calls] == ["text", *["video", "score"] * 3]
    assert not any(training or grad for _, training, grad in method.calls)


def test_text_once_per_label_set(rows: list[Row]) -> None:
    method = probe()
    for names in (CLASSES, CLASSES[:3]):
        score(method, [row for row in rows if row[1] < 3][:8], LabelSet(names), VIEWS, CPU, COMPUTE)
    assert [what for what, _, _ in method.calls].count("text") == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_video_counts_as_wrong_and_stops_nothing(
    clip: ClipMethod, rows: list[Row], broken: Path, workers: int
) -> None:
    mixed = [*rows[:5], (broken, 1), (None, 2), *rows[5:9]]
    compute = ComputeOptions(device="cpu", workers=workers, eval_clips=4)
    scores = score(clip, mixed, LABELS, VIEWS, CPU, compute)
    whole = score(clip, rows[:9], LABELS, VIEWS, CPU, compute)
    assert sorted(scores.failed) == [5, 6]
    assert "not found" in scores.failed[6].reason
    assert scores.failed[5].sha256 == file_sha256(broken) and scores.failed[6].sha256 == ""
    assert (scores.ids[[5, 6]] == NO_PREDICTION).all() and (scores.probabilities[[5, 6]] == 0).all()
    others = np.delete(scores.ids, [5, 6], axis=0)
    np.testing.assert_array_equal(others, whole.ids)
    np.testing.assert_allclose(np.delete(scores.probabilities, [5, 6], axis=0), whole.probabilities, rtol=1e-5)
    right = accuracies([label for _, label in rows[:9]], whole.ids).top1 * 9
    assert accuracies([label for _, label in mixed], scores.ids).top1 * 11 == pytest.approx(right)


def test_a_whole_batch_of_broken_videos(clip: ClipMethod, rows: list[Row], broken: Path) -> None:
    scores = score(clip, [(broken, 0)] * 4 + rows[:2], LABELS, VIEWS, CPU, COMPUTE)
    assert sorted(scores.failed) == [0, 1, 2, 3]
    assert (scores.ids[4:] != NO_PREDICTION).all()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_video_that_cannot_be_read_is_an_error_and_the_scores_before_it_are_kept(
    clip: ClipMethod, rows: list[Row], tmp_path: Path, workers: int
) -> None:
    """B6: the machine lost the file; nothing says that the prediction would have been wrong."""
    gone, partial = tmp_path / "gone.avi", tmp_path / "partial.npz"
    listed = [*rows[:9], (gone, 1), *rows[10:12]]
    compute = ComputeOptions(device="cpu", workers=workers, eval_clips=4)
    with pytest.raises(MachineFaultError, match=r"gone\.avi: cannot be read: No such file or directory, 2 times"):
        score(clip, listed, LABELS, VIEWS, CPU, compute, partial=partial)
    gone.symlink_to(str(rows[9][0]))
    resumed = score(clip, listed, LABELS, VIEWS, CPU, compute, partial=partial)
    assert resumed.scored == 4
    np.testing.assert_array_equal(resumed.ids, score(clip, listed, LABELS, VIEWS, CPU, compute).ids)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_not_a_regular_file_is_never_opened(
    clip: ClipMethod, rows: list[Row], tmp_path: Path, workers: int
) -> None:
    os.mkfifo(tmp_path / "pipe.avi")
    (tmp_path / "folder.avi").mkdir()
    compute = ComputeOptions(device="cpu", workers=workers, decode_seconds=5)
    for name in ("pipe.avi", "folder.avi"):
        with pytest.raises(MachineFaultError, match=rf"{name}: cannot be read: not a regular file"):
            score(clip, [*rows[:2], (tmp_path / name, 1)], LABELS, VIEWS, CPU, compute)


def test_nothing_decodable_is_an_error(clip: ClipMethod, broken: Path) -> None:
    rows: list[Row] = [(broken, 0), (broken, 1)]
    scores = score(clip, rows, LABELS, VIEWS, CPU, COMPUTE)
    assert sorted(scores.failed) == [0, 1] and (scores.ids == NO_PREDICTION).all()
    with pytest.raises(UserError, match=r"None of the 2 videos.*page\.avi") as caught:
        scores.require_a_decoded_video(EvalJob(clip, rows, LABELS, VIEWS))
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_scores_that_are_not_finite_are_refused(rows: list[Row], value: float) -> None:
    method = probe()
    method.spoil = lambda logits: logits.index_fill(1, torch.tensor([2]), value)
    with pytest.raises(UserError, match="probe returned scores that are not finite"):
        score(method, rows[:4], LABELS, VIEWS, CPU, COMPUTE)


def test_scores_of_a_wrong_shape_are_refused(rows: list[Row]) -> None:
    method = probe()
    method.spoil = lambda logits: logits[:, :3]
    with pytest.raises(UserError, match=r"probe returned scores of shape \(4, 3\).*4 classes"):
        score(method, rows[:4], LABELS, VIEWS, CPU, COMPUTE)


def test_three_classes_give_a_top_five_over_three(clip: ClipMethod, rows: list[Row]) -> None:
    scores = score(clip, rows[:24:3], LabelSet(CLASSES[:3]), VIEWS, CPU, COMPUTE)
    assert scores.ids.shape == (8, 3)
    assert (np.sort(scores.ids, axis=1) == [0, 1, 2]).all()
    np.testing.assert_allclose(scores.probabilities.sum(axis=1), 1, rtol=1e-6)
    assert accuracies([label for _, label in rows[:24:3]], scores.ids).top5 == 100


def test_order_and_values_do_not_depend_on_the_device_batch_or_workers(clip: ClipMethod, rows: list[Row]) -> None:
    alone = score(clip, rows[:9], LABELS, VIEWS, CPU, ComputeOptions(device="cpu", workers=0, eval_clips=1))
    for workers, batch in ((0, 9), (2, 4), (3, 2)):
        other = score(
            clip, rows[:9], LABELS, VIEWS, CPU, ComputeOptions(device="cpu", workers=workers, eval_clips=batch)
        )
        np.testing.assert_array_equal(alone.ids, other.ids)
        np.testing.assert_allclose(alone.probabilities, other.probabilities, rtol=1e-4, atol=1e-6)


def test_views_are_averaged_as_probabilities(clip: ClipMethod, rows: list[Row]) -> None:
    views = Views(frames=2, clips=2, crops=3, sampling="uniform")
    scores = score(clip, rows[:3], LABELS, views, CPU, COMPUTE)
    size = clip.backbone.image_size
    batch = next(iter(eval_loader(rows[:3], views, size, [[0, 1, 2]], COMPUTE, 0)))
    assert batch.frames.shape == (3, 6 * 2, 3, size, size)
    with torch.no_grad():
        singles = [clip(normalise(part, views, CPU.device), LABELS) for part in batch.frames.split(2, dim=1)]
    mean = view_probabilities(torch.stack(singles, dim=1)).numpy()
    np.testing.assert_allclose(scores.probabilities, -np.sort(-mean, axis=1), rtol=1e-4)


def test_random_views_are_the_same_in_every_run(clip: ClipMethod, rows: list[Row]) -> None:
    views = Views(frames=2, clips=4, sampling="random")
    runs = [
        score(clip, rows[:4], LABELS, views, CPU, ComputeOptions(device="cpu", workers=w, eval_clips=4), seed=seed)
        for w, seed in ((0, 7), (2, 7), (0, 8))
    ]
    same(runs[0], runs[1])
    assert not np.array_equal(runs[0].probabilities, runs[2].probabilities)


# interruptions ------------------------------------------------------------------------------------------------------


def stop_at(videos: int) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        if done >= videos:
            raise KeyboardInterrupt

    return progress


@pytest.fixture
def interrupted(
    clip: ClipMethod, rows: list[Row], broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Row], Path]:
    """An eval of 14 videos, two of them broken, that was interrupted after 12 and had saved 8."""
    listed = [rows[0], (broken, 0), *rows[1:9], (broken, 2), *rows[9:12]]
    partial = tmp_path / "partial.npz"
    monkeypatch.setattr(module, "SAVE_SECONDS", -1.0)
    with pytest.raises(KeyboardInterrupt):
        score(clip, listed, LABELS, VIEWS, CPU, COMPUTE, partial=partial, progress=stop_at(12))
    with np.load(partial) as saved:
        assert saved["done"].sum() == 8
    return listed, partial


def test_an_interrupted_eval_goes_on(clip: ClipMethod, interrupted: tuple[list[Row], Path]) -> None:
    listed, partial = interrupted
    resumed = score(clip, listed, LABELS, VIEWS, CPU, COMPUTE, partial=partial)
    whole = score(clip, listed, LABELS, VIEWS, CPU, COMPUTE)
    assert (resumed.scored, whole.scored) == (6, 14)
    same(resumed, whole)


def test_going_on_with_another_device_batch(clip: ClipMethod, interrupted: tuple[list[Row], Path]) -> None:
    """8 videos are done, whole batches of 3 are 6: the rest is scored, and what failed before is judged anew."""
    listed, partial = interrupted
    compute = ComputeOptions(device="cpu", workers=0, eval_clips=3)
    resumed = score(clip, listed, LABELS, VIEWS, CPU, compute, partial=partial)
    whole = score(clip, listed, LABELS, VIEWS, CPU, compute)
    assert resumed.scored == 8
    np.testing.assert_array_equal(resumed.ids, whole.ids)
    assert resumed.failed == whole.failed


def test_a_failure_beyond_the_resumed_part_is_forgotten(
    clip: ClipMethod, interrupted: tuple[list[Row], Path], rows: list[Row]
) -> None:
    listed, partial = interrupted
    compute = ComputeOptions(device="cpu", workers=0, eval_clips=16)  # no whole batch is done: all is scored anew
    page = Path(str(listed[1][0]))
    text = page.read_bytes()
    try:
        shutil.copyfile(str(rows[0][0]), page)
        assert score(clip, listed, LABELS, VIEWS, CPU, compute, partial=partial).failed == {}
    finally:
        page.write_bytes(text)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"text"])
def test_an_unreadable_partial_file_starts_anew(
    clip: ClipMethod, rows: list[Row], tmp_path: Path, content: bytes
) -> None:
    partial = tmp_path / "partial.npz"
    partial.write_bytes(content)
    scores = score(clip, rows[:4], LABELS, VIEWS, CPU, COMPUTE, partial=partial)
    assert scores.scored == 4
    same(scores, score(clip, rows[:4], LABELS, VIEWS, CPU, COMPUTE))


def test_a_partial_file_of_another_list_is_not_used(
    clip: ClipMethod, interrupted: tuple[list[Row], Path], rows: list[Row]
) -> None:
    assert score(clip, rows[:5], LABELS, VIEWS, CPU, COMPUTE, partial=interrupted[1]).scored == 5


def test_a_partial_file_of_as_many_other_videos_is_not_used(
    clip: ClipMethod, interrupted: tuple[list[Row], Path]
) -> None:
    """Of a list with missing videos one came back and another went: nobody gets its neighbour's prediction."""
    listed, partial = interrupted
    others = [*listed[1:], listed[0]]
    scores = score(clip, others, LABELS, VIEWS, CPU, COMPUTE, partial=partial)
    assert scores.scored == len(others)
    same(scores, score(clip, others, LABELS, VIEWS, CPU, COMPUTE))


# the record ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_folder(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of vanilla CLIP on a dataset in which one clip of a class of six is a web page."""
    root = tmp_path_factory.mktemp("with_broken") / "videos"
    for name in CLASSES:
        for i in range(6):
            write_clip(root / name / f"clip{i}.avi", name, seed=i)
    for i in range(3):
        (root / CLASSES[1] / f"clip{i}.avi").write_text("<html>404</html>")
    runs = tmp_path_factory.mktemp("runs")
    places = ("--dataset", root, "--runs", runs, "--cache", runs / "cache", "--workers", "0")
    what = ("--method", "vanilla_clip", "--protocol", "b2n", "--arch", "mini-clip", "--views", "frames=2")
    assert in_process("run", *what, *places, "--no-report", "--json") == 0
    return runs


def test_every_video_of_the_list_is_predicted_once_in_list_order(run_folder: Path) -> None:
    records = sorted(run_folder.rglob("*.record.json"))
    assert len(records) == 3
    for path in records:
        record = json.loads(path.read_text())
        frame = read_predictions(path.with_name(record["predictions"]["file"]))
        rows = list(zip(frame["video"], frame["label"], strict=True))
        text = "".join(f"{video} {label}\n" for video, label in rows)
        assert hashlib.sha256(text.encode()).hexdigest() == record["measurement"]["evaluation"]["list"]["sha256"]
        evaluation = record["measurement"]["evaluation"]
        assert evaluation["evaluated"] == evaluation["list"]["n"] == len(rows)


def test_undecodable_videos_are_named_and_counted_wrong(run_folder: Path) -> None:
    named = set()
    for path in run_folder.rglob("*.record.json"):
        record = json.loads(path.read_text())
        frame = read_predictions(path.with_name(record["predictions"]["file"])).set_index("video")
        for row in record["undecodable"]:
            assert "\n" not in row["reason"] and row["reason"]
            assert frame.loc[row["video"], "id1"] == NO_PREDICTION
            named.add(row["video"])
    assert named and named <= {f"{CLASSES[1]}/clip{i}.avi" for i in range(3)}
