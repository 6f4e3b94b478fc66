"""Faults of the machine while a video is read: an error that names the file, and never a wrong prediction.

The faults come from a library that is loaded before all others (`faults.c`), so that Python and the decoders meet them
alike, whoever runs the tests. The server that loads the library takes seconds to start, so that all these tests are
slow ones; `tests/engine/test_evaluate.py` and `test_features.py` test the error of a file that cannot be read.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from results.predictions import read_predictions
from tests.conftest import CLASSES
from tests.endurance.conftest import left_over, one_error, outcome_of, run_arguments
from tests.endurance.preloaded import Done, Server

pytestmark = pytest.mark.slow
SECONDS = ("--decode-seconds", 0.5)
KINDS = {
    "eio": "cannot be read: Input/output error",
    "denied": "cannot be read: Permission denied",
    "short": "cannot be read: only 0 of",
    "wait": "cannot be read: no byte arrived within 0.5 s",
}


@pytest.fixture(scope="session")
def faulty_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose runs meet the faults of `faults.c`."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("faults")
    library, source = folder / "faults.so", Path(__file__).with_name("faults.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    server = Server(folder, preload=library)
    yield server
    server.stop()


Faulty = Callable[..., Done]


@pytest.fixture
def faulty(faulty_server: Server, tmp_path: Path) -> Faulty:
    """A function that runs a command with a fault, for example `eio`, on the files whose path contains a text."""

    def run(fault: str, *arguments: object) -> Done:
        control = tmp_path / "fault"
        control.write_text(fault)
        try:
            return faulty_server.run(*arguments, environment={"HARNESS_FAULT": str(control)})
        finally:
            control.unlink(missing_ok=True)

    return run


@pytest.fixture
def evaluated_video(finished: Path) -> str:
    """A video of an evaluation list of the finished run."""
    record = sorted(finished.rglob("*.record.json"))[0]
    file = json.loads(record.read_text())["predictions"]["file"]
    return str(read_predictions(record.with_name(file))["video"].iloc[-1])


def fresh(finished: Path, folder: Path) -> Path:
    """A folder without results and features in which the videos are indexed, so that the run itself reads them."""
    shutil.copytree(finished / "cache", folder / "cache", ignore=shutil.ignore_patterns("features"))
    return folder


def same_as(finished: Path, folder: Path) -> bool:
    expected = outcome_of(finished)
    return all(expected[name] == value for name, value in outcome_of(folder).items())


@pytest.mark.parametrize(
    ("cached", "kinds"), [(True, ["eio"]), (False, ["eio", "wait"]), pytest.param(False, KINDS, marks=pytest.mark.slow)]
)
def test_an_eval_ends_with_an_error_and_resumes(
    faulty: Faulty,
    tiny_dataset: Path,
    finished: Path,
    tmp_path: Path,
    evaluated_video: str,
    cached: bool,
    kinds: list[str],
) -> None:
    """B6: EIO, an unreadable file, a file cut short and a stall; then the same command gives the undisturbed record."""
    folder = fresh(finished, tmp_path / "run")
    options = (*SECONDS, *(() if cached else ("--no-feature-cache",)))
    arguments = run_arguments(tiny_dataset, folder, "vanilla_clip", *options)
    for kind in kinds:
        done = faulty(f"{kind} {evaluated_video}", *arguments)
        one_error(done, evaluated_video, KINDS[kind], "2 times", "check data", "the same command", code=1)
        assert "incomplete" not in done.err
    assert faulty("none none", *arguments).code == 0
    assert same_as(finished, folder) and not left_over(folder)


@pytest.mark.parametrize(
    "kind", ["eio1", pytest.param("short1", marks=pytest.mark.slow), pytest.param("wait1", marks=pytest.mark.slow)]
)
def test_a_fault_that_does_not_come_back_changes_nothing(
    faulty: Faulty, tiny_dataset: Path, finished: Path, tmp_path: Path, evaluated_video: str, kind: str
) -> None:
    folder = fresh(finished, tmp_path / "run")
    arguments = run_arguments(tiny_dataset, folder, "vanilla_clip", *SECONDS, "--no-feature-cache")
    done = faulty(f"{kind} {evaluated_video}", *arguments)
    assert done.code == 0 and f"{evaluated_video} is tried again: cannot be read" in done.err, done.err
    assert same_as(finished, folder)


def test_a_fit_ends_with_an_error_instead_of_another_clip(
    faulty: Faulty, tiny_dataset: Path, finished: Path, tmp_path: Path
) -> None:
    folder = fresh(finished, tmp_path / "run")
    done = faulty("eio .avi", *run_arguments(tiny_dataset, folder))
    one_error(done, ".avi: cannot be read: Input/output error", code=1)
    assert "replaced" not in done.err and not list(folder.rglob("fit.json"))


def test_a_fault_costs_one_cell_with_keep_going(
    faulty: Faulty, tiny_dataset: Path, finished: Path, tmp_path: Path, evaluated_video: str
) -> None:
    folder = fresh(finished, tmp_path / "run")
    done = faulty(f"eio {evaluated_video}", *run_arguments(tiny_dataset, folder, "vanilla_clip"), "--keep-going")
    failed = [line for line in done.err.splitlines() if line.startswith("failed: ")]
    assert done.code == 1 and all(evaluated_video in line for line in failed) and 0 < len(failed) < 3, done.err
    assert len(list(folder.rglob("*.record.json"))) == 3 - len(failed)


def test_a_video_that_vanishes_after_the_plan(
    faulty: Faulty, tiny_dataset: Path, finished: Path, tmp_path: Path, evaluated_video: str
) -> None:
    """The file is found when lists are read, and is gone when it is decoded."""
    dataset = Path(shutil.copytree(tiny_dataset, tmp_path / "tiny", symlinks=True))
    target = tmp_path / "elsewhere.avi"
    shutil.move(dataset / evaluated_video, target)
    (dataset / evaluated_video).symlink_to(target)
    folder = tmp_path / "run"
    arguments = run_arguments(dataset, folder, "vanilla_clip", "--no-feature-cache")
    assert faulty("none none", *arguments, "--dry-run").code == 0
    target.unlink()
    done = faulty("none none", *arguments)
    assert done.code in (1, 2) and evaluated_video in done.err and not list(folder.rglob("*.record.json")), done.err


def test_predict_names_the_fault_and_goes_on(faulty: Faulty, tiny_dataset: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(CLASSES))
    clips = [tiny_dataset / CLASSES[0] / f"clip{i}.avi" for i in (0, 1)]
    options = ("--labels", names, "--arch", "mini-clip", "--workers", 1, *SECONDS)
    done = faulty(f"eio {clips[0]}", "predict", *clips, tmp_path / "gone.avi", *options)
    assert done.code == 1 and done.out.startswith(f"{clips[1]}: ") and len(done.out.splitlines()) == 1, done.err
    shown = [line for line in done.err.splitlines() if not line.startswith(("  ", "WARNING"))]
    assert shown == [
        f"{clips[0]}: not decoded: cannot be read: Input/output error",
        f"{tmp_path / 'gone.avi'}: not decoded: does not exist",
    ]
    assert "check data" in done.err
