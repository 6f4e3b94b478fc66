"""Clips/s of fits and evals of every method on ViT-B/16, on a GPU if torch sees one, else on the CPU.

    python benchmarks/throughput.py --baseline --seconds 480 --out benchmarks/results/throughput.json
    python benchmarks/throughput.py --quick                     # a CPU: 8 frames, 51 names, two methods

The combinations of methods, 8, 16, 32 frames, 51, 101, 200, 400 names, fp32 and bf16, compiled and not compiled are
measured in order of interest until the time is over. A row states clips per batch, peak memory, and the share of the
rate of a matrix product in the same run. `--baseline` measures the naive way (see workloads.py) in turn with the
engine. Weights are random (speed does not depend on them) and clips are synthetic; decoding is measured separately.
"""

from __future__ import annotations

import argparse
import copy
import gc
import itertools
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks.decoding import decode_rates
from benchmarks.timing import Deadline, Spread, matmul_peak, measure_in_turn, save, seconds_of, table
from benchmarks.workloads import (
    EVAL_IMAGES,
    FIT_IMAGES,
    NAIVE_IMAGES,
    EvalWork,
    FitWork,
    NaiveEval,
    NaiveFit,
    build,
    model_flops,
    recipe_of,
)
from harness.engine.compute.device import Device
from harness.engine.method import method_class
from harness.engine.model.backbone import Backbone, load_backbone
from harness.plugins import registry

FRAMES, NAMES = (16, 8, 32), (200, 51, 101, 400)
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
ARCH = "ViT-B-16-quickgelu"
"""The activation of OpenAI's weights, which the published recipes start from."""
SMALL_BATCH = {"fit": 1, "eval": 2}
"""Clips per batch on a CPU, where a larger batch is not faster; also for the naive way."""


@dataclass(frozen=True)
class Case:
    """A combination to measure; with `naive`, the naive way is measured in turn with the engine."""

    method: str
    phase: str
    frames: int = 16
    names: int = 200
    precision: str = "bf16"
    compiled: bool = False
    naive: bool = False


def cases(arguments: argparse.Namespace, device: torch.device) -> Iterator[Case]:
    """The combinations in order of interest, each once."""
    methods = arguments.method or list(registry.sources("method"))
    if arguments.quick:
        for phase, method in itertools.product(("eval", "fit"), arguments.method or ["vificlip", "vanilla_clip"]):
            yield Case(method, phase, 8, 51, "fp32", naive=arguments.baseline)
        return
    first = ["vificlip"] if "vificlip" in methods else methods[:1]
    ordered = [*first, *(m for m in methods if m not in first)]
    phases, cuda, naive = ("fit", "eval"), device.type == "cuda", arguments.baseline
    wanted: list[Case] = []
    if cuda:
        wanted += [Case(m, p, compiled=True, naive=naive) for m in first for p in phases]
    wanted += [Case(m, p) for m in first for p in phases]
    wanted += [Case(m, p, naive=naive) for m in ordered[1:] for p in phases]
    wanted += [Case(m, p, frames=32, naive=naive) for m in first for p in phases]
    wanted += [Case(m, p, precision="fp32") for m in first for p in phases]
    wanted += [Case(m, p, names=n) for m in first for n in NAMES[1:] for p in phases]
    wanted += [Case(m, p, frames=f) for f in FRAMES[1:] for m in ordered for p in phases]
    if cuda:
        wanted += [Case(m, "fit", compiled=True) for m in ordered[1:]]
    wanted += [Case(m, p, precision="fp32") for m in ordered[1:] for p in phases]
    grid = itertools.product(("bf16", "fp32"), (False, True) if cuda else (False,), NAMES, FRAMES, ordered, phases)
    wanted += [Case(m, p, f, n, dtype, compiled) for dtype, compiled, n, f, m, p in grid]
    seen: set[tuple[Any, ...]] = set()
    for case in wanted:
        key = (case.method, case.phase, case.frames, case.names, case.precision, case.compiled)
        if key not in seen:
            seen.add(key)
            yield case


