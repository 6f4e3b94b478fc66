"""Full disks, read-only and unreadable folders, vanished files, a wrong clock: one clear error, and nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import write_clip
from tests.endurance.conftest import left_over, one_error, only, outcome_of, run_arguments
from tests.endurance.preloaded import Server

MIB = 2**20


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs the right to mount a file system: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A function that gives a file system of its own with a size in bytes, and later another size."""
    place = tmp_path / "disk"

    def sized(size: int) -> Path:
        if place.is_dir():
            mount("-o", f"remount,rw,size={size}", str(place))
        else:
            if shutil.which("mount") is None:
                pytest.skip("needs the command mount")
            place.mkdir()
            mount("-t", "tmpfs", "-o", f"size={size}", "none", str(place))
        return place

    yield sized
    if place.is_dir():
        subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)


def trained(outcome: dict[str, object]) -> dict[str, object]:
    """Without the untrained method."""
    return {name: value for name, value in outcome.items() if "vanilla_clip" not in str(value)}


@pytest.mark.slow
def test_a_file_that_may_not_grow(server: Server, tiny_dataset: Path, finished: Path, tmp_path: Path) -> None:
    """The first checkpoint is larger than the limit; without the limit the run ends as any other."""
    arguments = run_arguments(tiny_dataset, tmp_path)
    one_error(server.run(*arguments, file_limit=MIB), "File too large", "epoch_1.pth", code=1)
    assert left_over(tmp_path) == set()
    assert server.run(*arguments).code == 0
    assert outcome_of(tmp_path) == trained(outcome_of(finished))


@pytest.mark.slow
@pytest.mark.parametrize("size", [0.05, 8, 20])
def test_a_full_disk(
    server: Server, tiny_dataset: Path, finished: Path, disk: Callable[[int], Path], size: float
) -> None:
    """Too small for a lock, for a checkpoint, and for a second one; with room the same command ends as any other."""
    folder = disk(int(size * MIB))
    arguments = run_arguments(tiny_dataset, folder)
    (folder / "filler").write_bytes(b"x" * int(0.04 * MIB))
    one_error(server.run(*arguments), "No space left on device", code=1)
    assert not any(path.name.endswith(".tmp") for path in folder.rglob("*"))
    kept = len(list(folder.rglob("epoch_*.pth")))
    assert kept == (1 if size == 20 else 0)
    disk(200 * MIB)
    assert server.run(*arguments).code == 0
    assert outcome_of(folder) == trained(outcome_of(finished)) and not left_over(folder)


@pytest.mark.slow
def test_a_disk_that_is_full_when_scores_are_written(
    server: Server, tiny_dataset: Path, finished: Path, disk: Callable[[int], Path]
) -> None:
    folder = disk(64 * MIB)
    shutil.copytree(finished / "runs", folder / "runs")
    for path in (folder / "runs").rglob("evals"):
        shutil.rmtree(path)
    room = os.statvfs(folder).f_bavail * os.statvfs(folder).f_bsize
    (folder / "filler").write_bytes(b"x" * room)
    cache = ("--cache", finished.parent / "another cache")
    arguments = run_arguments(tiny_dataset, folder, "vificlip", "--method", "vanilla_clip", *cache)
    one_error(server.run(*arguments), "No space left on device", code=1)
    going_on = server.run(*arguments, "--keep-going")
    failed = [line for line in going_on.err.splitlines() if line.startswith("failed: ")]
    assert going_on.code == 1 and len(failed) == 6 and "Traceback" not in going_on.err, going_on.err
    report = ("report", "--runs", finished / "runs", "--out", folder / "site")
    one_error(server.run(*report), "No space left on device", code=1)
    (folder / "filler").unlink()
    assert server.run(*report).code == 0
    assert server.run(*arguments).code == 0
    assert outcome_of(folder) == outcome_of(finished) and not left_over(folder)


