"""Estimated and measured memory of fits: peaks on a GPU, or growth of the resident memory on a CPU.

    python benchmarks/memory.py                             # a CPU: small fits
    python benchmarks/memory.py --out benchmarks/results/memory-cpu.json
    python benchmarks/memory.py --recorded benchmarks/results/throughput-h200.json      # peaks of an earlier run
    python benchmarks/memory.py --limit-gib 24              # a GPU: ViT-L/14 at 16 frames inside 24 GB

On a CPU each measurement runs in its own process, because the peak of a process never falls, and glibc's thresholds are
set so that freed memory is returned to the system at once.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks.timing import save, table
from harness.engine.cost.memory import FitShape, fit_memory

GIB = 2**30
CPU_CASES = (
    FitShape(arch="ViT-B-32-quickgelu", frames=4, clips=4, names=51, precision="fp32"),
    FitShape(arch="ViT-B-32-quickgelu", frames=4, clips=8, names=51, precision="fp32"),
    FitShape(arch="ViT-B-32-quickgelu", frames=4, clips=8, names=51, precision="fp32", grad_checkpointing=True),
    FitShape(arch="ViT-B-32-quickgelu", frames=4, clips=8, names=51, precision="bf16"),
    FitShape(method="image_ft", arch="ViT-B-32-quickgelu", frames=4, clips=8, names=51, precision="fp32"),
)
CARD_CASES = tuple(
    FitShape(arch="ViT-L-14-quickgelu", frames=16, clips=clips, names=names, grad_checkpointing=True)
    for clips, names in ((16, 400), (8, 400), (4, 400))
)


def measure(shape: FitShape, device: torch.device, limit: float | None = None) -> float:
    """Peak bytes of two updates of a fit on a device; on a CPU the growth of the resident memory.

    Args:
        shape: Sizes and settings of the fit.
        device: `cuda`, or `cpu` in its own process.
        limit: Limit of the GPU memory in bytes.
    """
    from benchmarks.workloads import FitWork, build
    from harness.engine.compute.device import Device
    from harness.engine.model.backbone import load_backbone
    from harness.engine.training.gradient_checkpointing import checkpointed

    before = _resident("VmRSS")
    if limit is not None:
        torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.get_device_properties(device).total_memory)
    backbone = load_backbone(shape.arch, "random")
    method = build(shape.method, backbone, shape.frames, device)
    del backbone
    precision = torch.bfloat16 if shape.precision == "bf16" else torch.float32
    work = FitWork(method, shape.frames, shape.clips, shape.names, Device(device, precision))
    work.per_update = 1
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with checkpointed(method.backbone, shape.grad_checkpointing):
        for _ in range(2):  # the optimiser allocates its moments in the first update
            work()
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    return float(_resident("VmHWM") - before)


def _resident(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status has no {field}")


def in_own_process(shape: FitShape) -> float:
    """`measure` on a CPU in a fresh process."""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    command = [sys.executable, __file__, "--one", json.dumps(asdict(shape))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def recorded(path: Path) -> list[tuple[FitShape, float]]:
    """The uncompiled fits of a throughput run: their shapes and measured peaks in bytes."""
    content = json.loads(path.read_text())
    peaks = []
    for row in content["rows"]:
        if row["phase"] == "fit" and row["path"] == "ours" and not row["compiled"]:
            shape = FitShape(
                row["method"], content["arch"], row["frames"], row["clips_per_batch"], row["names"], row["precision"]
            )
            peaks.append((shape, row["peak_memory_gib"] * GIB))
    return peaks


def main() -> None:
    """Measure, estimate, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recorded", type=Path, help="compare with the peaks of a throughput run instead of measuring")
    parser.add_argument("--limit-gib", type=float, help="a GPU: stay inside this many GB (10^9 bytes)")
    parser.add_argument("--large", action="store_true", help="a CPU: the ViT-L/14 of one card (20 minutes, 16 GiB)")
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(measure(FitShape(**json.loads(arguments.one)), torch.device("cpu")))
        return
    device = torch.device("cuda" if torch.cuda.is_available() and not arguments.recorded else "cpu")
    if arguments.recorded:
        pairs = recorded(arguments.recorded)
    elif device.type == "cuda":
        limit = None if arguments.limit_gib is None else 1e9 * arguments.limit_gib
        pairs = [(shape, measure(shape, device, limit)) for shape in CARD_CASES]
    else:
        cases = CARD_CASES[::2] if arguments.large else CPU_CASES
        pairs = [(shape, in_own_process(shape)) for shape in cases]
    rows: list[dict[str, Any]] = []
    for shape, measured in pairs:
        estimate = fit_memory(shape, cuda=device.type == "cuda" or arguments.recorded is not None)
        rows.append(
            {
                **asdict(shape), "measured_gib": round(measured / GIB, 3),
                "estimated_gib": round(estimate.total / GIB, 3), "ratio": round(estimate.total / measured, 3),
            }
        )  # fmt: skip
    content = ("method", "arch", "frames", "clips", "names", "precision", "grad_checkpointing")
    header = [*content, "measured GiB", "estimated GiB", "ratio"]
    print(table([[*(row[k] for k in content), *list(row.values())[-3:]] for row in rows], header))
    if arguments.out:
        origin = str(arguments.recorded) if arguments.recorded else "measured in this run"
        save(arguments.out, "memory", device, {"rows": rows, "peaks": origin})


if __name__ == "__main__":
    main()