class Bench:
    """Measures cases on one device and keeps their rows."""

    def __init__(self, arguments: argparse.Namespace, device: torch.device, deadline: Deadline) -> None:
        self.device, self.deadline, self.repeats = device, deadline, arguments.repeats or (2 if arguments.quick else 3)
        self.backbone: Backbone = load_backbone(ARCH, "random")
        self.shapes = copy.deepcopy(self.backbone).to("meta")
        self.slot = 0.6 if device.type == "cuda" else 1.0
        self.rows: list[dict[str, Any]] = []
        self.limits: list[dict[str, Any]] = []
        self.skipped: list[dict[str, str]] = []
        self.flops: dict[tuple[str, str, int, int], tuple[float, float]] = {}
        wanted = ["fp32"] if arguments.quick else list(DTYPES)
        self.peaks = {name: matmul_peak(device, DTYPES[name]) for name in wanted}

    def measure(self, case: Case) -> None:
        """Add the rows of a case; when out of memory, try again with half of the clips per batch."""
        if case.phase == "fit" and recipe_of(method_class(case.method)) is None:
            return
        images = FIT_IMAGES if case.phase == "fit" else EVAL_IMAGES
        clips = max(1, images // case.frames) if self.device.type == "cuda" else SMALL_BATCH[case.phase]
        while True:
            try:
                self._measure(case, clips)
                return
            except torch.cuda.OutOfMemoryError:
                problem = f"out of memory with {clips} clips of {case.frames} frames"
            except Exception as error:
                problem = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                clips = 1
            finally:
                self._free()
            self.skipped.append({**{k: str(v) for k, v in asdict(case).items()}, "problem": problem})
            if clips == 1:
                print(f"  left out: {case}: {problem}", flush=True)
                return
            clips //= 2

    def _measure(self, case: Case, clips: int) -> None:
        device = Device(self.device, DTYPES[case.precision])
        fit = case.phase == "fit"
        warmups = (3 if case.compiled else 2) if self.device.type == "cuda" else 1
        method = build(case.method, self.backbone, case.frames, self.device)
        self._reset_memory()
        ours = (FitWork if fit else EvalWork)(method, case.frames, clips, case.names, device, case.compiled)
        if not case.naive:
            seconds = measure_in_turn([ours], self.device, self.repeats, self.slot, warmups)[0]
            self._add(case, "ours", clips, seconds, self._memory())
        else:
            naive_method = build(case.method, self.backbone, case.frames, self.device)
            few = max(1, NAIVE_IMAGES // case.frames) if self.device.type == "cuda" else clips
            naive = (NaiveFit if fit else NaiveEval)(
                naive_method, case.frames, few, case.names, Device(self.device, torch.float32)
            )
            ours_times, naive_times = measure_in_turn([ours, naive], self.device, self.repeats, self.slot, warmups)
            self._reset_memory()
            naive()
            naive_memory = self._memory()
            self._reset_memory()
            ours()
            self._add(case, "ours", clips, ours_times, self._memory())
            self._add(case, "naive", few, naive_times, naive_memory)
        if isinstance(ours, FitWork) and (case.frames, case.names) == (16, 200) and case.precision == "bf16":
            self._limit(case, ours)

    def _add(self, case: Case, path: str, clips: int, seconds: list[float], memory: float) -> None:
        precision = case.precision if path == "ours" else "fp32"
        per_clip, per_batch = self._flops(case)
        rates = Spread.of([clips / s for s in seconds])
        worked = rates.median * (per_clip + per_batch / clips) / 1e12
        peak = self.peaks.get(precision)
        row = {
            "method": case.method, "phase": case.phase, "frames": case.frames, "names": case.names,
            "precision": precision, "compiled": case.compiled and path == "ours", "path": path,
            "clips_per_batch": clips, "repeats": len(seconds), "clips_per_second": rates.as_dict(),
            "peak_memory_gib": round(memory, 2), "tflops": round(worked, 3),
            "share_of_peak": round(worked / peak.median, 4) if peak else None,
        }  # fmt: skip
        self.rows.append(row)
        print("  " + "  ".join(str(c) for c in cells(row)), flush=True)

    def _flops(self, case: Case) -> tuple[float, float]:
        key = (case.method, case.phase, case.frames, case.names)
        if key not in self.flops:
            self.flops[key] = model_flops(case.method, self.shapes, case.phase, case.frames, case.names)
        return self.flops[key]

    def _limit(self, case: Case, work: FitWork) -> None:
        """Add the times of the parts of a step; most of the remaining time is the backward pass."""
        whole = seconds_of(work, self.device, 3)
        row: dict[str, Any] = {"method": case.method, "compiled": case.compiled, "step_ms": round(1000 * whole, 2)}
        for name, part in work.parts().items():
            part()
            row[f"{name}_ms"] = round(1000 * seconds_of(part, self.device, 3), 2)
        self.limits.append(row)

    def _reset_memory(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def _memory(self) -> float:
        """Peak GiB since the last reset; 0 on a CPU."""
        return torch.cuda.max_memory_allocated(self.device) / 2**30 if self.device.type == "cuda" else 0.0

    def _free(self) -> None:
        gc.collect()
        torch.compiler.reset()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


HEADER = (
    "method", "phase", "frames", "names", "precision", "compiled", "way", "batch", "clips/s", "min", "max", "GiB",
    "TFLOP/s", "of peak",
)  # fmt: skip


def cells(row: dict[str, Any]) -> list[object]:
    """A row of the table."""
    rate, share = row["clips_per_second"], row["share_of_peak"]
    return [
        row["method"], row["phase"], row["frames"], row["names"], row["precision"], "yes" if row["compiled"] else "no",
        row["path"], row["clips_per_batch"], f"{rate['median']:.4g}", f"{rate['min']:.4g}", f"{rate['max']:.4g}",
        f"{row['peak_memory_gib']:.1f}", f"{row['tflops']:.3g}", "-" if share is None else f"{100 * share:.0f} %",
    ]  # fmt: skip


def speedups(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The ratio of the engine to the naive way for each pair that was measured in turn."""
    ratios = []
    for ours, naive in itertools.pairwise(rows):
        if (ours["path"], naive["path"]) == ("ours", "naive"):
            kept = {k: ours[k] for k in ("method", "phase", "frames", "names", "precision", "compiled")}
            ratio = ours["clips_per_second"]["median"] / naive["clips_per_second"]["median"]
            ratios.append({**kept, "times_naive": round(ratio, 2)})
    return ratios


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--baseline", action="store_true", help="measure the naive way too, in turn with ours")
    parser.add_argument("--quick", action="store_true", help="8 frames, 51 names, two methods, fp32: for a CPU")
    parser.add_argument("--seconds", type=float, help="begin nothing after this time (480; 170 with --quick)")
    parser.add_argument("--method", nargs="+", help="only these methods")
    parser.add_argument("--repeats", type=int, help="timings of each row (3; 2 with --quick)")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    parser.add_argument("--no-decode", action="store_true", help="leave the decoder out")
    parser.add_argument("--out", type=Path, help="JSON file")
    arguments = parser.parse_args()
    deadline = Deadline(arguments.seconds or (170 if arguments.quick else 480))
    device = torch.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    # Decoders are forked, so they come before the device is touched.
    decode: list[dict[str, Any]] = [] if arguments.no_decode else decode_rates(quick=arguments.quick)
    bench = Bench(arguments, device, deadline)
    print("peak: " + ", ".join(f"{k} {v.median:.3g} TFLOP/s" for k, v in bench.peaks.items()), flush=True)
    left_out = 0
    for case in cases(arguments, device):
        if deadline.left < (25 if case.compiled else 8):
            left_out += 1
            continue
        bench.measure(case)
    print("\n" + table([cells(row) for row in bench.rows], HEADER))
    pairs, content = speedups(bench.rows), ("method", "phase", "frames", "names", "precision", "compiled")
    if pairs:
        print("\n" + table([[*(p[k] for k in content), p["times_naive"]] for p in pairs], [*content, "x naive"]))
    if bench.limits:
        print("\n" + table([list(row.values()) for row in bench.limits], list(bench.limits[0])))
    for row in decode:
        print(f"decode: {row}")
    print(f"{left_out} combinations were left out for lack of time, {len(bench.skipped)} did not run as they were.")
    if arguments.out:
        whole = {
            "arch": ARCH, "peak_tflops": {k: v.as_dict() for k, v in bench.peaks.items()}, "rows": bench.rows,
            "speedups": pairs, "limits": bench.limits, "decode": decode, "skipped": bench.skipped,
            "left_out": left_out, "arguments": {k: str(v) for k, v in vars(arguments).items() if k != "out"},
        }  # fmt: skip
        save(arguments.out, "throughput", device, whole)


if __name__ == "__main__":
    main()