@pytest.mark.slow
def test_a_cache_without_room_costs_time_only(
    server: Server, tiny_dataset: Path, finished: Path, disk: Callable[[int], Path], tmp_path: Path
) -> None:
    cache = disk(4096)
    (cache / "filler").write_bytes(b"x" * 4096)
    arguments = run_arguments(tiny_dataset, tmp_path, "vanilla_clip", "--cache", cache)
    done = server.run(*arguments)
    assert done.code == 0 and "features cannot be kept" in done.err, done.err
    assert "Traceback" not in done.err
    expected = outcome_of(finished)
    assert all(expected[name] == value for name, value in outcome_of(tmp_path).items())


def test_a_disk_too_small_for_the_embedded_benchmark(server: Server, disk: Callable[[int], Path]) -> None:
    """Clips cut short by a full disk never pass for rendered ones."""
    cache = disk(MIB // 2)
    arguments = ("run", "--method", "vanilla_clip", "--protocol", "b2n", "--runs", cache / "runs", "--cache", cache)
    one_error(server.run(*arguments, "--no-report", "--quiet"), "No space left on device", code=1)
    assert not list(cache.glob("mini_*")) and not list(cache.glob(".mini_*"))


def test_a_read_only_folder(server: Server, tiny_dataset: Path, finished: Path, disk: Callable[[int], Path]) -> None:
    """What is finished is read from it; what is not gives one error and changes nothing."""
    folder = disk(64 * MIB)
    shutil.copytree(finished, folder, dirs_exist_ok=True)
    before = outcome_of(folder)
    mount("-o", "remount,ro", str(folder))
    done = server.run(*run_arguments(tiny_dataset, folder))
    assert done.code == 0 and "0 fits and 0 evals done, 4 cells reused" in done.err, done.err
    one_error(server.run(*run_arguments(tiny_dataset, folder, "text_ft")), "Read-only file system", code=1)
    one_error(server.run("report", "--runs", folder / "runs", "--out", folder / "site"), "read-only", code=1)
    clip, fit = only(tiny_dataset, "*.avi"), only(folder, "fit.json").parent
    one_error(server.run("export", fit, "--out", folder / "weights.safetensors"), "ead-only", code=1)
    one_error(server.run("attention", clip, "--fit", fit, "--out", folder / "a.png"), "ead-only", code=1)
    assert outcome_of(folder) == before


@pytest.fixture
def closed() -> Iterator[Callable[[Path], Path]]:
    """A function that takes all permissions from a folder or file; they come back at the end of a test."""
    changed: list[tuple[Path, int]] = []

    def close(path: Path, mode: int = 0) -> Path:
        changed.append((path, path.stat().st_mode & 0o777))
        path.chmod(mode)
        return path

    yield close
    for path, mode in reversed(changed):
        path.chmod(mode)


@pytest.fixture
def ordinary(server: Server, tmp_path: Path) -> dict[str, bool]:
    """Options for a run to which permissions apply."""
    (tmp_path / "secret").touch(mode=0)
    done = server.run("predict", "x.avi", "--labels", tmp_path / "secret", "--arch", "mini-clip", ordinary=True)
    if "Permission denied" not in done.err:
        pytest.skip(f"permissions do not hold here: {done.err}")
    return {"ordinary": True}


def test_a_video_folder_that_cannot_be_read(
    server: Server, tiny_dataset: Path, tmp_path: Path, closed: Callable[..., Path], ordinary: dict[str, bool]
) -> None:
    """A folder of clips inside a class is not left out in silence either: the lists would be shorter."""
    dataset = Path(shutil.copytree(tiny_dataset, tmp_path / "videos"))
    part = dataset / "circle left" / "part 2"
    part.mkdir()
    write_clip(part / "clip9.avi", "circle left", seed=9)
    arguments = run_arguments(dataset, tmp_path, "vanilla_clip")
    for path in (part, dataset / "square left", dataset):
        before = path.stat().st_mode & 0o777
        closed(path)
        one_error(server.run(*arguments, **ordinary), str(path), "ermission", code=1)
        path.chmod(before)
    official = ("run", "--method", "vanilla_clip", "--protocol", "few_shot", "--arch", "mini-clip", "--no-report")
    places = ("--dataset", "ucf101", "--data", f"ucf101={closed(dataset)}", "--runs", tmp_path / "r")
    lists = ("--lists-dir", tmp_path / "none", "--cache", tmp_path / "c")
    one_error(server.run(*official, *places, *lists, **ordinary))
    prepare = ("data", "prepare", "ucf101", "--annotations", dataset, "--out", tmp_path / "lists")
    one_error(server.run(*prepare, **ordinary), str(dataset), "cannot be read", code=1)
    assert not (tmp_path / "lists").exists()


def test_a_run_folder_without_permission(
    server: Server, tiny_dataset: Path, copy: Path, closed: Callable[..., Path], ordinary: dict[str, bool]
) -> None:
    before = outcome_of(copy)
    closed(copy / "runs", 0o555)
    closed(copy / "runs" / "mini-clip", 0o555)
    one_error(server.run(*run_arguments(tiny_dataset, copy, "text_ft"), **ordinary), "ermission", code=1)
    assert outcome_of(copy) == before
    record = only(copy, "*.record.json")
    closed(record, 0)
    done = server.run("report", "--runs", copy / "runs", "--out", copy / "site", **ordinary)
    assert done.code == 1 and record.name in done.err and "Permission denied" in done.err, done.err


@pytest.mark.slow
def test_vanished_weights_of_a_fit(server: Server, tiny_dataset: Path, copy: Path, finished: Path) -> None:
    """Verbs that need them say so; `run` reports finished evals without them and fits again where one is missing."""
    fit = only(copy, "fit.json").parent
    (fit / "weights.safetensors").unlink()
    one_error(server.run("export", fit, "--out", copy / "out.safetensors"), "weights.safetensors", "missing", code=1)
    done = server.run(*run_arguments(tiny_dataset, copy))
    assert done.code == 0 and "0 fits and 0 evals done" in done.err, done.err
    only(fit, "*novel_val*.record.json").unlink()
    done = server.run(*run_arguments(tiny_dataset, copy))
    assert done.code == 0 and "1 fits and 1 evals done, 2 cells reused" in done.err, done.err
    assert outcome_of(copy) == outcome_of(finished)


def test_vanished_files(server: Server, tiny_dataset: Path, copy: Path) -> None:
    names = copy / "names.txt"
    names.write_text("running\nboxing\n")
    gone = copy / "gone.pt"
    predict = ("predict", only(tiny_dataset, "*.avi"), "--labels", names)
    one_error(server.run(*predict, "--weights", gone), "gone.pt", "does not exist")
    one_error(server.run(*run_arguments(copy / "gone", copy)), "gone", "does not exist")
    one_error(server.run("attention", copy / "gone.avi", "--fit", only(copy, "fit.json").parent, "--out", "x.png"))
    only(copy, "*.predictions.csv.gz").unlink()
    done = server.run("score", copy / "runs")
    assert done.code == 1 and "predictions" in done.err and "Traceback" not in done.err


def test_a_clock_that_was_wrong(server: Server, tiny_dataset: Path, copy: Path, finished: Path) -> None:
    """Cells that seem to come from the future, or from 1970, stay done, and the next ones join them."""
    expected = outcome_of(copy)
    for number, path in enumerate([*copy.rglob("*.record.json"), *copy.rglob("fit.json")]):
        value = json.loads(path.read_text())
        value["created"] = "2099-01-01T00:00:00+00:00" if number % 2 else "1970-01-01T00:00:00+00:00"
        path.write_text(json.dumps(value))
    for number, path in enumerate(copy.rglob("*")):
        moment = 4_000_000_000 if number % 2 else 1
        os.utime(path, (moment, moment))
    both = run_arguments(tiny_dataset, copy, "vificlip", "--method", "vanilla_clip")
    done = server.run(*both)
    assert done.code == 0 and "0 fits and 0 evals done, 7 cells reused" in done.err, done.err
    only(copy, "*novel_val*.record.json").unlink()
    done = server.run(*both)
    assert done.code == 0 and "0 fits and 1 evals done, 6 cells reused" in done.err, done.err
    assert outcome_of(copy) == expected
    assert server.run("report", "--runs", copy / "runs", "--out", copy / "site").code == 0
