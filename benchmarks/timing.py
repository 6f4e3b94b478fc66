"""Helpers of benchmarks: synchronised and repeated timing, peak of a matrix product, tables and JSON files."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

SCHEMA = 1


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum of repeated measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def as_dict(self) -> dict[str, float]:
        """Rounded to four digits, JSON-ready."""
        return {k: float(f"{v:.4g}") for k, v in (("median", self.median), ("min", self.low), ("max", self.high))}


def synchronise(device: torch.device) -> None:
    """Wait until a device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], Any], device: torch.device, times: int = 1) -> float:
    """Wall time of one call in seconds, the mean of `times` calls in a row."""
    synchronise(device)
    started = time.perf_counter()
    for _ in range(times):
        work()
    synchronise(device)
    return (time.perf_counter() - started) / times


def measure_in_turn(
    works: Sequence[Callable[[], Any]], device: torch.device, repeats: int, seconds: float, warmups: int = 2
) -> list[list[float]]:
    """Seconds per call of several pieces of work, measured in turn so that a busy machine slows all of them.

    Args:
        works: Called without arguments.
        device: Device of the work, synchronised before and after each timing.
        repeats: Number of timings per piece of work.
        seconds: Approximate length of a timing, which has at least one call.
        warmups: Calls before the first timing, at least one.
    """
    times = []
    for work in works:
        for _ in range(max(warmups - 1, 0)):
            work()
        once = seconds_of(work, device)
        times.append(max(1, min(50, round(seconds / max(once, 1e-6)))))
    seconds_per_call: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for results, work, count in zip(seconds_per_call, works, times, strict=True):
            results.append(seconds_of(work, device, count))
    return seconds_per_call


def matmul_peak(device: torch.device, dtype: torch.dtype) -> Spread:
    """TFLOP/s of a large square matrix product of random numbers."""
    size = 8192 if device.type == "cuda" else 1536
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    wanted = 0.1 if device.type == "cuda" else 0.3
    seconds = measure_in_turn([lambda: a @ b], device, 7, wanted, 3)[0]
    return Spread.of([2 * size**3 / s / 1e12 for s in seconds])


def machine(device: torch.device) -> dict[str, Any]:
    """The device, and the versions of torch and Python."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "device": name,
        "kind": device.type,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }


def table(rows: Sequence[Sequence[object]], header: Sequence[str]) -> str:
    """Rows as text with aligned columns: the first column left-aligned, all other columns right-aligned."""
    cells = [list(header), *([str(c) for c in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in cells
    ]
    return "\n".join(line.rstrip() for line in [lines[0], "-" * len(lines[0]), *lines[1:]])


def save(path: Path, benchmark: str, device: torch.device, content: dict[str, Any]) -> None:
    """Write a benchmark's results as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {"schema": SCHEMA, "benchmark": benchmark, "machine": machine(device), **content}
    path.write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n", encoding="utf-8")


class Deadline:
    """A time after which no new measurement starts."""

    def __init__(self, seconds: float) -> None:
        self.started, self.seconds = time.monotonic(), seconds

    @property
    def left(self) -> float:
        """Seconds left, negative when it has passed."""
        return self.seconds - (time.monotonic() - self.started)
