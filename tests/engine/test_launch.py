"""What a process learns from its launcher: its rank, its share of the cores, and a launcher that says too little."""

from __future__ import annotations

import os

import pytest

from harness.base.errors import UserError
from harness.engine.compute.launch import joined
from harness.engine.compute.processes import SINGLE_PROCESS, processes_here, rank_of_process, size_of_world
from harness.engine.video.decode import default_workers
from tests.conftest import in_process


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert (rank_of_process(), size_of_world(), processes_here()) == (0, 1, 1)
    monkeypatch.setenv("WORLD_SIZE", "4")  # other launchers set it too; without a rank it says nothing
    assert (rank_of_process(), size_of_world()) == (0, 1)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert (rank_of_process(), size_of_world(), processes_here()) == (3, 4, 2)


def test_decode_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    monkeypatch.setattr("harness.engine.video.decode.available_memory", lambda: 2**40)
    assert (default_workers(), default_workers(gpu=True)) == (8, 32)
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "16"), ("LOCAL_WORLD_SIZE", "8")):
        monkeypatch.setenv(name, value)
    assert (default_workers(), default_workers(gpu=True)) == (8, 8)


def test_one_process_meets_its_own_errors() -> None:
    assert SINGLE_PROCESS.share({"a": (1, 2)}) == {"a": (1, 2)} and SINGLE_PROCESS.gather("x") == ["x"]
    for shared in (SINGLE_PROCESS.together, SINGLE_PROCESS.in_turn):
        with pytest.raises(UserError, match="as it was") as caught, shared():
            raise UserError("as it was")
        assert SINGLE_PROCESS.is_common(caught.value)


def test_other_verbs_and_usage_errors_are_answered_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for rank, lines in (("0", True), ("1", False)):
        for name, value in (("RANK", rank), ("WORLD_SIZE", "2")):
            monkeypatch.setenv(name, value)
        assert in_process("list", "methods") == 0
        assert bool(capsys.readouterr().out) is lines
        with pytest.raises(SystemExit):
            in_process("run", "--no-such-flag")
        assert bool(capsys.readouterr().err) is lines


def test_a_launcher_that_says_too_little_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    ends: list[int] = []

    def leave(code: int) -> None:
        ends.append(code)
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(SystemExit), joined("cpu"):
        pass
    assert ends == [2]
    assert "are missing: LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT." in capsys.readouterr().err
