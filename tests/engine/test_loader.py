"""The guarded loader: order, crashes, hangs, substitutes, and nothing left behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import UserError
from harness.engine.video.batches import Draw
from harness.engine.video.decode import Undecodable
from harness.engine.video.guarded_loader import GuardedLoader
from harness.engine.video.loaders import Row, TrainingClips, fit_loader
from harness.engine.video.video_bytes import MachineFaultError
from harness.machine.compute_options import ComputeOptions
from tests.engine.conftest import LABELS, RECIPE, VIEWS
from tests.engine.loading import (  # noqa: F401  (one name is a fixture)
    Numbers,
    abort,
    batches,
    children,
    exhaust,
    hang,
    killed,
    leave,
    load,
    nothing_is_left_behind,
    pairs,
    refuse,
    segfault,
    sleep,
)

LIMIT = 0.5


@pytest.mark.parametrize("workers", [0, 1, 2, 4])
@pytest.mark.parametrize("size", [1, 4, 5, 20])
def test_batches_come_in_order(workers: int, size: int) -> None:
    loader = GuardedLoader(Numbers(), batches(13, size), pairs, workers)
    found = list(loader)
    assert [[i for i, _ in batch] for batch in found] == [[d.index for d in b] for b in batches(13, size)]
    assert all(i == clip for batch in found for i, clip in batch)


def test_order_whatever_takes_long() -> None:
    slow = {i: partial(time.sleep, t) for i, t in ((0, 0.4), (5, 0.2), (7, 0.3))}
    assert load(Numbers(slow), workers=3) == [(i, i) for i in range(12)]


def test_an_empty_pass_ends() -> None:
    assert load(Numbers(), workers=2, count=0) == []


def test_the_loader_can_be_iterated_again() -> None:
    loader = GuardedLoader(Numbers(), batches(6, 2), pairs, 2)
    assert list(loader) == list(loader)


def test_kept_workers_serve_the_next_pass_and_end_on_close() -> None:
    before = children()
    loader = GuardedLoader(Numbers(), batches(6, 2), pairs, 2, keep_workers=True)
    first, kept = list(loader), children() - before
    assert len(kept) == 2
    assert list(loader) == first
    assert children() - before == kept
    loader.close()
    assert children() == before
    assert list(loader) == first
    loader.close()


def test_kept_workers_end_with_an_abandoned_pass() -> None:
    before = children()
    loader = GuardedLoader(Numbers(delay=0.01), batches(400, 4), pairs, 2, keep_workers=True)
    stream = iter(loader)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert children() == before
    assert len(list(GuardedLoader(Numbers(), batches(6, 2), pairs, 2))) == 3


def test_a_kept_worker_that_crashed_is_replaced() -> None:
    loader = GuardedLoader(Numbers({3: segfault}), batches(6, 2), pairs, 2, keep_workers=True)
    for _ in range(2):
        clips = [clip for batch in loader for _, clip in batch]
        assert [i for i, clip in enumerate(clips) if clip != i] == [3]
    loader.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_exception_is_one_line_of_reason(workers: int) -> None:
    found = dict(load(Numbers({3: refuse}), workers))
    assert found.pop(3) == Undecodable("RuntimeError: cannot decode this")
    assert found == {i: i for i in range(12) if i != 3}


@pytest.mark.parametrize(
    ("crash", "reason"),
    [(abort, "the decoder crashed (signal 6)"), (segfault, "the decoder crashed (signal 11)"), (leave, "stopped")],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_crash_costs_one_clip(crash: Callable[[], Any], reason: str, workers: int) -> None:
    found = dict(load(Numbers({0: crash, 5: crash, 11: crash}), workers))
    for i in (0, 5, 11):
        assert isinstance(found[i], Undecodable) and reason in found[i].reason
    assert all(found[i] == i for i in range(12) if i not in (0, 5, 11))


@pytest.mark.parametrize("crash", [killed, segfault, leave])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_died_once_costs_nothing(
    crash: Callable[[], Any], workers: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Killed for memory, say: the clip is decoded by a fresh worker, and no result depends on it."""
    behaviour = {5: partial(once, crash, tmp_path / "crashed")}
    assert load(Numbers(behaviour), workers) == [(i, i) for i in range(12)]
    assert "clip 5 is " in caplog.text and " again" in caplog.text


