"""Clips with equal bytes on both sides of the split or under two classes are named and refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.cells.from_request import expand
from harness.cells.leakage import audit_cell
from harness.cells.request import MethodChoice, Request
from harness.data.check import check_data
from harness.data.equal_clips import ListedClips, refuse_equal_clips
from harness.data.folders.dataset import FolderDataset
from harness.data.lists.own_lists import WithOwnLists
from harness.machine.settings import load_settings

BIG = b"\0" * 70_000


def tree(root: Path) -> Path:
    for side, count in (("train", 3), ("val", 2)):
        for label in ("a", "b", "c", "d"):
            folder = root / side / label
            folder.mkdir(parents=True)
            for i in range(count):
                (folder / f"{i}.avi").write_bytes(BIG + f"{side} {label} {i}".encode() + BIG)
    return root


def audited(root: Path, method: str, protocol: str = "supervised") -> None:
    settings = load_settings({"runs": str(root.parent / "runs"), "cache": str(root.parent / "cache")}, {})
    request = Request(methods=(MethodChoice(method),), protocols=(protocol,), datasets=(str(root),))
    for cell in expand(request, settings).evals:
        audit_cell(cell)


def _copied(root: Path) -> str:
    shutil.copy(root / "train/a/1.avi", root / "val/a/copy.avi")
    return r"1 clip of the evaluation list d/val has the same bytes .* d/train: train/a/1.avi and val/a/copy.avi"


def _whole_tree(root: Path) -> str:
    shutil.rmtree(root / "val")
    shutil.copytree(root / "train", root / "val")
    return r"12 clips of the evaluation list d/val have .* train/a/0.avi and val/a/0.avi; .*; \.\.\."


def _hard_link(root: Path) -> str:
    (root / "val/b/link.avi").hardlink_to(root / "train/a/0.avi")
    return "train/a/0.avi and val/b/link.avi"


def _two_classes(root: Path) -> str:
    shutil.copy(root / "val/a/1.avi", root / "val/b/9.avi")
    return "1 pair of clips of the list d/val with the same bytes under two classes: val/a/1.avi and val/b/9.avi"


def _two_classes_of_training(root: Path) -> str:
    shutil.copy(root / "train/a/1.avi", root / "train/b/9.avi")
    return "of the list d/train with the same bytes under two classes"


@pytest.mark.slow
@pytest.mark.parametrize("fault", [_copied, _whole_tree, _hard_link, _two_classes, _two_classes_of_training])
def test_equal_clips_are_refused_and_named(tmp_path: Path, fault) -> None:  # type: ignore[no-untyped-def]
    root = tree(tmp_path / "d")
    words = fault(root)
    with pytest.raises(UserError, match=words) as caught:
        audited(root, "vificlip")
    assert "Remove" in caught.value.hint and caught.value.exit_code == 1
    (copies,) = check_data(FolderDataset(root)).copies
    assert copies == caught.value.message and f"copies: {copies}" in check_data(FolderDataset(root)).text()


def test_one_clip_under_two_classes_is_refused_without_training(tmp_path: Path) -> None:
    words = _two_classes(tree(tmp_path / "d"))
    with pytest.raises(UserError, match=words):
        audited(tmp_path / "d", "vanilla_clip")


def test_clips_that_differ_in_the_middle_and_empty_files_are_no_copies(tmp_path: Path) -> None:
    root = tree(tmp_path / "d")
    (root / "train/a/empty.avi").touch()
    (root / "val/b/empty.avi").touch()
    shutil.copy(root / "train/a/0.avi", root / "train/a/again.avi")  # twice in one class and list: no leak
    for side in ("train", "val"):
        middle = (root / "train/a/0.avi").read_bytes().replace(b"train a 0", f"{side:9}".encode())
        (root / side / "c" / "middle.avi").write_bytes(middle)
    audited(root, "vificlip")
    assert not check_data(FolderDataset(root)).copies


def test_lists_of_a_protocol_are_compared_too(tmp_path: Path) -> None:
    root = tree(tmp_path / "d")
    words = _copied(root)
    dataset = FolderDataset(root)
    lists = WithOwnLists(dataset, {"mine": dataset.list("train")})
    train, test = (ListedClips(lists, lists.list(name), lists.labels("all")) for name in ("mine", "val"))
    with pytest.raises(UserError, match=words):
        refuse_equal_clips(train, test)
