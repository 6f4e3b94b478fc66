"""Wall and CPU time of README's main job, by part.

`python -m benchmarks.main_job [--repeats N] [--out FILE] [OPTION OF RUN ...]`

Each repeat runs the main job in a new process, with an empty cache and an empty run folder, then the same command
again, then the command with a misspelt option. CPU time of the main process includes its threads; that of rendering
and of the decode workers is stated for itself. Parts are nested: `forward`, `backward and update` and `waiting for
clips` are parts of `fits`.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

COMMAND = ("run", "--method", "vificlip", "--protocol", "b2n")
PARTS = {
    "rendering": ("harness.data.embedded.render", "prepare_mini"),
    "fits": ("harness.running.compute_cells", "run_fit_cell"),
    "evals": ("harness.running.compute_cells", "run_eval_cell"),
    "forward": ("harness.engine.training.mm_runner", "FitModel.forward"),
    "backward and update": ("harness.engine.training.mm_runner", "PrecisionOptimWrapper.update_params"),
    "report": ("reports.site", "build_report"),
}
"""Functions whose time is measured, by the name of the part."""


class Times:
    """Seconds of wall and CPU time by part, of this process."""

    def __init__(self) -> None:
        self.parts: dict[str, list[float]] = {}

    def measured(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same work and adds its time to a part."""

        @functools.wraps(work)
        def timed(*args: Any, **keywords: Any) -> Any:
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                return work(*args, **keywords)
            finally:
                total = self.parts.setdefault(part, [0.0, 0.0])
                total[0] += time.perf_counter() - wall
                total[1] += time.process_time() - cpu

        return timed


def run_measured(out: Path, arguments: list[str]) -> int:
    """Run the command line in this process and write the times of its parts.

    Args:
        out: JSON file that is written: {part: [wall seconds, CPU seconds]}.
        arguments: Arguments of `python -m harness`.
    """
    started = time.perf_counter()
    from harness import cli

    importlib.import_module("harness.running.compute_cells")
    times = Times()
    times.parts["imports"] = [time.perf_counter() - started, time.process_time()]
    for part, (module, name) in PARTS.items():
        holder: Any = importlib.import_module(module)
        *path, last = name.split(".")
        for step in path:
            holder = getattr(holder, step)
        setattr(holder, last, times.measured(part, getattr(holder, last)))
    _measure_waiting(times)
    code = cli.main(arguments)
    from harness.engine.video.worker_server import worker_server

    times.parts["process"] = [time.perf_counter() - started, time.process_time()]
    worker_server().close()  # its CPU time counts when it has ended
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    times.parts["decode workers"] = [0.0, children.ru_utime + children.ru_stime]
    out.write_text(json.dumps(times.parts), encoding="utf-8")
    return code


def _measure_waiting(times: Times) -> None:
    from harness.engine.video import guarded_loader

    def run(self: Any, batches: Any) -> Any:
        clips = original(self, batches)
        take = times.measured("waiting for clips", lambda: next(clips, None))
        while (batch := take()) is not None:
            yield batch

    original = guarded_loader._Guard.run
    guarded_loader._Guard.run = run  # type: ignore[method-assign]


def main_job(folder: Path, options: list[str]) -> dict[str, float]:
    """Measure one repeat in an empty folder, with further options of `run`; returns seconds by part."""
    environment = {**os.environ, "HARNESS_CONFIG": os.devnull, "HARNESS_CACHE": str(folder / "cache")}
    # As the command line sets them before torch is imported, which the measured process imports earlier.
    environment = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-m", "harness", *COMMAND, *options, "--quiet"]
    out = folder / "times.json"
    measured = [sys.executable, "-m", "benchmarks.main_job", "--child", str(out), "--runs", str(folder / "runs")]
    measured += options

    def seconds(arguments: list[str], expected: int = 0) -> float:
        started = time.perf_counter()
        ended = subprocess.run(arguments, env=environment, capture_output=True, text=True)
        if ended.returncode != expected:
            wrong = f"{' '.join(arguments)} ended with {ended.returncode}, expected {expected}:"
            raise SystemExit(f"{wrong}\n{ended.stderr}")
        return time.perf_counter() - started

    result = {"whole command": seconds(measured)}
    result["again"] = seconds([*command, "--runs", str(folder / "runs")])
    result["misspelt option"] = seconds([*command, "--protocl", "b2n"], expected=2)
    for part, (wall, cpu) in json.loads(out.read_text(encoding="utf-8")).items():
        result |= {f"{part}, wall": wall, f"{part}, CPU": cpu}
    return result


def main() -> None:
    """Measure and print the parts, and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--runs", help=argparse.SUPPRESS)
    arguments, options = parser.parse_known_args()
    if arguments.child:
        sys.exit(run_measured(arguments.child, [*COMMAND, *options, "--quiet", "--runs", arguments.runs]))
    results = []
    for _ in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as folder:
            results.append(main_job(Path(folder), options))
    import torch

    from benchmarks.timing import Spread, save, table

    spreads = {part: Spread.of([result[part] for result in results if part in result]) for part in results[0]}
    rows = [(part, *(f"{v:.1f}" for v in (s.median, s.low, s.high))) for part, s in spreads.items()]
    print(table(rows, ("seconds", "median", "min", "max")))
    if arguments.out:
        content = {"repeats": len(results), "seconds": {part: s.as_dict() for part, s in spreads.items()}}
        save(arguments.out, "main_job", torch.device("cpu"), content)


if __name__ == "__main__":
    main()
