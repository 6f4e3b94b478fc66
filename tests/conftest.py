"""Fixtures that all tests share."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

if TYPE_CHECKING:
    from tests.endurance.preloaded import Server

# Hundreds of child processes import the same modules; without bytecode files each of them would compile them again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Collection imports all packages and makes two million objects, nearly none of them garbage.
gc.disable()
ROOT = Path(__file__).resolve().parents[1]
CLASSES = ("circle left", "circle right", "square left", "square right")
CLIPS_PER_CLASS = 8


def pytest_xdist_auto_num_workers() -> int:
    """One process more than cores for `-n auto`: many tests wait for a browser, decode workers or another program."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_finish() -> None:
    """Collect garbage of the tests only: objects of the imported packages stay until the end."""
    gc.freeze()
    atexit.register(gc.unfreeze)  # libraries report objects as leaked that are not collected at exit
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Fork the server of `server` before the first test, in a process of pytest-xdist whose OpenMP has one thread."""
    needed = any("server" in getattr(item, "fixturenames", ()) for item in session.items)
    if needed and "PYTEST_XDIST_WORKER" in os.environ and not Path("/proc/driver/nvidia").exists():
        from tests.endurance.preloaded import fork_early

        fork_early()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of specifications, published values and golden outputs that lies beside the repository.

    `HARNESS_SHARED` names it; else a folder `shared` beside the repository, or beside one of its parents.
    """
    named = os.environ.get("HARNESS_SHARED")
    for folder in [Path(named)] if named else [parent / "shared" for parent in ROOT.parents]:
        if (folder / "published").is_dir():
            return folder
    pytest.skip("needs the shared reference folder: set HARNESS_SHARED")


def write_clip(path: Path, shape: str = "circle left", seed: int = 0, frames: int = 12, fourcc: str = "MJPG") -> Path:
    """A small real video file: a coloured circle or square on a noisy ground, moving left or right."""
    rng = np.random.default_rng([seed, *shape.encode()])
    width, height = 96, 72
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), 12.0, (width, height))
    assert writer.isOpened(), f"OpenCV cannot write {fourcc}"
    colour = tuple(int(c) for c in rng.integers(120, 256, 3))
    y = int(rng.integers(20, height - 20))
    for i in range(frames):
        image = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
        x = int(12 + (width - 24) * i / max(1, frames - 1))
        x = width - x if "left" in shape else x
        if shape.startswith("circle"):
            cv2.circle(image, (x, y), 11, colour, -1)
        else:
            cv2.rectangle(image, (x - 10, y - 10), (x + 10, y + 10), colour, -1)
        writer.write(image)
    writer.release()
    return path


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A custom dataset of real video files: 4 class folders with 8 clips of 12 frames each."""
    root = tmp_path_factory.mktemp("data") / "shapes"
    for name in CLASSES:
        for i in range(CLIPS_PER_CLASS):
            write_clip(root / name / f"clip{i}.avi", name, seed=i)
    return root


@pytest.fixture(scope="session")
def three_subsets(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`small_dataset` with four more clips in one base class, so that its three training subsets differ."""
    root = Path(shutil.copytree(small_dataset, tmp_path_factory.mktemp("subsets") / "shapes"))
    for i in range(CLIPS_PER_CLASS, CLIPS_PER_CLASS + 4):
        write_clip(root / CLASSES[-1] / f"clip{i}.avi", CLASSES[-1], seed=i)
    return root


@pytest.fixture(scope="session", autouse=True)
def forked_workers() -> None:
    """Fork the worker server of test processes, whose threads (of pytest-xdist, of progress bars) only wait.

    Otherwise it would be a new program, which imports torch again, and would not have what a test replaces.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        from harness.engine.video import worker_server

        worker_server.HARMLESS_THREADS = 1000


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Fail a test after which this process has a real-time priority: the tests after it would starve the machine."""
    policy = os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else 0
    if policy != 0:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        pytest.fail(f"{item.nodeid} left scheduling policy {policy} behind; encode with `numbered.same_scheduling()`")


@pytest.fixture(scope="session")
def large_lists(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A custom dataset whose training lists fill the published batches; its 1,088 files are not videos."""
    root = tmp_path_factory.mktemp("large") / "shapes"
    for side, clips in (("train", 16), ("val", 1)):
        for label in range(64):
            folder = root / side / f"class {label:02}"
            folder.mkdir(parents=True)
            for i in range(clips):
                (folder / f"{i}.avi").touch()
    return root


def machine_free(environment: dict[str, str] | None = None) -> dict[str, str]:
    """The environment without this machine's harness settings, for child processes."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HARNESS_")}
    return {**kept, "HARNESS_CONFIG": os.devnull, "OMP_NUM_THREADS": "1", **(environment or {})}


@pytest.fixture
def harness() -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that runs `python -m harness ...` in a process of its own."""

    def run(*arguments: object, timeout: float = 240, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "harness", *map(str, arguments)]
        options: dict[str, Any] = dict(cwd=ROOT, env=machine_free(environment), text=True, capture_output=True)
        return subprocess.run(command, timeout=timeout, check=False, **options)

    return run


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that runs the command line in forked processes, without the seconds that imports take."""
    from tests.endurance.preloaded import Server

    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


@pytest.fixture
def plugins_forgotten() -> Iterator[None]:
    """What a test registers besides the built-ins is forgotten afterwards."""
    with forgetting_plugins():
        yield


@contextmanager
def forgetting_plugins() -> Iterator[None]:
    """Forget what is registered besides the built-ins in the `with` block."""
    from harness.base.packages import FINDER
    from harness.plugins import loose_files, registered, registered_transforms

    loaded = set(loose_files.loaded_files)
    homes, path, modules = dict(FINDER.homes), list(sys.path), set(sys.modules)
    yield
    folders = {entry for entry in sys.path if entry not in path}
    for name in set(sys.modules) - modules:
        if folders & set(map(str, Path(getattr(sys.modules[name], "__file__", None) or "").parents)):
            del sys.modules[name]
    FINDER.homes = homes
    sys.path[:] = [entry for entry in sys.path if entry not in folders]
    built_in = {ROOT / folder for folder in registered.KINDS.values()}
    transforms = {transform.file for transform in registered_transforms.transforms.values()}
    for file in transforms | {file for known in registered.files.values() for file in known.values()}:
        if file.parent not in built_in:
            registered.forget(file)
    loose_files.forget_files(keep=loaded)
    registered.forget_warnings()


def in_process(*arguments: object) -> int:
    """`python -m harness ...` in this process: its exit code."""
    from harness import cli

    return cli.main([str(argument) for argument in arguments])


TINY_RUN = (
    "--protocol", "b2n", "--arch", "mini-clip", "--views", "frames=2", "--repeat", "1", "--workers", "0", "--quiet",
    "--recipe", "epochs=1", "--recipe", "ranks=1", "--recipe", "accumulate=1", "--recipe", "warmup_epochs=0",
    "--no-report", "--json",
)  # fmt: skip
"""Arguments of a run of one fit of three updates and three evals."""


@pytest.fixture(scope="session")
def finished_runs(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with one fit of `vificlip` and its three evals; copy it to change it."""
    runs = tmp_path_factory.mktemp("finished") / "runs"
    places = ("--dataset", small_dataset, "--runs", runs, "--cache", runs.parent / "cache")
    assert in_process("run", "--method", "vificlip", *TINY_RUN, *places) == 0
    return runs
