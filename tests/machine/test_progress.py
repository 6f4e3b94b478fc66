"""Progress without a terminal: a line an epoch or a minute on stderr."""

from __future__ import annotations

import pytest

from harness.machine.progress import Progress, duration


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_fit_writes_a_line_an_epoch(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(quiet=False, cells=2, clock=clock) as progress:
        progress.begin("fit vificlip mini_target/base_s1", epochs=3)
        for done in range(1, 31):
            clock.now += 2.0
            progress.fit_step(done, 30, 2.5)
        progress.end()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "cell 1 of 2: fit vificlip mini_target/base_s1: begins"
    begin = "cell 1 of 2: fit vificlip mini_target/base_s1: "
    assert lines[1:] == [
        f"{begin}epoch {epoch} of 3, {epoch}0 of 30 iterations, loss 2.500, {left} s left"
        for epoch, left in ((1, 40), (2, 20), (3, 0))
    ]


def test_a_long_epoch_writes_a_line_a_minute(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(quiet=False, cells=1, clock=clock) as progress:
        progress.begin("fit x", epochs=2)
        for done in range(1, 200):
            clock.now += 1.0
            progress.fit_step(done, 10_000, 1.0)
    assert len(capsys.readouterr().err.splitlines()) == 1 + 199 // 60


def test_evals_count_videos_and_a_resumed_cell_estimates_from_its_own_steps(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(quiet=False, cells=1, clock=clock) as progress:
        progress.begin("eval x")
        progress.eval_step(900, 1000)
        clock.now += 100.0
        progress.eval_step(950, 1000)
    assert capsys.readouterr().err.splitlines()[-1] == "cell 1 of 1: eval x: 950 of 1000 videos, 1 min 40 s left"


def test_short_cells_share_lines(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(quiet=False, cells=40, clock=clock) as progress:
        for index in range(40):
            progress.begin(f"eval {index}")
            clock.now += 1.0
            progress.end()
    assert len(capsys.readouterr().err.splitlines()) == 4


def test_quiet_writes_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(quiet=True, cells=1, clock=clock) as progress:
        progress.begin("eval x")
        clock.now += 1000.0
        progress.eval_step(1, 2)
    assert capsys.readouterr().err == ""


def test_a_terminal_has_bars_and_no_lines(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Progress(quiet=False, cells=1, clock=clock) as progress:
        progress.begin("eval x")
        clock.now += 1000.0
        progress.eval_step(1, 2)
    text = capsys.readouterr().err
    assert "begins" not in text and "cells" in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (61, "1 min 1 s"), (3600, "1 h 0 min"), (7500, "2 h 5 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