def once(act: Callable[[], Any], mark: Path) -> None:
    """Act in the first worker only."""
    if not mark.exists():
        mark.touch()
        act()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "reason", "hint"),
    [
        (killed, "ended from outside (signal 9)", "--workers"),
        (exhaust, "memory was used up", "--workers"),
        (sleep, "waited for 0.3 s without computing", "--views reader=exact"),
    ],
)
def test_a_fault_of_the_machine_ends_the_pass_after_the_clips_before_it(
    fault: Callable[[], Any], reason: str, hint: str
) -> None:
    """B6: neither a kill for lack of memory nor a stall becomes an undecodable clip; scores so far are kept."""
    delivered = []
    with pytest.raises(MachineFaultError) as raised:
        for batch in GuardedLoader(Numbers({5: fault}), batches(12, 2), pairs, 2, 0.3):
            delivered += batch
    assert delivered == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert "clip 5" in str(raised.value) and reason in str(raised.value) and hint in str(raised.value)
    assert "2 times" in str(raised.value) and "the same command" in str(raised.value)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_fault_that_does_not_come_back_costs_nothing(workers: int, tmp_path: Path) -> None:
    loader = GuardedLoader(Numbers({5: partial(once, exhaust, tmp_path / "once")}), batches(12, 4), pairs, workers)
    assert [pair for batch in loader for pair in batch] == [(i, i) for i in range(12)]


class DiesWhileSent:
    """A clip whose worker is killed while the clip is pickled."""

    def __reduce__(self) -> Any:
        segfault()


class Sending(Numbers):
    def __getitem__(self, draw: Draw) -> Any:
        return DiesWhileSent() if draw.index == 5 else draw.index


class Unsendable(Numbers):
    def __getitem__(self, draw: Draw) -> Any:
        return (lambda: None) if draw.index == 1 else draw.index


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_is_killed_while_it_sends_a_clip_costs_one_clip(workers: int) -> None:
    """Pipes and locks that workers share would block all of them."""
    clips = dict(load(Sending(), workers))
    assert clips.pop(5) == Undecodable("the decoder crashed (signal 11)")
    assert clips == {i: i for i in range(12) if i != 5}


@pytest.mark.slow
def test_a_clip_that_computes_without_end_costs_one_clip_and_twice_the_limit() -> None:
    started = time.monotonic()
    found = dict(load(Numbers({4: hang}), workers=2, seconds=LIMIT))
    assert found.pop(4) == Undecodable("the decoder exceeded its limit of 0.5 s of CPU time")
    assert found == {i: i for i in range(12) if i != 4}
    assert 2 * LIMIT <= time.monotonic() - started < 2 * LIMIT + 8


def test_every_clip_hangs_and_the_loader_still_ends() -> None:
    started = time.monotonic()
    found = load(Numbers(dict.fromkeys(range(4), hang)), workers=2, count=4, size=2, seconds=0.1)
    assert all(isinstance(clip, Undecodable) for _, clip in found)
    assert time.monotonic() - started < 10


def test_a_slow_consumer_is_not_taken_for_a_hanging_decoder() -> None:
    """The limit is on decoding: clips that wait to be collected are not given up."""
    found = []
    for batch in GuardedLoader(Numbers(), batches(12, 1), pairs, 2, seconds=0.3):
        time.sleep(0.15)
        found += batch
    assert found == [(i, i) for i in range(12)]


def test_a_clip_that_cannot_travel_is_named() -> None:
    found = dict(load(Unsendable(), workers=1, count=4, size=2))
    assert isinstance(found[1], Undecodable)
    assert (found[0], found[2], found[3]) == (0, 2, 3)


def test_errors_of_the_batches_reach_the_caller() -> None:
    def spoiled(draws: list[Draw], clips: list[Any]) -> Any:
        raise ValueError("collate")

    with pytest.raises(ValueError, match="collate"):
        list(GuardedLoader(Numbers(), batches(4, 2), spoiled, 2))


# substitutes --------------------------------------------------------------------------------------------------------


class NextOfSix:
    """Six clips of one class."""

    def draw(self, draw: Draw, attempt: int, /) -> Draw | None:
        return Draw((draw.index + attempt) % 6, draw.epoch, draw.position) if attempt < 6 else None

    def warn(self, draw: Draw, other: Draw, clip: Undecodable, /) -> None:
        pass


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("bad", [{2}, {2, 3}, {0, 5}])
def test_a_replaced_clip_is_not_tried_in_later_passes(workers: int, bad: set[int], tmp_path: Path) -> None:
    """B34: a training clip that hangs costs its limit once per fit and not once per epoch."""
    notes = tmp_path / "attempts"
    behaviour = dict.fromkeys(bad, partial(note_and_refuse, notes))
    loader = GuardedLoader(Numbers(behaviour), batches(6, 2), pairs, workers, 30, NextOfSix(), keep_workers=True)
    first = list(loader)
    attempts = notes.stat().st_size
    assert list(loader) == first and list(loader) == first
    loader.close()
    assert notes.stat().st_size == attempts and loader.replaced == bad


