"""A fit and its evals on one and on several processes of a machine: seconds, and differences of losses and scores.

    python benchmarks/processes.py --out benchmarks/results/processes-cpu.json
    python benchmarks/processes.py --processes 1 8 --arch ViT-B-16 --weights random --device cuda

Every process has one thread and decodes its own clips (`--workers 0`), so that a process uses one core. The numbers of
processes are measured in turn, each run in its own folder; the runs share only the rendered videos.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pandas as pd
import torch

from benchmarks.timing import Spread, save, table

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--method", default="vificlip")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--more", nargs=argparse.REMAINDER, default=[], help="further arguments of `run`")
    parser.add_argument("--arch")
    parser.add_argument("--weights")
    parser.add_argument("--out", type=Path, help="JSON file")
    arguments = parser.parse_args()
    seconds: dict[int, dict[str, list[float]]] = {n: {"fit": [], "evals": []} for n in arguments.processes}
    outcomes: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for repeat in range(arguments.repeats):
            for count in arguments.processes:
                runs = Path(scratch) / f"{count}-{repeat}"
                subprocess.run(command(count, runs, Path(scratch) / "cache", arguments), check=True, env=environment())
                outcomes[count] = measured = outcome(runs)
                seconds[count]["fit"].append(measured["fit"])
                seconds[count]["evals"].append(measured["evals"])
    spreads = {n: {what: Spread.of(values) for what, values in of.items()} for n, of in seconds.items()}
    first = arguments.processes[0]
    times = {
        n: {what: round(spreads[first][what].median / spread.median, 2) for what, spread in of.items()}
        for n, of in spreads.items()
    }
    far = {n: differences(outcomes[n], outcomes[first]) for n in arguments.processes[1:]}
    rows = [
        [n, what, *(f"{v:.4g}" for v in (s.median, s.low, s.high)), f"{times[n][what]:.2f}"]
        for n, of in spreads.items()
        for what, s in of.items()
    ]
    print(table(rows, ["processes", "what", "seconds", "min", "max", "times"]))
    for n, (loss, score) in far.items():
        print(f"{n} processes: losses differ by {loss:.2g} at most, probabilities by {score:.2g}")
    if arguments.out:
        content = {
            "method": arguments.method, "arch": arguments.arch or "mini-clip", "epochs": arguments.epochs,
            "repeats": arguments.repeats, "cores": os.cpu_count(), "threads_a_process": 1,
            "seconds": {str(n): {what: s.as_dict() for what, s in of.items()} for n, of in spreads.items()},
            "times": {str(n): of for n, of in times.items()},
            "largest_difference": {
                str(n): {"loss": float(f"{a:.2g}"), "probability": float(f"{b:.2g}")} for n, (a, b) in far.items()
            },
        }  # fmt: skip
        save(arguments.out, "processes", torch.device(arguments.device), content)


def environment() -> dict[str, str]:
    """The environment of a run: one thread per process, and no configuration of this machine."""
    own = {"OMP_NUM_THREADS": "1", "HARNESS_CONFIG": os.devnull, "PYTHONPATH": str(ROOT)}
    return {**{k: v for k, v in os.environ.items() if not k.startswith("HARNESS_")}, **own}


def command(count: int, runs: Path, cache: Path, arguments: argparse.Namespace) -> list[str]:
    """The command line of a run on a number of processes."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}"] if count > 1 else []
    backbone = [f"--{n}={getattr(arguments, n)}" for n in ("arch", "weights") if getattr(arguments, n)]
    return [
        sys.executable, *launcher, "-m", "harness", "run", "--method", arguments.method, "--protocol", "b2n",
        "--repeat", "1", "--recipe", f"epochs={arguments.epochs}", "--runs", str(runs), "--cache", str(cache),
        "--device", arguments.device, "--workers", "0", "--no-feature-cache", "--no-report", "--quiet",
        *backbone, *arguments.more,
    ]  # fmt: skip


def outcome(runs: Path) -> dict[str, Any]:
    """Seconds of fit and evals, losses and probabilities of a run folder."""
    fitted = json.loads(next(runs.rglob("fit.json")).read_text())
    records = [json.loads(path.read_text()) for path in runs.rglob("*.record.json")]
    losses = [json.loads(line)["loss"] for line in next(runs.rglob("curve.jsonl")).read_text().splitlines()]
    tables = {p.name: gzip.decompress(p.read_bytes()) for p in sorted(runs.rglob("*.predictions.csv.gz"))}
    scores = {name: pd.read_csv(io.BytesIO(data)).filter(regex=r"^p\d") for name, data in tables.items()}
    return {
        "fit": fitted["outcome"]["seconds"], "evals": sum(r["cost"]["eval_seconds"] for r in records),
        "losses": losses, "scores": scores,
    }  # fmt: skip


def differences(one: dict[str, Any], other: dict[str, Any]) -> tuple[float, float]:
    """The largest differences of losses and of probabilities."""
    score = max(float(np.abs(one["scores"][name] - frame).max().max()) for name, frame in other["scores"].items())
    return float(np.abs(np.subtract(one["losses"], other["losses"])).max()), score


if __name__ == "__main__":
    main()
