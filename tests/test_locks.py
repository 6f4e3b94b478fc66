"""Locks of cells: one process at a time, given up by whoever dies, and never waited for in silence."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.base import locks
from harness.base.errors import UserError
from harness.base.locks import cell_lock, half_written, holder_text


def hold(runs: Path, ready: Any) -> None:
    with cell_lock(runs, runs / "cell", "key", "fit of another"):
        ready.send(os.getpid())
        time.sleep(600)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Any]:
    """A process that holds the lock of a cell."""
    near, far = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=hold, args=(tmp_path, far))
    process.start()
    assert near.poll(60) and near.recv() == process.pid
    yield process
    process.kill()
    process.join()


def test_whoever_waits_says_for_whom(holder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "QUIET_SECONDS", 0.3)
    said: list[str] = []
    entered = threading.Event()

    def want() -> None:
        with cell_lock(tmp_path, tmp_path / "cell", "key", "fit x", said.append):
            entered.set()

    thread = threading.Thread(target=want)
    thread.start()
    deadline = time.monotonic() + 20
    while not said and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not entered.is_set()
    assert len(said) == 1
    pattern = rf"waiting for fit x: process {holder.pid} on \S+ computes it since \d{{4}}-.* UTC \(lock \S+key\.lock\)"
    assert re.fullmatch(pattern, said[0]), said[0]
    os.kill(holder.pid, signal.SIGKILL)  # the system gives the lock up at once
    thread.join(timeout=10)
    assert entered.is_set() and len(said) == 1


def test_a_lock_file_of_the_dead_means_nothing(tmp_path: Path) -> None:
    (tmp_path / ".locks").mkdir()
    (tmp_path / ".locks" / "key.lock").write_text("12345\nelsewhere\n")
    (tmp_path / ".locks" / "key.holder").write_text('{"pid": 12345, "host": "elsewhere", "since": 1}')
    said: list[str] = []
    with cell_lock(tmp_path, tmp_path / "cell", "key", "fit x", said.append):
        assert str(os.getpid()) in holder_text(tmp_path / ".locks" / "key.holder")
    assert said == [] and not (tmp_path / ".locks" / "key.holder").exists()


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1]", b"\xff", b'{"pid": "x", "host": 1, "since": 1e400}'])
def test_a_note_that_says_nothing(tmp_path: Path, content: bytes | None) -> None:
    note = tmp_path / "key.holder"
    if content is not None:
        note.write_bytes(content)
    assert holder_text(note) == "another process computes it"


def test_two_cells_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with cell_lock(tmp_path, tmp_path / "a", "one", "a"), cell_lock(tmp_path, tmp_path / "b", "two", "b"):
        assert {p.name for p in (tmp_path / ".locks").glob("*.lock")} == {"one.lock", "two.lock"}


def test_an_error_inside_gives_the_lock_up(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError), cell_lock(tmp_path, tmp_path / "a", "one", "a"):
            raise RuntimeError


def test_a_folder_in_whose_place_a_file_lies(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(UserError, match="cannot be made") as caught, cell_lock(tmp_path, tmp_path / "a", "one", "a"):
        pass
    assert caught.value.exit_code == 2


def test_half_written_files_are_those_of_the_named_files_only(tmp_path: Path) -> None:
    names = [".a[1].json.x1.tmp", ".a1.json.x1.tmp", ".b.json.x.tmp", "a.json", ".a[1].json", "x.tmp"]
    for name in names:
        (tmp_path / name).write_text("")
    assert [p.name for p in half_written(tmp_path, "a[1].json")] == names[:1]
    assert {p.name for p in half_written(tmp_path)} == set(names[:3])


@pytest.mark.slow
def test_a_refused_cell_leaves_no_lock_and_a_waiting_process_gets_its_own(tmp_path: Path) -> None:
    """A lock file is removed while others wait for it: each still holds the lock alone."""
    runs, inside, most, refused = tmp_path / "made" / "runs", [0], [0], [0]

    def want() -> None:
        for _ in range(20):
            try:
                with cell_lock(runs, runs / "a" / "b", "key", "fit x"):
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                    time.sleep(0.001)
                    inside[0] -= 1
                    raise UserError("refused", "")
            except UserError:
                refused[0] += 1

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert (most[0], refused[0]) == (1, 80)
    assert not (runs / "a").exists() and list(tmp_path.rglob("*.lock")) == []


def test_a_finished_cell_keeps_its_files(tmp_path: Path) -> None:
    with cell_lock(tmp_path / "runs", tmp_path / "runs" / "a", "key", "fit x"):
        (tmp_path / "runs" / "a" / "fit.json").touch()
    assert (tmp_path / "runs" / "a" / "fit.json").is_file()
