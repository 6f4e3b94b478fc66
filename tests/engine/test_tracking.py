"""Tracking of fits: TensorBoard events and JSON lines with the values of the curve, also after an interruption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import UserError
from harness.engine.video.loaders import Row
from harness.machine import compute_options
from harness.machine.compute_options import ComputeOptions
from tests.conftest import in_process
from tests.engine.conftest import run_fit
from tests.engine.test_resume import StoppedError, stop_at

needs_tensorboard = pytest.mark.skipif(
    compute_options.find_spec("tensorboard") is None, reason="needs tensorboard (extra track)"
)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def events_of(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.mark.slow
@needs_tensorboard
def test_events_and_lines_have_the_values_of_the_curve_after_an_interruption(rows: list[Row], tmp_path: Path) -> None:
    """A fit of 2 epochs of 2 iterations that is stopped in its second epoch and repeats that epoch."""
    compute, folder = ComputeOptions(device="cpu", workers=0, track=True), tmp_path / "fit"
    with pytest.raises(StoppedError):
        run_fit(folder, rows[::4], compute=compute, progress=stop_at(3), epochs=2, accumulate=1)
    run_fit(folder, rows[::4], compute=compute, epochs=2, accumulate=1)
    curve, lines = lines_of(folder / "curve.jsonl"), lines_of(folder / "track" / "scalars.json")
    events = events_of(folder / "track")
    assert set(events) == {"loss", "learning_rate", "clips_per_second", "epoch"}
    assert [line["step"] for line in lines] == list(range(4))
    for name, column in (("loss", "loss"), ("learning_rate", "lr")):
        assert [line[name] for line in lines] == pytest.approx([row[column] for row in curve], abs=1e-6)
        assert [step for step, _ in events[name]] == list(range(4))
        assert [value for _, value in events[name]] == pytest.approx([line[name] for line in lines], rel=1e-6)
    assert [line["epoch"] for line in lines] == [1, 1, 2, 2]
    assert all(line["clips_per_second"] > 0 for line in lines)
    files = sorted(path.name for path in (folder / "track").iterdir())
    assert files[-1] == "scalars.json" and all(name.startswith("events.out.tfevents.") for name in files[:-1])


@pytest.mark.slow
def test_a_fit_without_tracking_leaves_no_files_of_an_earlier_fit(rows: list[Row], tmp_path: Path) -> None:
    (tmp_path / "fit" / "track").mkdir(parents=True)
    (tmp_path / "fit" / "track" / "scalars.json").write_text('{"step": 0}\n')
    run_fit(tmp_path / "fit", rows[::4], compute=ComputeOptions(device="cpu", workers=0), epochs=1, accumulate=1)
    assert not (tmp_path / "fit" / "track").exists()


def test_tracking_without_tensorboard_is_one_error_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compute_options, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="track needs the package tensorboard"):
        ComputeOptions(track=True)
    asked = ("--method", "vificlip", "--protocol", "b2n", "--arch", "mini-clip", "--runs", tmp_path / "runs")
    assert in_process("run", *asked, "--track") == 2
    assert "pip install 'clip-video-harness[track]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
