"""Mutated videos through both readers in the workers that runs use: each is decoded or named, and nothing else ends.

A decoder that crashes takes a worker with it, not the run; one that hangs is given up after the limit.
"""

from __future__ import annotations

import os
import random
import resource
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.base.files import file_sha256
from harness.engine.video.loaders import eval_loader, in_batches
from harness.engine.video.worker_server import worker_server
from harness.machine.compute_options import ComputeOptions
from harness.spec import Views
from tests.conftest import CLASSES, write_clip
from tests.endurance.mutate import mutated

SEED = int(os.environ.get("HARNESS_TEST_SEED", "1"))
READERS = ("decord", "exact")
FEW, MANY = 24, 5_000
LIMIT = 10.0
ROOM = 6 * 2**30
"""Memory that a file may make a decoder ask for, beyond what the process has: headers can state any size."""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Small clips of three codecs in two containers."""
    root = tmp_path_factory.mktemp("good")
    kinds = (("a.avi", "MJPG"), ("b.avi", "XVID"), ("c.mp4", "mp4v"), ("d.mkv", "XVID"))
    return [write_clip(root / name, CLASSES[0], seed=3, fourcc=fourcc) for name, fourcc in kinds]


@pytest.fixture
def little_memory() -> Any:
    """Address space for this process and its workers as it is, plus some room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (now + ROOM, hard))
    worker_server().close()  # its workers have the limits that this process had when it was started
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    worker_server().close()


def kind_of(reason: str) -> str:
    if "crashed" in reason or "stopped" in reason:
        return "crashed the decoder"
    return "hung" if "limit of" in reason else "refused"


def mutants(good: list[Path], folder: Path, count: int, reader: str) -> Counter[str]:
    """Decode mutants; what became of them."""
    draw = random.Random(f"{SEED} {reader}")
    for number in range(count):
        source = good[number % len(good)]
        (folder / f"{number}{source.suffix}").write_bytes(mutated(source.read_bytes(), draw))
    files = sorted(folder.iterdir(), key=lambda path: int(path.stem))
    rows: list[Any] = [(path, 0) for path in files]
    ends, seen = Counter[str](), []
    compute = ComputeOptions(device="cpu", workers=2, decode_seconds=LIMIT)
    for batch in eval_loader(rows, Views(frames=4, reader=reader), 32, in_batches(count, 4), compute, 0):
        seen += [*batch.rows, *batch.failed]
        ends["decoded"] += len(batch.rows)
        assert (batch.frames is None) == (not batch.rows)
        assert batch.frames is None or batch.frames.shape == (len(batch.rows), 4, 3, 32, 32)
        for row, clip in batch.failed.items():
            reason = clip.reason
            assert clip.sha256 == file_sha256(files[row])
            assert "\n" not in reason and 0 < len(reason) < 250 and str(folder) not in reason, (files[row], reason)
            ends[kind_of(reason)] += 1
    assert sorted(seen) == list(range(count))
    assert sorted(folder.iterdir(), key=lambda path: int(path.stem)) == files  # nothing was written beside them
    return ends


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.usefixtures("little_memory")
def test_a_few(good: list[Path], tmp_path: Path, reader: str) -> None:
    ends = mutants(good, tmp_path, FEW, reader)
    assert ends["hung"] == 0 and 0 < ends["decoded"] < FEW


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.usefixtures("little_memory")
def test_many(good: list[Path], tmp_path: Path, reader: str, measured: dict[str, Any]) -> None:
    """None hangs; how many crash decord is for the record: each cost a worker and is named."""
    ends = mutants(good, tmp_path, MANY, reader)
    measured[f"mutated videos, {reader}"] = dict(ends)
    assert ends["hung"] == 0 and 0 < ends["decoded"] < MANY
