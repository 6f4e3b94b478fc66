"""A refused run leaves nothing in its run folder: no lock file, no empty folder, no folder that it made."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import CLASSES, TINY_RUN, in_process


def _weights(data: Path) -> tuple[str, ...]:
    return ("--method", "vanilla_clip", "--protocol", "b2n", "--weights", "none-such", "--views", "frames=2")


def _missing_training_clip(data: Path) -> tuple[str, ...]:
    """A link to nothing is listed as a clip and not found."""
    clip = data / CLASSES[0] / "clip0.avi"
    table = data / "list.csv"
    rows = [f"{path.relative_to(data)},{path.parent.name}" for path in sorted(data.rglob("*.avi"))]
    table.write_text("\n".join(rows))
    clip.unlink()
    return ("--method", "vanilla_clip", *TINY_RUN)


def _copies(data: Path) -> tuple[str, ...]:
    shutil.copy(data / CLASSES[0] / "clip0.avi", data / CLASSES[1] / "copy.avi")
    return ("--method", "vificlip", *("supervised" if part == "b2n" else part for part in TINY_RUN))


def _checkpoint(data: Path) -> tuple[str, ...]:
    (data.parent / "none.pth").write_text("no weights")
    return ("--method", "vificlip", *TINY_RUN, "--checkpoint", str(data.parent / "none.pth"))


def _undecodable_class(data: Path) -> tuple[str, ...]:
    for i, clip in enumerate(sorted(data.rglob("*.avi"))):
        clip.write_text(f"no video {i}")
    return ("--method", "vificlip", *TINY_RUN)


def _undecodable_list(data: Path) -> tuple[str, ...]:
    return ("--method", "vanilla_clip", *_undecodable_class(data)[2:])


FAULTS = (
    _weights, _missing_training_clip, _copies, _checkpoint, _undecodable_class, _undecodable_list,
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("keep_going", [(), ("--keep-going",)], ids=["", "keep going"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_refused_run_leaves_nothing_behind(  # type: ignore[no-untyped-def]
    fault, keep_going: tuple[str, ...], small_dataset: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(small_dataset, tmp_path / "shapes"))
    options = fault(data)
    dataset = data / "list.csv" if (data / "list.csv").exists() else data
    runs = tmp_path / "results" / "runs"
    command = ("run", *options, "--dataset", dataset, "--runs", runs, "--cache", tmp_path / "cache", *keep_going)
    assert in_process(*command, "--workers", 0, "--quiet", "--no-report") != 0
    assert not runs.parent.exists(), sorted(path.relative_to(runs) for path in runs.rglob("*"))


def test_the_folder_and_the_files_of_the_user_stay(small_dataset: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    (runs / "mine").mkdir(parents=True)
    command = ("run", "--method", "vificlip", *TINY_RUN, "--checkpoint", tmp_path / "none.pth")
    (tmp_path / "none.pth").write_text("no weights")
    folders = ("--dataset", small_dataset, "--runs", runs, "--cache", tmp_path / "cache")
    assert in_process(*command, *folders) != 0
    assert [path.name for path in runs.rglob("*")] == ["mine"]
