"""The hand-written compiled vision block against `block.compile()` of torch, and against plain blocks.

    python benchmarks/compiled_block.py --out benchmarks/results/compiled-block-cpu.json
    python benchmarks/compiled_block.py --device cuda --out benchmarks/results/compiled-block-gpu.json

Measures the vision tower of a CLIP model with random weights: forward without gradients, and forward with backward over
all parameters, in fp32 and in bf16 (autocast). The three ways take turns. Also measures the seconds of the first calls,
each way in a process of its own with an empty cache of the compiler, and checks that parameter names and checkpoints
stay equal.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor

from benchmarks.timing import Spread, save, synchronise, table
from harness.engine.model.backbone import load_backbone
from harness.engine.model.clip_model import Backbone
from harness.engine.model.compiled import compile_vision, compiler_problem

WAYS = ("plain", "ours", "block.compile()")
PHASES = ("forward", "forward and backward")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
SIZE = 224


def towers(arch: str, device: torch.device) -> dict[str, Backbone]:
    """A backbone with equal weights for each way, compiled in place."""
    plain = load_backbone(arch, "random").to(device)
    found = {way: plain if way == "plain" else copy.deepcopy(plain) for way in WAYS}
    for way, tower in found.items():
        compile_way(way, tower)
    return found


def compile_way(way: str, tower: Backbone) -> None:
    """Compile the vision blocks of a tower in one of the ways."""
    if way == "ours":
        compile_vision(tower)
    elif way == "block.compile()":
        for block in tower.visual.transformer.resblocks:
            block.compile()


class Work:
    """A phase of one tower in one precision; a call is one batch.

    Args:
        tower: The backbone.
        images: (N, 3, 224, 224) fp32.
        phase: One of `PHASES`.
        dtype: fp32, or bf16 for autocast.
    """

    def __init__(self, tower: Backbone, images: Tensor, phase: str, dtype: torch.dtype) -> None:
        self.visual, self.images, self.phase, self.dtype = tower.visual, images, phase, dtype

    def __call__(self) -> Tensor:
        """The features of the batch, (N, D)."""
        if self.phase == "forward":
            with torch.no_grad(), self._precision():
                return self.visual(self.images)
        with self._precision():
            features = self.visual(self.images)
        features.float().pow(2).mean().backward()
        self.visual.zero_grad(set_to_none=True)
        return features.detach()

    def _precision(self) -> AbstractContextManager[Any]:
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.images.device.type, self.dtype)


def seconds_of(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds of a call: wall time on a GPU, processor time on a CPU, which may have other work."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    synchronise(device)
    started = clock()
    work()
    synchronise(device)
    return clock() - started


def measure_case(works: dict[str, Work], device: torch.device, repeats: int, calls: int) -> dict[str, Any]:
    """Median and range of each way, ratios of pairs, and the largest difference of an output from the plain tower."""
    outputs = {way: work().float() for way, work in works.items()}
    for work in works.values():
        work()  # after the compiler, a second call without it
    times: dict[str, list[float]] = {way: [] for way in works}
    for repeat in range(repeats):
        for way in list(works) if repeat % 2 else list(works)[::-1]:
            times[way].append(sum(seconds_of(works[way], device) for _ in range(calls)) / calls)
    ratios = {
        f"{a} over {b}": statistics.median([x / y for x, y in zip(times[a], times[b], strict=True)])
        for a, b in (("plain", "ours"), ("plain", "block.compile()"), ("block.compile()", "ours"))
    }
    return {
        "seconds": {way: Spread.of(values).as_dict() for way, values in times.items()},
        "ratios_of_seconds": {name: round(value, 3) for name, value in ratios.items()},
        "largest_difference_from_plain": {
            way: float(f"{float((outputs[way] - outputs['plain']).abs().max()):.2g}") for way in works if way != "plain"
        },
    }


def first_calls(way: str, images: Tensor, tower: Backbone) -> dict[str, float]:
    """Wall seconds of the first call of each phase in fp32; the second phase follows the first in one process."""
    compiler_problem(images.device.type)  # the compiler itself starts, as before any compilation of the harness
    compile_way(way, tower)
    found = {}
    for phase in PHASES:
        work = Work(tower, images, phase, torch.float32)
        started = time.perf_counter()
        work()
        synchronise(images.device)
        found[phase] = round(time.perf_counter() - started, 2)
    return found


def first_calls_in_process(way: str, arguments: argparse.Namespace) -> dict[str, float]:
    """`first_calls` in a process with an empty cache of the compiler."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, __file__, "--first-calls", way, "--device", arguments.device]
        command += ["--arch", arguments.arch, "--frames", str(arguments.frames)]
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": cache}
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def checkpoints_equal(found: dict[str, Backbone]) -> dict[str, bool]:
    """Whether names and tensors of a state dict are those of the plain tower, and load into it."""
    plain = found["plain"].state_dict()
    equal = {}
    for way in WAYS[1:]:
        state = found[way].state_dict()
        same = list(state) == list(plain) and all(torch.equal(state[name], plain[name]) for name in plain)
        names = [name for name, _ in found[way].named_parameters()]
        same = same and names == [name for name, _ in found["plain"].named_parameters()]
        result = found["plain"].load_state_dict(state, strict=True)
        equal[way] = same and not result.missing_keys and not result.unexpected_keys
    return equal


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--arch", default="ViT-B-16-quickgelu")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--frames", type=int, default=8, help="frames in a batch")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--calls", type=int, default=1, help="calls in a timing; take more on a GPU")
    parser.add_argument("--precisions", nargs="+", choices=list(DTYPES), default=list(DTYPES))
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--first-calls", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    torch.manual_seed(0)
    images = torch.randn(arguments.frames, 3, SIZE, SIZE, device=device)
    if arguments.first_calls:
        tower = load_backbone(arguments.arch, "random").to(device)
        print(json.dumps(first_calls(arguments.first_calls, images, tower)))
        return
    content: dict[str, Any] = {"load_at_start": round(os.getloadavg()[0], 2), "cores": os.cpu_count()}
    content |= measure_all(arguments, images)
    content["seconds_of_the_first_calls_fp32"] = {way: first_calls_in_process(way, arguments) for way in WAYS}
    report(content)
    if arguments.out:
        content |= {key: getattr(arguments, key) for key in ("arch", "frames", "repeats", "calls")}
        content["clock"] = "wall time" if device.type == "cuda" else "processor time"
        save(arguments.out, "compiled_block", device, content)


def report(content: dict[str, Any]) -> None:
    """Print the measurements."""
    rows = [
        (name, way, *(f"{case['seconds'][way][k]:.4g}" for k in ("median", "min", "max")))
        for name, case in content["cases"].items()
        for way in WAYS
    ]
    print(table(rows, ("case", "way", "seconds", "min", "max")))
    for name, case in content["cases"].items():
        print(name, case["ratios_of_seconds"], case["largest_difference_from_plain"])
    print("first calls, fp32:", content["seconds_of_the_first_calls_fp32"])
    print("names and checkpoints equal:", content["checkpoints_equal"])


def measure_all(arguments: argparse.Namespace, images: Tensor) -> dict[str, Any]:
    """All phases in all precisions."""
    found = towers(arguments.arch, images.device)
    cases = {}
    for precision in arguments.precisions:
        for phase in PHASES:
            works = {way: Work(found[way], images, phase, DTYPES[precision]) for way in WAYS}
            cases[f"{phase}, {precision}"] = measure_case(works, images.device, arguments.repeats, arguments.calls)
            print(f"{phase}, {precision}: done", file=sys.stderr, flush=True)
    return {"cases": cases, "checkpoints_equal": checkpoints_equal(found)}


if __name__ == "__main__":
    main()
