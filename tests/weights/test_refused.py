"""Files that are not weights, and files that attack their reader: one error each, little memory, nothing executed."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import struct
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from harness.api import UserError
from harness.weights.describe import describe
from harness.weights.read import open_weights
from tests.weights import fabricate
from tests.weights.fabricate import LEGACY_HEAD, zip_of

FOREIGN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "text": (b"not weights", "is a text file"),
    "page": (b"<!DOCTYPE html><html>404</html>", "is a web page"),
    "git-lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "pointer of Git LFS"),
    "gzip": (b"\x1f\x8b\x08rest", "gzip archive"),
    "keras": (b"\x89HDF\r\n\x1a\n", "HDF5"),
    "array": (b"\x93NUMPY\x01", "array of NumPy"),
    "zeros": (bytes(5000), "begins with zeros"),
    "config": (json.dumps({"model_type": "clip"}).encode(), "is a JSON file"),
    "pickle": (pickle.dumps({"a": 1}), "a pickle that torch.save did not write"),
    "other": (bytes(range(128, 256)) * 4, "neither safetensors nor"),
    "cut header": (struct.pack("<Q", 900) + b'{"a"', "ends within its header"),
}


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_that_is_not_a_weight_file_is_named(kind: str, suffix: str, tmp_path: Path) -> None:
    content, words = FOREIGN[kind]
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError) as refused:
        describe(path)
    assert words in refused.value.message and str(path) in refused.value.message and refused.value.hint


def test_archives_of_other_programs_are_named(tmp_path: Path) -> None:
    import numpy as np

    np.savez(tmp_path / "a.npz", x=np.zeros(2))
    (tmp_path / "a.npz").rename(tmp_path / "a.pt")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pt")
    save_file({"vision_model.x": torch.zeros(1)}, tmp_path / "half.pt")
    for name, words in (
        ("a.pt", ".npz file of NumPy"), ("module.pt", "holds a Linear"), ("other.pt", "holds no CLIP weights"),
        ("half.pt", "only the vision_model"), ("none.pt", "does not exist"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=words):
            describe(tmp_path / name)


@pytest.mark.slow
def test_truncated_files_of_every_kind(tmp_path: Path) -> None:
    weights = fabricate.state()
    torch.save(weights, tmp_path / "zip")
    save_file(weights, tmp_path / "safe")
    (tmp_path / "legacy").write_bytes(fabricate.legacy(weights))
    index = fabricate.sharded(tmp_path / "shards", weights, save_file)
    for name in ("zip", "safe", "legacy"):
        whole = (tmp_path / name).read_bytes()
        for share in (0.3, 0.9, 1 - 1e-5):
            (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
            with pytest.raises(UserError, match=r"damaged|has no end|ends within"):
                open_weights(tmp_path / name)
    shard = next(index.parent.glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-4])
    with pytest.raises(UserError, match="damaged"):
        open_weights(index)
    shard.unlink()
    with pytest.raises(UserError, match=r"names the shard .* not in its folder"):
        open_weights(index)


def test_an_index_cannot_name_files_elsewhere_or_itself(tmp_path: Path) -> None:
    for shard, words in (
        ("../secret", "not a file name"),
        ("w.json", "is an index"),
        ("/etc/passwd", "not a file name"),
    ):
        (tmp_path / "w.json").write_text(json.dumps({"weight_map": {"a": shard}}))
        with pytest.raises(UserError, match=words):
            open_weights(tmp_path / "w.json")


class Bomb:
    """Unpickling this makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def torchscript(data: bytes) -> bytes:
    file = io.BytesIO(zip_of(data))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("archive/constants.pkl", data)
        archive.writestr("archive/code/__torch__.py", "import os; os.abort()")
    return file.getvalue()


@pytest.mark.parametrize(
    "wrap", [zip_of, torchscript, lambda data: LEGACY_HEAD + data], ids=["zip", "torchscript", "legacy"]
)
def test_a_bomb_in_every_kind_of_pickle_does_nothing(wrap: Callable[[bytes], bytes], tmp_path: Path) -> None:
    target = tmp_path / "exploded"
    path = tmp_path / "w.pt"
    for content in (Bomb(target), {"model": Bomb(target)}, [Bomb(target)], OrderedDict(x=Bomb(target))):
        path.write_bytes(wrap(pickle.dumps(content, 2)))
        with pytest.raises(UserError):
            describe(path)
    assert not target.exists()


