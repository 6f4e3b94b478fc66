"""The guarded decode pool of the harness against a prototype on `pebble.ProcessPool`.

    python benchmarks/decode_pool.py --out benchmarks/results/decode-pool-cpu.json

Needs pebble (`pip install pebble==5.2.3`), which is not a dependency of the harness. Measures clips per second on the
embedded benchmark's clips with one and two workers, the seconds of passes with a hanging clip or a dying worker, passes
whose workers are killed at random moments, and the memory of a pass. Both pools take turns, so that a busy machine
slows both. `--guarantees` also runs the tests of the guarded loader with each pool.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.metadata
import math
import multiprocessing
import os
import random
import resource
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pytest
import torch
from torch.utils.data import Dataset

from benchmarks.pebble_loader import PebbleGuard, PebbleLoader
from benchmarks.timing import Spread, save, table
from harness.data.embedded.dataset import EmbeddedDataset
from harness.engine.video.batches import Draw
from harness.engine.video.guarded_loader import GuardedLoader
from harness.engine.video.loaders import Row, eval_loader, in_batches
from harness.machine.compute_options import ComputeOptions
from harness.spec import Views

LIMIT_SECONDS = 1.0
TEST_SECONDS = 40
POOLS = ("ours", "pebble")


def with_pool(loader: GuardedLoader, pool: str) -> GuardedLoader:
    """The loader with the workers of a pool."""
    if pool == "pebble":
        guard = loader.guard
        loader.guard = PebbleGuard(guard.workers, guard.seconds, guard.substitute, guard.keep)  # type: ignore[assignment]
    return loader


class Numbers(Dataset[Any]):
    """Gives the row number; one row does what a damaged file does to a decoder."""

    def __init__(self, row: int, behaviour: Callable[[], Any]) -> None:
        self.row, self.behaviour = row, behaviour

    def __getitem__(self, draw: Draw) -> Any:  # type: ignore[override]
        return self.behaviour() if draw.index == self.row else draw.index


def sleeps() -> None:
    """Hang where a signal interrupts it."""
    time.sleep(600)


def hangs_in_c() -> None:
    """Hang in C code, where Python does not handle signals; one call takes far longer than the limit."""
    hashlib.pbkdf2_hmac("sha256", b"x", b"x", 2**31 - 1)


def crashes() -> None:
    """Die of a signal."""
    os.kill(os.getpid(), signal.SIGKILL)


class DiesWhileSent:
    """A clip whose worker is killed while the clip is pickled, as by the kernel when memory is short."""

    def __reduce__(self) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


FAULTS: dict[str, Callable[[], Any]] = {
    "hang, interruptible": sleeps,
    "hang in C code": hangs_in_c,
    "crash": crashes,
    "killed while the clip is sent": DiesWhileSent,
}


def seconds_in_child(work: Callable[[], Any], most: float) -> float:
    """Seconds of a piece of work in a child process; infinity if it did not end in `most` seconds, NaN if it raised.

    A child, because a pool that hangs cannot be closed.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        try:
            started = time.monotonic()
            work()
            os.write(writer, f"{time.monotonic() - started}".encode())
        except Exception as error:
            print(f"a pass raised {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(0)
    os.close(writer)
    with contextlib.closing(multiprocessing.connection.Connection(reader, writable=False)) as connection:
        seconds = float(os.read(connection.fileno(), 100) or "nan") if connection.poll(most) else float("inf")
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return seconds


def with_fault(pool: str, behaviour: Callable[[], Any]) -> None:
    """A pass of 16 trivial clips, one of them faulty."""
    batches = [[Draw(4 * i + k) for k in range(4)] for i in range(4)]
    loader = GuardedLoader(Numbers(4, behaviour), batches, lambda draws, clips: clips, 2, LIMIT_SECONDS)
    rows = [clip for clips in with_pool(loader, pool) for clip in clips]
    assert [i for i, clip in enumerate(rows) if clip != i] == [4], rows


def with_kills(pool: str, rows: list[Row], seed: int) -> None:
    """A pass over real clips in which a random worker is killed every 0.2 to 0.4 s, as when memory is short."""
    draw, ended = random.Random(seed), threading.Event()

    def kill() -> None:
        while not ended.wait(draw.uniform(0.2, 0.4)):
            if workers := children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(draw.choice(workers), signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    one_pass(rows, 2, pool, all_decode=False)
    ended.set()
    thread.join()


def children() -> list[int]:
    """Process ids of the children of this process."""
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # the thread has ended
            found += map(int, (task / "children").read_text().split())
    return found


def memory_mib() -> float:
    """Proportional set size of this process and its workers: shared pages count once."""
    own = os.getpid()
    total = 0
    for pid in (own, *children()):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 2**10


@dataclass(frozen=True)
class Pass:
    """A pass over the clips.

    Args:
        rate: Clips per second from the start of the workers to the last batch.
        closing: Seconds from the last batch to the end of the workers.
        processor: Processor seconds for each clip, of this process and its workers.
        peak: Largest memory of all processes in MiB, 0 unless it was watched.
    """

    rate: float
    closing: float
    processor: float
    peak: float


def one_pass(rows: list[Row], workers: int, pool: str, watched: bool = False, all_decode: bool = True) -> Pass:
    """Decode 16 frames of each row at 224 pixels, in batches of 8 clips."""
    compute = ComputeOptions(device="cpu", workers=workers, quiet=True)
    loader = eval_loader(rows, Views(frames=16), 224, in_batches(len(rows), 8), compute, 0)
    before, started = processor_seconds(), time.perf_counter()
    last, done, peak = started, 0, 0.0
    for batch in with_pool(loader, pool):
        done, last = done + len(batch.rows) + len(batch.failed), time.perf_counter()
        assert not (all_decode and batch.failed), batch.failed
        if watched:
            peak = max(peak, memory_mib())
    assert done == len(rows)
    closing = time.perf_counter() - last
    return Pass(done / (last - started), closing, (processor_seconds() - before) / done, peak)


def processor_seconds() -> float:
    """Processor time of this process and of its ended children."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


class _Guarantees:
    """A pytest plugin that puts the prototype into the tests and counts their outcomes."""

    def __init__(self, pool: str) -> None:
        self.pool, self.passed, self.failed = pool, 0, set[str]()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if self.pool == "pebble":
            for item in session.items:
                item.module.GuardedLoader = PebbleLoader  # type: ignore[attr-defined]
            from harness.engine.video import loaders

            loaders.GuardedLoader = PebbleLoader  # type: ignore[misc]

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        def late(number: int, frame: Any) -> None:
            raise TimeoutError(f"{item.name} did not end in {TEST_SECONDS} s")

        # Repeatedly, because closing a pool that is blocked may block again.
        signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, TEST_SECONDS, 5)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(f"{report.nodeid.split('::')[-1]}, {report.when}")
        elif report.when == "call":
            self.passed += 1


def guarantees(pool: str) -> dict[str, Any]:
    """Outcomes of the loader's tests with a pool, in a child process."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)

    def work() -> None:
        PebbleGuard.passes = 0
        plugin = _Guarantees(pool)
        files = ["tests/engine/test_loader.py", "tests/engine/test_loader_processes.py", "tests/endurance/test_hang.py"]
        pytest.main(["-q", "-p", "no:cacheprovider", "--no-header", "--tb=line", *files], plugins=[plugin])
        passes = PebbleGuard.passes
        theirs.send({"passed": plugin.passed, "failed": sorted(plugin.failed), "passes_of_the_prototype": passes})

    child = context.Process(target=work)
    child.start()
    theirs.close()
    try:
        return ours.recv()  # type: ignore[no-any-return]
    except EOFError:
        return {"passed": 0, "failed": ["the test process ended"]}
    finally:
        child.join()


Measured = dict[str, dict[str, dict[str, list[float]]]]
"""Values by quantity, pool and case."""


def measure(rows: list[Row], repeats: int) -> Measured:
    """Clips per second, seconds of passes with faults, and memory, with both pools in turn."""
    found: Measured = {
        what: {pool: {} for pool in POOLS}
        for what in (
            "clips_per_second",
            "seconds_to_close",
            "processor_seconds_a_clip",
            "peak_memory_mib",
            "seconds_with_fault",
            "seconds_with_kills",
        )
    }

    def note(what: str, pool: str, case: str, value: float) -> None:
        found[what][pool].setdefault(case, []).append(value)

    for repeat in range(repeats + 1):
        for workers in (1, 2):
            # The order alternates, so that neither pool always runs after the other.
            for pool in POOLS if repeat % 2 else POOLS[::-1]:
                timed = one_pass(rows, workers, pool)
                if repeat:  # the first pass warms the file cache
                    note("clips_per_second", pool, f"{workers} workers", timed.rate)
                    note("seconds_to_close", pool, f"{workers} workers", timed.closing)
                    note("processor_seconds_a_clip", pool, f"{workers} workers", timed.processor)
        print(f"repeat {repeat} of {repeats}", file=sys.stderr, flush=True)
    for _ in range(min(repeats, 3)):
        for pool in POOLS:
            note("peak_memory_mib", pool, "2 workers", one_pass(rows[:96], 2, pool, watched=True).peak)
    for name, behaviour in FAULTS.items():
        for _ in range(repeats):
            for pool in POOLS:
                if float("inf") not in found["seconds_with_fault"][pool].get(name, ()):
                    note("seconds_with_fault", pool, name, seconds_in_child(partial(with_fault, pool, behaviour), 20))
    for seed in range(repeats):
        for pool in POOLS:
            note(
                "seconds_with_kills",
                pool,
                "2 workers",
                seconds_in_child(partial(with_kills, pool, rows[:120], seed), 40),
            )
    return found


def summary(values: list[float]) -> Any:
    """Median and range of the passes that ended well, and the numbers of those that hung or raised, if any."""
    ended = [value for value in values if math.isfinite(value)]
    found: dict[str, Any] = Spread.of(ended).as_dict() if ended else {}
    if len(ended) < len(values):
        found |= {"ended": len(ended), "hung": values.count(float("inf")), "raised": sum(map(math.isnan, values))}
    return found


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=240, help="clips of mini_target in a pass")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--guarantees", action="store_true", help="run the loader's tests with each pool")
    parser.add_argument("--out", type=Path, help="JSON file")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as cache:
        dataset = EmbeddedDataset("mini_target", Path(cache))
        dataset.prepare()
        listed = dataset.list("val1").rows[: arguments.clips]
        rows: list[Row] = [(dataset.locate(path), label) for path, label in listed]
        measured = measure(rows, arguments.repeats)
    content: dict[str, Any] = {
        what: {pool: {name: summary(values) for name, values in found.items()} for pool, found in pools.items()}
        for what, pools in measured.items()
    }
    content["pebble_over_ours"] = {
        name: round(
            statistics.median(
                [b / a for a, b in zip(values, measured["clips_per_second"]["pebble"][name], strict=True)]
            ),
            3,
        )
        for name, values in measured["clips_per_second"]["ours"].items()
    }
    if arguments.guarantees:
        content["guarantees"] = {pool: guarantees(pool) for pool in POOLS}
    packages = ("pebble", "decord", "numpy", "opencv-python", "mmaction2")
    content["versions"] = {name: _version(name) for name in packages}
    content |= {"clips": len(rows), "frames": 16, "pixels": 224, "repeats": arguments.repeats}
    content |= {"cores": os.cpu_count(), "load_at_start": round(load, 2), "time_limit_seconds": LIMIT_SECONDS}
    lines = [
        (f"{what}, {name}", *(str(content[what][pool][name]) for pool in POOLS))
        for what in measured
        for name in content[what]["ours"]
    ]
    print(table(lines, ("", *POOLS)))
    print("pebble over ours, median of pairs:", content["pebble_over_ours"])
    if arguments.out:
        save(arguments.out, "decode_pool", torch.device("cpu"), content)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
