"""Custom datasets are identified by their content: different videos under equal names are different data."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.cells.backbone import BackboneChoice
from harness.cells.cell import Cells
from harness.cells.from_request import expand
from harness.cells.request import MethodChoice, Request
from harness.data.files.fingerprints import END_BYTES, FingerprintIndex, file_fingerprint
from harness.data.folders.clip import GivenFiles
from harness.data.folders.dataset import FolderDataset
from harness.data.lists.dataset import Dataset
from harness.data.official.dataset import OfficialDataset
from harness.machine.settings import load_settings
from tests.conftest import write_clip

OLD = 1_600_000_000


@pytest.fixture
def folder(small_dataset: Path, tmp_path: Path) -> Path:
    copied = Path(shutil.copytree(small_dataset, tmp_path / "a" / "shapes"))
    for path in copied.rglob("*.avi"):
        os.utime(path, (OLD, OLD))
    return copied


def cells_of(dataset: Path, cache: Path) -> Cells:
    request = Request((MethodChoice("vificlip"),), ("b2n",), (str(dataset),), BackboneChoice("mini-clip", None))
    return expand(request, load_settings({"runs": "runs", "cache": str(cache)}, {"HARNESS_CONFIG": "/dev/null"}))


def keys(cells: Cells) -> list[str]:
    return [cell.key for cell in (*cells.fits, *cells.evals)]


@pytest.mark.slow
def test_a_folder_with_different_videos_is_different_data(folder: Path, tmp_path: Path) -> None:
    """Names, paths and labels are equal; one clip differs, and with it the cells whose lists hold it."""
    other = Path(shutil.copytree(folder, tmp_path / "b" / "shapes"))
    first = cells_of(folder, tmp_path)
    changed = first.fits[0].train.rows[0][0]
    write_clip(other / changed, "circle left", seed=99)
    second = cells_of(other, tmp_path)
    assert [cell.name for cell in first.fits] == [cell.name for cell in second.fits]
    for one, two in zip(first.fits, second.fits, strict=True):
        assert changed in one.train.paths and one.train == two.train and one.key != two.key
    for one, two in zip(first.evals, second.evals, strict=True):
        assert one.test == two.test and one.key != two.key  # the fit differs
        listed = [cell.measurement.evaluation.list for cell in (one, two)]
        assert changed not in one.test.paths and replace(listed[0], root="") == replace(listed[1], root="")


def test_a_copy_elsewhere_is_the_same_data(folder: Path, tmp_path: Path) -> None:
    """Neither the path of a folder nor the times of its files are part of an identity."""
    other = Path(shutil.copytree(folder, tmp_path / "c" / "shapes"))
    for number, path in enumerate(other.rglob("*.avi")):
        os.utime(path, (OLD + 10**9 * (number % 2), OLD + 10**9 * (number % 2)))
    assert keys(cells_of(folder, tmp_path)) == keys(cells_of(other, tmp_path / "other cache"))


@pytest.mark.slow
def test_official_lists_have_no_content_and_embedded_lists_the_version_of_their_renderer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert OfficialDataset.content is Dataset.content  # None: paths identify the videos
    request = Request((MethodChoice("vificlip"),), ("b2n",), ("mini_target",))

    def contents(cache: Path) -> set[str]:
        cells = expand(request, load_settings({"cache": str(cache)}, {"HARNESS_CONFIG": "/dev/null"}))
        fits = {cell.described.training.list.content for cell in cells.fits}
        return fits | {cell.measurement.evaluation.list.content for cell in cells.evals}

    now = contents(tmp_path)
    assert len(now) == 1 and now == contents(tmp_path / "another cache") and not list(tmp_path.iterdir())
    monkeypatch.setattr("harness.data.embedded.dataset.MINI_VERSION", 0)
    assert len(contents(tmp_path) | now) == 2


@pytest.mark.parametrize("size", [0, 1, END_BYTES, END_BYTES + 1, 2 * END_BYTES, 5 * END_BYTES])
def test_every_byte_of_both_ends_counts(tmp_path: Path, size: int) -> None:
    file = tmp_path / "x.avi"
    data = bytearray(os.urandom(size))
    file.write_bytes(data)
    unchanged = file_fingerprint(file)
    assert unchanged == file_fingerprint(file) and len(unchanged) == 32
    for offset in {0, size // 3 if size <= 2 * END_BYTES else 0, END_BYTES - 1, size - END_BYTES, size - 1}:
        if 0 <= offset < size:
            changed = bytearray(data)
            changed[offset] ^= 1
            file.write_bytes(changed)
            assert file_fingerprint(file) != unchanged, offset
    file.write_bytes(bytes(data) + b"x")
    assert file_fingerprint(file) != unchanged


def test_files_are_read_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = FolderDataset(folder, given=GivenFiles(cache=tmp_path / "cache"))
    first = dataset.content(dataset.list("train"))
    read: list[Path] = []
    monkeypatch.setattr("harness.data.files.fingerprints.file_fingerprint", lambda file: read.append(file) or "x")
    again = FolderDataset(folder, given=GivenFiles(cache=tmp_path / "cache"))
    assert again.content(again.list("train")) == first and read == []
    changed = folder / again.list("train").rows[0][0]
    os.utime(changed, (OLD + 5, OLD + 5))
    third = FolderDataset(folder, given=GivenFiles(cache=tmp_path / "cache"))
    third.content(third.list("train"))
    assert read == [changed]


def test_a_file_of_the_future_is_read_every_time(folder: Path, tmp_path: Path) -> None:
    """A wrong clock costs time, but the fingerprints stay correct."""
    for path in folder.rglob("*.avi"):
        os.utime(path, (OLD * 2, OLD * 2))
    dataset = FolderDataset(folder, given=GivenFiles(cache=tmp_path / "cache"))
    dataset.content(dataset.list("train"))
    assert not list((tmp_path / "cache").rglob("content-*.json"))


@pytest.mark.parametrize("damage", [b"", b"[]", b"\x80\x04\x95", b'{"schema": 1}', b'{"root": 3}'])
def test_a_damaged_index_is_rebuilt(folder: Path, tmp_path: Path, damage: bytes) -> None:
    index = FingerprintIndex(folder, tmp_path / "cache")
    files = {path.name: path for path in (folder / "circle left").glob("*.avi")}
    first = index.list_fingerprint(files, files)
    note = next((tmp_path / "cache").rglob("content-*.json"))
    good = note.read_bytes()
    note.write_bytes(damage)
    assert FingerprintIndex(folder, tmp_path / "cache").list_fingerprint(files, files) == first
    assert json.loads(note.read_bytes()) == json.loads(good)


def test_a_cache_that_cannot_be_written_only_costs_time(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    dataset = FolderDataset(folder, given=GivenFiles(cache=tmp_path / "cache"))
    assert len(dataset.content(dataset.list("train"))) == 64


def test_a_pipe_is_never_opened(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.avi")
    assert file_fingerprint(tmp_path / "pipe.avi") == "not a regular file"


def test_a_clip_that_was_deleted_meanwhile_is_named(folder: Path, tmp_path: Path) -> None:
    dataset = FolderDataset(folder)
    train = dataset.list("train")
    gone = folder / train.rows[3][0]
    gone.unlink()
    with pytest.raises(UserError, match=gone.name) as caught:
        dataset.content(train)
    assert caught.value.exit_code == 1