def tensor(size: str, stride: str, offset: str = "0", numel: str = "4") -> bytes:
    """A pickle of a mapping with one tensor over a storage of 4 values."""
    return (
        b"\x80\x02}X\x08\x00\x00\x00visual.xctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\n"
        b"FloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuL" + numel.encode() + b"L\ntQL" + offset.encode()
        + b"L\n(" + size.encode() + b"t(" + stride.encode() + b"tI00\n}tRs."
    )  # fmt: skip


def with_storage(data: bytes, values: bytes = bytes(16), compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO(zip_of(data))
    with zipfile.ZipFile(file, "a", compression) as archive:
        archive.writestr("archive/data/0", values)
    return file.getvalue()


def laughs() -> dict[str, Any]:
    """A mapping of 40 levels whose entries double with every level."""
    content: dict[str, Any] = {"x": 1}
    for _ in range(40):
        content = {"a": content, "b": content}
    return content


def itself() -> dict[str, Any]:
    content: dict[str, Any] = {}
    content["a"] = content
    return content


HUGE = "L3000000000L\n"
HOSTILE: dict[str, Callable[[], bytes]] = {
    "stride of 0": lambda: with_storage(tensor(HUGE, "L0L\n")),
    "beyond the storage": lambda: with_storage(tensor("L4L\n", "L1L\n", "2")),
    "storage beyond the member": lambda: with_storage(tensor("L4L\n", "L1L\n", numel="9000000000")),
    "negative size": lambda: with_storage(tensor("L-4L\n", "L1L\n")),
    "zeros that inflate": lambda: with_storage(
        tensor("L4L\n", "L1L\n"), bytes(32 * 2**20), zipfile.ZIP_DEFLATED
    ),
    "pickle that inflates": lambda: _deflated(b"\x80\x02" + b"N0" * (20 * 2**20)),
    "legacy that claims": lambda: LEGACY_HEAD + tensor(HUGE, "L1L\n", numel="3000000000") + pickle.dumps(["0"], 2),
    "claimed bytes": lambda: zip_of(b"\x80\x04\x8e" + struct.pack("<Q", 2**36) + b"x"),
    "claimed bytes of a legacy file": lambda: LEGACY_HEAD + b"\x80\x04\x8e" + struct.pack("<Q", 2**36) + b"x",
    "claimed bytearray": lambda: zip_of(b"\x80\x05\x96" + struct.pack("<Q", 2**36) + b"x"),
    "claimed frame": lambda: zip_of(b"\x80\x04\x95" + struct.pack("<Q", 2**36) + b"x"),
    "memo": lambda: zip_of(b"\x80\x02}r\xff\xff\xff\x7f."),
    "doubling": lambda: zip_of(pickle.dumps(laughs(), 2)),
    "recursion": lambda: zip_of(pickle.dumps(itself(), 2)),
    "deep": lambda: zip_of(b"\x80\x02" + b"(" * 50_000 + b"l" * 50_000 + b"."),
    "large header": lambda: struct.pack("<Q", 17 * 2**20) + b"{" + b" " * (17 * 2**20),
    "shape beyond the data": lambda: _header([2**40], 0, 4),
    "offsets beyond the file": lambda: _header([4], 90, 106),
    "one span for many": lambda: _header([2**20], 0, 2**22, 500),
    "negative shape": lambda: _header([-1, -1], 0, 4),
}  # fmt: skip


def _deflated(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", data)
    return file.getvalue()


def _header(shape: list[int], begin: int, end: int, copies: int = 1) -> bytes:
    entry = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    header = json.dumps({f"visual.{i}": entry for i in range(copies)}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(end - begin)


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_takes_little_memory_and_time(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(HOSTILE[kind]())
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(UserError, match=r"damaged|compressed or repeats|holds no CLIP|holds a list"):
        describe(path)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 100 and time.process_time() - started < 10


def test_a_large_sparse_file_is_refused_before_it_is_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.base import files
    from harness.cells.backbone import BackboneChoice

    path = tmp_path / "w.pt"
    with path.open("wb") as file:
        file.truncate(5 * 2**30)
    monkeypatch.setattr(files, "file_sha256", None)
    with pytest.raises(UserError, match="begins with zeros"):
        BackboneChoice("ViT-B-16", str(path)).model_id()