def note_and_refuse(notes: Path) -> None:
    with notes.open("a") as stream:
        stream.write("x")
    refuse()


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("bad", [{2}, {2, 3}, {1, 2, 3, 4, 5}, {0, 5}, set(range(6))])
def test_substitutes_do_not_depend_on_workers(workers: int, bad: set[int]) -> None:
    """Each undecodable clip gives way to the next decodable one, counted from itself; all are tried before that."""
    loader = GuardedLoader(Numbers(dict.fromkeys(bad, refuse)), batches(6, 2), pairs, workers, 30, NextOfSix())
    found = dict(pair for batch in loader for pair in batch)
    for i in range(6):
        tried = [(i + k) % 6 for k in range(6)]
        expected = next((j for j in tried if j not in bad), None)
        assert found[i] == expected if expected is not None else isinstance(found[i], Undecodable)
    assert loader.guard.replaced == bad


def test_a_crash_is_substituted_too() -> None:
    found = load(Numbers({2: segfault, 3: refuse}), workers=2, count=6, size=3, substitutes=NextOfSix())
    assert found == [(0, 0), (1, 1), (2, 4), (3, 4), (4, 4), (5, 5)]


@pytest.mark.parametrize("workers", [0, 2])
def test_fits_replace_a_broken_clip_by_the_next_of_its_class(rows: list[Row], tmp_path: Path, workers: int) -> None:
    page = tmp_path / "page.avi"
    page.write_text("<html>")
    broken = [(page, label) if i in (1, 2, 7) else (path, label) for i, (path, label) in enumerate(rows[:16])]
    mended = list(rows[:16])
    mended[1], mended[2], mended[7] = rows[3], rows[3], rows[0]
    clips = []
    for listed in (broken, mended):
        order = [[Draw(i, 0, i, 0) for i in range(16)]]
        compute = ComputeOptions(device="cpu", workers=workers)
        loader = fit_loader(TrainingClips(listed, LABELS), RECIPE, VIEWS, 32, order, compute)  # type: ignore[arg-type]
        clips.append(next(iter(loader)))
    assert (clips[0].frames == clips[1].frames).all()
    assert clips[0].labels.tolist() == [label for _, label in rows[:16]]


def test_a_class_without_a_decodable_clip_is_an_error(rows: list[Row], tmp_path: Path) -> None:
    page = tmp_path / "page.avi"
    page.write_text("<html>")
    broken = [(page, 1) if label == 1 else (path, label) for path, label in rows[:16]]
    loader = fit_loader(
        TrainingClips(broken, LABELS), RECIPE, VIEWS, 32, [[Draw(9, 0, 0, 0)]], ComputeOptions(workers=2)
    )  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"No training clip of class 'circle right' can be decoded.*page\.avi"):
        list(loader)


# endings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("taken", [1, 2])
def test_closing_early_leaves_nothing(taken: int) -> None:
    before = children()
    stream = iter(GuardedLoader(Numbers(delay=0.01), batches(400, 4), pairs, 3))
    for _ in range(taken):
        next(stream)
    assert len(children() - before) == 3
    stream.close()  # type: ignore[attr-defined]
    assert children() == before


def test_closing_while_every_worker_hangs() -> None:
    stream = iter(GuardedLoader(Numbers(dict.fromkeys(range(4, 40), hang)), batches(40, 4), pairs, 3))
    next(stream)
    started = time.monotonic()
    stream.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 3


def test_an_exception_in_the_loop_leaves_nothing() -> None:
    before = children()

    def loop() -> None:
        for _ in GuardedLoader(Numbers(delay=0.01), batches(400, 4), pairs, 2):
            raise RuntimeError("training failed")

    with pytest.raises(RuntimeError):
        loop()
    assert children() == before


def test_waiting_costs_no_processor_time() -> None:
    """While a decoder takes its time, and while the consumer takes its own, the loader's thread sleeps."""
    waiting = Numbers({0: partial(time.sleep, 1.5)})
    before = time.process_time()
    load(waiting, workers=2, count=4, size=4)
    decoding = time.process_time() - before
    stream = iter(GuardedLoader(Numbers(), batches(40, 1), pairs, 2))
    next(stream)
    time.sleep(0.2)
    before = time.process_time()
    time.sleep(1.0)
    consuming = time.process_time() - before
    stream.close()  # type: ignore[attr-defined]
    assert decoding < 0.4, f"{decoding:.2f} s of processor time in 1.5 s of waiting for a decoder"
    assert consuming < 0.2, f"{consuming:.2f} s of processor time in 1 s of waiting for the consumer"
