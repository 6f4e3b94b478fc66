"""Evals on a CPU in fp32 and bf16, plain and compiled: clips per second of CPU time, and differences of scores.

    python benchmarks/cpu_precision.py --out benchmarks/results/cpu-precision.json

The results are the reason why `--precision auto` selects bf16 for evals of large vision transformers on CPUs with bf16
instructions, and why `--compile auto` compiles the blocks in long evals. The time of the compiler is reported
separately, as the time of the first batch.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks.timing import Spread, save, table
from benchmarks.workloads import EvalWork, autocast, build, label_set, random_frames
from harness.engine.compute.device import Device, casts_kept
from harness.engine.model.backbone import load_backbone
from harness.engine.scoring import view_logits
from harness.spec import Views

WAYS = {
    "fp32": (torch.float32, False), "bf16": (torch.bfloat16, False),
    "fp32, compiled": (torch.float32, True), "bf16, compiled": (torch.bfloat16, True),
}  # fmt: skip


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--arch", default="ViT-B-16-quickgelu")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--clips", type=int, default=1, help="clips per batch")
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--out", type=Path, help="JSON file")
    arguments = parser.parse_args()
    cpu, names = torch.device("cpu"), 51
    backbone = load_backbone(arguments.arch, "random")
    works = {}
    first = {}
    for name, (dtype, compiled) in WAYS.items():
        method = build("vanilla_clip", copy.deepcopy(backbone), arguments.frames, cpu)
        works[name] = EvalWork(method, arguments.frames, arguments.clips, names, Device(cpu, dtype), compiled)
        started = time.perf_counter()
        works[name]()
        first[name] = round(time.perf_counter() - started, 2)
    rates: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(arguments.repeats):  # in turn and in CPU time, because other processes may run
        for name, work in works.items():
            started = time.process_time()
            work()
            rates[name].append(arguments.clips / (time.process_time() - started))
    spreads = {name: Spread.of(values) for name, values in rates.items()}
    far = _difference(works, arguments.frames, names)
    times = {name: round(spread.median / spreads["fp32"].median, 2) for name, spread in spreads.items()}
    rows = [
        [name, *(f"{v:.4g}" for v in (s.median, s.low, s.high)), f"{times[name]:.2f}", f"{first[name]:.1f}"]
        for name, s in spreads.items()
    ]
    print(table(rows, ["way", "clips/s", "min", "max", "times fp32", "first batch, s"]))
    print(f"the largest difference of a probability from fp32 is {far:.2g}")
    if arguments.out:
        content = {
            "arch": arguments.arch, "frames": arguments.frames, "clips": arguments.clips, "names": names,
            "clips_per_processor_second": {name: s.as_dict() for name, s in spreads.items()},
            "times_fp32": times, "seconds_of_the_first_batch": first,
            "largest_difference_of_a_probability": float(f"{far:.2g}"),
        }  # fmt: skip
        save(arguments.out, "cpu_precision", cpu, content)


@torch.no_grad()
def _difference(works: dict[str, EvalWork], frames: int, names: int) -> float:
    probabilities = []
    for work in works.values():
        clips = random_frames(2, frames, work.method, work.device, 0)
        with autocast(work.device), casts_kept(work.device, work.method.backbone):
            views, classes = Views(frames=frames), len(label_set(names))
            logits = view_logits(work.method, clips, work.text, views, work.device, classes)
        probabilities.append(logits[:, 0].double().softmax(dim=-1))
    return max(float((probabilities[0] - other).abs().max()) for other in probabilities[1:])


if __name__ == "__main__":
    main()
