"""Evals on a CPU in fp32 and bf16, measured in turn: clips a second of processor time, and how far scores differ.

    python benchmarks/cpu_precision.py --out benchmarks/results/cpu-precision.json

`auto` takes bf16 for the evals of large vision transformers where the CPU multiplies in it; this is why.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks.timing import Spread, save, table
from benchmarks.workloads import EvalWork, autocast, build, label_set, random_frames
from harness.engine.backbone import load_backbone
from harness.engine.device import Device, casts_kept
from harness.engine.step import view_logits
from harness.spec import Views

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--arch", default="ViT-B-16-quickgelu")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--clips", type=int, default=1, help="a batch")
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--out", type=Path, help="JSON file")
    arguments = parser.parse_args()
    cpu, names = torch.device("cpu"), 51
    backbone = load_backbone(arguments.arch, "random")
    works = {}
    for name, dtype in PRECISIONS.items():
        method = build("vanilla_clip", backbone, arguments.frames, cpu)
        works[name] = EvalWork(method, arguments.frames, arguments.clips, names, Device(cpu, dtype))
        works[name]()
    rates: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(arguments.repeats):  # in turn, in processor time: the machine may have other work
        for name, work in works.items():
            started = time.process_time()
            work()
            rates[name].append(arguments.clips / (time.process_time() - started))
    spreads = {name: Spread.of(values) for name, values in rates.items()}
    far = _difference(works, arguments.frames, names)
    times = spreads["bf16"].median / spreads["fp32"].median
    rows = [[name, *(f"{v:.4g}" for v in (s.median, s.low, s.high))] for name, s in spreads.items()]
    print(table(rows, ["precision", "clips/s", "min", "max"]))
    print(f"bf16 is {times:.2f} times as fast; the largest difference of a probability is {far:.2g}")
    if arguments.out:
        content = {
            "arch": arguments.arch, "frames": arguments.frames, "clips": arguments.clips, "names": names,
            "clips_per_processor_second": {name: s.as_dict() for name, s in spreads.items()},
            "times_fp32": round(times, 2), "largest_difference_of_a_probability": float(f"{far:.2g}"),
        }  # fmt: skip
        save(arguments.out, "cpu_precision", cpu, content)


@torch.no_grad()
def _difference(works: dict[str, EvalWork], frames: int, names: int) -> float:
    found = []
    for work in works.values():
        clips = random_frames(2, frames, work.method, work.device, 0)
        with autocast(work.device), casts_kept(work.device, work.method.backbone):
            views, classes = Views(frames=frames), len(label_set(names))
            logits = view_logits(work.method, clips, work.text, views, work.device, classes)
        found.append(logits[:, 0].double().softmax(dim=-1))
    return float((found[0] - found[1]).abs().max())


if __name__ == "__main__":
    main()
