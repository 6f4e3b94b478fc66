"""Runs without start-up, and a dataset so small that each takes a second or two."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.base.atomic import write_json
from tests.conftest import CLASSES
from tests.endurance.preloaded import Done, Server

SMALL = (
    "--protocol", "b2n", "--arch", "mini-clip", "--views", "frames=2", "--repeat", "1", "--workers", "1", "--quiet",
    "--device", "cpu", "--recipe", "epochs=3", "--recipe", "ranks=1", "--recipe", "accumulate=1",
    "--recipe", "warmup_epochs=1", "--eval-clips", "2", "--no-report", "--json",
)  # fmt: skip
"""Arguments of a run of one fit of three epochs and three evals."""
PARTIAL_ALWAYS = {"harness.engine.partial_scores:SAVE_SECONDS": -1.0}
"""Intermediate results after every batch instead of every half minute."""


@pytest.fixture(scope="session")
def tiny_dataset(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four classes of four clips, old enough for caches to trust their time stamps."""
    root = tmp_path_factory.mktemp("data") / "tiny"
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        for i in range(4):
            clip = shutil.copy(small_dataset / name / f"clip{i}.avi", root / name)
            os.utime(clip, (1_600_000_000, 1_600_000_000))
    return root


@pytest.fixture(scope="session")
def finished(server: Server, tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of a trained and of an untrained method, so that features are cached too."""
    folder = tmp_path_factory.mktemp("finished")
    done = server.run(*run_arguments(tiny_dataset, folder, "vificlip", "--method", "vanilla_clip"))
    assert done.code == 0, done.err
    assert len(outcome_of(folder)) == 8 and not left_over(folder)  # six records, the fit, its curve
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """That, to change."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def one_error(done: Done, *words: str, code: int | None = None) -> None:
    """One clear error and nothing else: no traceback, the thing named, an exit code that says so."""
    lines = [line for line in done.err.splitlines() if not line.startswith("  ")]
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in done.err, done.err
    assert done.code in ((1, 2) if code is None else (code,)), done.err
    for word in words:
        assert word in done.err, done.err


def only(folder: Path, pattern: str) -> Path:
    """The first file of a pattern below a folder."""
    return sorted(folder.rglob(pattern))[0]


def run_arguments(dataset: Path, folder: Path, method: str = "vificlip", *more: object) -> tuple[object, ...]:
    """The command line of a small run in a folder."""
    places = ("--dataset", dataset, "--runs", folder / "runs", "--cache", folder / "cache")
    return ("run", "--method", method, *SMALL, *places, *more)


def outcome_of(folder: Path) -> dict[str, Any]:
    """Everything of a run folder that must not depend on interruptions."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*.record.json")):
        record = json.loads(path.read_text())
        for name in ("cost", "created", "environment"):
            del record[name]
        for name in ("seconds", "peak_memory_gib") if record["fit"] else ():
            del record["fit"][name]
        found[path.name] = record
    for path in sorted(folder.rglob("fit.json")):
        fit = json.loads(path.read_text())
        for name in ("seconds", "resumed_at"):
            del fit["outcome"][name]
        found[path.parent.name] = {k: v for k, v in fit.items() if k not in ("created", "environment")}
    for path in sorted(folder.rglob("curve.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        found[f"{path.parent.name} curve"] = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
    return found


def left_over(folder: Path) -> set[str]:
    """Files that a finished run does not leave: checkpoints, temporary and intermediate files."""
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    return {name for name in names if name.endswith((".pth", ".tmp", ".npz", "last_checkpoint"))}


@pytest.fixture(scope="session")
def measured() -> Iterator[dict[str, Any]]:
    """Numbers of long tests; written to the file that `HARNESS_ENDURANCE_JSON` names, beside those already there."""
    found: dict[str, Any] = {}
    yield found
    file = os.environ.get("HARNESS_ENDURANCE_JSON")
    if file and found:
        path = Path(file)
        known = json.loads(path.read_text()) if path.is_file() else {"schema": 1, "measured": {}}
        machine = {"platform": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()}
        known |= {"machine": machine, "measured": dict(sorted({**known["measured"], **found}.items()))}
        write_json(path, known)
