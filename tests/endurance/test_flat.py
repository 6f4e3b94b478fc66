"""Memory and file handles stay flat over thousands of clips and opens, damaged files among them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.engine.video import mm_pipeline
from harness.engine.video.batches import Draw
from harness.engine.video.decode import Undecodable, decode
from harness.engine.video.loaders import eval_loader, in_batches
from harness.machine.compute_options import ComputeOptions
from harness.spec import Views
from tests.conftest import CLASSES, write_clip

pytestmark = pytest.mark.slow
CLIPS, OPENS = 2_000, 5_000
READERS = ("decord", "exact")
PAGE = os.sysconf("SC_PAGE_SIZE")
GROWTH_MIB = 24.0
"""Allowed growth over the last four fifths; a leak of a decoded frame a clip would be 40 MiB and more."""


def resident_mib(pid: int | str = "self") -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 2**20


def handles(pid: int | str = "self") -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def children() -> list[int]:
    found = [(task / "children").read_text().split() for task in Path("/proc/self/task").iterdir()]
    return sorted({int(pid) for pids in found for pid in pids})


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Good clips of three kinds, and every fifth a file that does not decode to its end, or at all."""
    root = tmp_path_factory.mktemp("flat")
    found = []
    for i in range(20):
        fourcc = ("MJPG", "XVID", "mp4v")[i % 3]
        suffix = "mp4" if fourcc == "mp4v" else "avi"
        path = write_clip(root / f"{i}.{suffix}", CLASSES[i % 4], seed=i, fourcc=fourcc)
        if i % 5 == 4:
            data = path.read_bytes()
            path.write_bytes((b"", b"<html>", data[: len(data) // 2], data[:200])[i // 5])
        found.append(path)
    return found


def judge(
    samples: list[tuple[int, float, int]], what: str, measured: dict[str, Any], allowed_mib: float = GROWTH_MIB
) -> None:
    """Compare the end with the state after a fifth, and note the slope."""
    rest = samples[len(samples) // 5 :]
    counts, sizes, open_files = (np.array(column, dtype=float) for column in zip(*rest, strict=True))
    slope = float(np.polyfit(counts, sizes, 1)[0]) * 1000
    measured[what] = {
        "n": samples[-1][0], "rss_mib_after_fifth": round(rest[0][1], 1), "rss_mib_at_end": round(rest[-1][1], 1),
        "slope_mib_per_1000": round(slope, 3), "handles": sorted({int(n) for n in open_files}),
    }  # fmt: skip
    assert sizes[-1] - sizes[0] < allowed_mib, measured[what]
    assert open_files[-1] <= open_files[0], measured[what]


@pytest.mark.parametrize("reader", READERS)
def test_five_thousand_opens_in_one_process(files: list[Path], reader: str, measured: dict[str, Any]) -> None:
    pipeline = mm_pipeline.eval_pipeline(Views(frames=4, reader=reader), 32)
    dataset = mm_pipeline.ListVideoDataset([(path, 0) for path in files], pipeline, 0)
    samples, failed = [], 0
    for count in range(1, OPENS + 1):
        failed += isinstance(decode(dataset, Draw(count % len(files))), Undecodable)
        if count % 100 == 0:
            samples.append((count, resident_mib(), handles()))
    assert OPENS // 10 <= failed <= OPENS // 5
    judge(samples, f"opens {reader}", measured)


def batches(files: list[Path], reader: str) -> Iterator[Any]:
    rows: list[Any] = [(files[i % len(files)], i % 4) for i in range(CLIPS)]
    batches, compute = in_batches(len(rows), 8), ComputeOptions(device="cpu", workers=2)
    yield from eval_loader(rows, Views(frames=4, reader=reader), 32, batches, compute, 0)


@pytest.mark.parametrize("reader", READERS)
def test_two_thousand_clips_through_the_workers(files: list[Path], reader: str, measured: dict[str, Any]) -> None:
    own, theirs, count, failed = [], [], 0, 0
    before = handles()
    for batch in batches(files, reader):
        count += len(batch.rows) + len(batch.failed)
        failed += len(batch.failed)
        if count % 80 == 0 and len(workers := children()) >= 2:
            own.append((count, resident_mib(), handles()))
            theirs.append((count, sum(map(resident_mib, workers)), sum(map(handles, workers))))
    assert count == CLIPS and CLIPS // 10 <= failed <= CLIPS // 5
    assert len(own) > 15 and handles() == before
    judge(own, f"clips {reader}, parent", measured)
    judge(theirs, f"clips {reader}, two workers", measured, 2 * GROWTH_MIB)


def test_crashing_workers_leave_no_handles(measured: dict[str, Any]) -> None:
    """Every replaced worker takes its pipe with it."""
    from harness.engine.video.guarded_loader import GuardedLoader
    from tests.engine.loading import Numbers, pairs, segfault

    crash: dict[int, Callable[[], Any]] = dict.fromkeys(range(0, 400, 2), segfault)
    samples = []
    loader = GuardedLoader(Numbers(crash), [[Draw(i)] for i in range(400)], pairs, 2)
    for count, _ in enumerate(loader, 1):
        samples.append((count, resident_mib(), handles()))
    judge(samples[:-1], "200 clips that kill two workers each", measured)
