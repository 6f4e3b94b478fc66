"""Fit steps on a CPU: fp32 and bf16, and CLIP's vision tower in few passes against open_clip's modules.

    python benchmarks/cpu_fits.py --out benchmarks/results/cpu-fits.json

Each way computes the same device batches: forward, backward and the updates of ViFi-CLIP's recipe. CPU time is
measured, in turn, because other processes may run. The losses are those of the first batch, before any update.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks.timing import Spread, save, table
from benchmarks.workloads import FitWork, autocast, build
from harness.engine.compute.device import Device
from harness.engine.model import clip_model
from harness.engine.model.backbone import load_backbone

WAYS = {
    "fp32": (torch.float32, True), "bf16": (torch.bfloat16, True),
    "fp32, open_clip's modules": (torch.float32, False), "bf16, open_clip's modules": (torch.bfloat16, False),
}  # fmt: skip
"""Precision, and whether the vision tower is computed in few passes."""


@contextmanager
def passes(few: bool) -> Iterator[None]:
    """Compute vision towers in few passes, as on every CPU, or with open_clip's modules."""
    if few:
        yield
        return
    with mock.patch.object(clip_model, "is_lean", lambda *_: False):
        yield


def main() -> None:
    """Measure both models, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--out", type=Path, help="JSON file")
    arguments = parser.parse_args()
    cpu, results = torch.device("cpu"), []
    for arch, frames, clips in (("mini-clip", 4, 8), ("ViT-B-32-quickgelu", 8, 4)):
        backbone = load_backbone(arch, None if arch == "mini-clip" else "random")
        works = {
            name: FitWork(build("vificlip", backbone, frames, cpu), frames, clips, 51, Device(cpu, dtype))
            for name, (dtype, _) in WAYS.items()
        }
        losses: dict[str, float] = {}
        seconds: dict[str, list[float]] = {name: [] for name in works}
        for repeat in range(arguments.repeats + 1):  # the first one warms up
            for name, work in works.items():
                with passes(WAYS[name][1]):
                    if repeat == 0:
                        with torch.no_grad(), autocast(work.device):
                            losses[name] = float(work.loss(work.batches[0]))
                    started = time.process_time()
                    work()
                    seconds[name].append(time.process_time() - started)
        spreads = {name: Spread.of(values[1:]) for name, values in seconds.items()}
        base = spreads["fp32"].median
        rows = [
            [name, *(f"{v:.4g}" for v in (s.median, s.low, s.high)), f"{base / s.median:.2f}", f"{losses[name]:.5f}"]
            for name, s in spreads.items()
        ]
        print(f"{arch}, {clips} clips of {frames} frames")
        print(table(rows, ["way", "CPU seconds of a step", "min", "max", "times fp32", "first loss"]))
        results.append(
            {
                "arch": arch, "frames": frames, "clips": clips, "first_loss": losses,
                "processor_seconds_of_a_step": {name: s.as_dict() for name, s in spreads.items()},
                "times_fp32": {name: round(base / s.median, 2) for name, s in spreads.items()},
            }
        )  # fmt: skip
    if arguments.out:
        save(arguments.out, "cpu_fits", cpu, {"models": results})


if __name__ == "__main__":
    main()
