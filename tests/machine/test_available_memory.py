"""The memory that decode workers may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.engine.video.decode import default_workers
from harness.machine.available_memory import GIB, available_memory


def files(folder: Path, content: dict[str, str]) -> Path:
    for name, text in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ({}, 6 * GIB),
        ({"memory.max": "max", "memory.current": "5"}, 6 * GIB),
        ({"memory.max": str(4 * GIB), "memory.current": str(GIB)}, 3 * GIB),
        ({"memory.max": str(4 * GIB), "memory.current": str(5 * GIB)}, 0),
        ({"memory/memory.limit_in_bytes": str(2 * GIB), "memory/memory.usage_in_bytes": "0"}, 2 * GIB),
        ({"memory/memory.limit_in_bytes": "9223372036854771712", "memory/memory.usage_in_bytes": "0"}, 6 * GIB),
    ],
)
def test_the_smaller_of_machine_and_container(tmp_path: Path, groups: dict[str, str], expected: int) -> None:
    proc = files(tmp_path / "proc", {"meminfo": f"MemTotal: 9 kB\nMemAvailable: {6 * 2**20} kB\n"})
    assert available_memory(proc, files(tmp_path / "groups", groups)) == expected


def test_this_machine_states_it() -> None:
    memory = available_memory()
    assert memory is not None and 2**25 < memory < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(("gib", "expected"), [(0, 1), (3, 1), (5, 2), (7, 3), (1000, 8)])
def test_workers_are_bounded_by_memory(monkeypatch: pytest.MonkeyPatch, gib: int, expected: int) -> None:
    """A 4K clip takes 1.8 GiB in each worker: as many workers as cores would be killed for lack of memory."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    monkeypatch.setattr("harness.engine.video.decode.available_memory", lambda: gib * GIB)
    assert default_workers() == expected
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert default_workers() == min(8, max(1, int(gib // (2 * 2.0))))


def test_a_system_that_states_no_memory_has_a_worker_for_each_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)))
    monkeypatch.setattr("harness.engine.video.decode.available_memory", lambda: None)
    assert default_workers() == 6
