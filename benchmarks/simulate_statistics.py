"""Coverage of the intervals, size of the tests and power, by simulation: the tables of docs/statistics.md.

    python benchmarks/simulate_statistics.py                            # synthetic lists
    python benchmarks/simulate_statistics.py --annotations FOLDER       # official lists
    python benchmarks/simulate_statistics.py --lists 200 --only coverage

FOLDER holds `ucf101/` and `hmdb51/` with the official annotation files. The seeds are fixed. The Monte-Carlo error of
a coverage of 95 % is 1.0 point at 2,000 lists.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

# `python benchmarks/FILE` puts the folder of the file on the path, but not the repository.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.simulated_lists import (
    AGREEMENT,
    SimulatedList,
    independent_list,
    nested_list,
    official_list,
    ucf_like_list,
)
from benchmarks.simulated_tests import Coverage, Rejected, Size, coverage, inside, rejections
from results.statistics.power import PowerCase, expected_design_effect, smallest_difference

COVERAGE_SEED, HARMONIC_SEED, SIZE_SEED, POWER_SEED, INSIDE_SEED = 21, 61, 2, 91, 31
OFFICIAL = ("ucf101", "hmdb51")


def coverage_cases(lists: Iterable[SimulatedList]) -> Iterator[tuple[Coverage, int]]:
    """Scenarios of the table of coverages, each with its seed."""
    videos = independent_list()
    for mean in (0.2, 0.7, 0.97):
        yield Coverage(videos, mean), COVERAGE_SEED
    yield Coverage(videos, 0.99), COVERAGE_SEED
    yield Coverage(videos, 0.7, 0.2), COVERAGE_SEED
    for fit_sd in (0.0, 0.015, 0.04):
        yield Coverage(videos, 0.7, 0.15, fits=3, fit_sd=fit_sd), COVERAGE_SEED
    yield Coverage(nested_list("20 clusters of 5", 4, 5, 5), 0.7, icc=0.5), COVERAGE_SEED
    for listed in lists:
        mean, sd = (0.6, 0.2) if listed.name == "HMDB" else (0.8, 0.15)
        for icc in (0.0, 0.2, 0.5):
            yield Coverage(listed, mean, sd, icc), COVERAGE_SEED
        yield Coverage(listed, mean, sd, 0.2, 3), COVERAGE_SEED
        yield Coverage(listed, mean, sd, 0.2, 3, 0.01), COVERAGE_SEED
        yield Coverage(listed, 0.97, 0.03, 0.5), COVERAGE_SEED
    halves = independent_list(1500, 50)
    yield Coverage(halves, 0.75, 0.15, novel_mean=0.55), HARMONIC_SEED
    yield Coverage(halves, 0.75, 0.15, fits=3, novel_mean=0.55), HARMONIC_SEED
    for listed in lists:
        mean, novel, sd = (0.7, 0.5, 0.2) if listed.name == "HMDB" else (0.93, 0.75, 0.1)
        yield Coverage(listed, mean, sd, 0.2, novel_mean=novel), HARMONIC_SEED
        yield Coverage(listed, mean, sd, 0.2, 3, 0.01, novel), HARMONIC_SEED


def size_cases(lists: Iterable[SimulatedList]) -> Iterator[Size]:
    """Scenarios of the table of sizes."""
    videos = independent_list()
    yield Size(videos, 0.15)
    for fits in (2, 3, 5):
        for fit_sd in (0.0, 0.01, 0.02, 0.05):
            yield Size(videos, 0.15, fits=fits, fit_sd=fit_sd)
    for clusters, classes in ((12, 4), (6, 2)):
        for icc in (0.0, 0.5):
            listed = nested_list(f"{clusters} clusters of 10", classes, clusters // classes, 10)
            yield Size(listed, 0.3, icc)
    for listed in lists:
        psi = 0.15 if listed.name == "HMDB" else 0.12
        for icc in (0.0, 0.2, 0.5):
            yield Size(listed, psi, icc)
        yield Size(listed, psi, 0.2, 0.06)
        for fit_sd in (0.0, 0.005, 0.01, 0.02):
            yield Size(listed, psi, 0.2, 0.0, 3, fit_sd)


def power_cases(lists: Iterable[SimulatedList]) -> Iterator[tuple[Size, PowerCase, bool]]:
    """Scenarios with the smallest difference that should be found in 80 %, and whether the question is "again"."""
    for listed in (independent_list(), *lists):
        psi, icc = (0.12, 0.2) if listed.name.endswith("UCF") else (0.15, 0.2 if listed.design.repeated else 0.0)
        effect = expected_design_effect(listed.sizes, icc)
        for fits, fit_sd in ((1, None), (3, None), (3, 0.01)):
            case = PowerCase(listed.videos, psi, effect, fits, AGREEMENT, fit_sd)
            gap = smallest_difference(case, exact=fits == 1 and not listed.design.repeated)
            if gap is not None:
                yield Size(listed, psi, icc, fits=fits, fit_sd=fit_sd or 0.0, gap=gap), case, fit_sd is not None


def tables(lists: Sequence[SimulatedList], count: int, only: str | None) -> Iterator[str]:
    """The lines of the tables, as Markdown."""
    if only in (None, "coverage"):
        yield "| scenario | simple | other videos | trained again |"
        yield "| --- | --: | --: | --: |"
        for case, seed in coverage_cases(lists):
            # Lists of 100 or 750 videos are cheap, so they are simulated more often.
            found = coverage(case, count * 2 if case.listed.videos <= 750 else count, seed)
            v, t, length = found.simple
            again = f"{100 * found.again[0]:.1f} ({found.again[1]:.2f}) " if found.again else ""
            both = f"{100 * v:.1f}; {100 * t:.1f}" if case.fit_sd else f"{100 * v:.1f}"
            other = f"{100 * found.other[0]:.1f} ({found.other[1]:.2f})"
            yield f"| {case.name} | {both} ({length:.2f}) | {other} | {again}|"
    if only in (None, "size"):
        yield "| scenario | videos flipped | clusters flipped | trained again | coverage of the difference |"
        yield "| --- | --: | --: | --: | --: |"
        for size in size_cases(lists):
            yield f"| {size.name} {_rates(rejections(size, count, SIZE_SEED))}"
    if only in (None, "power"):
        yield "| scenario | videos flipped | clusters flipped | trained again | coverage of the difference |"
        yield "| --- | --: | --: | --: | --: |"
        for size, _, _ in power_cases(lists):
            yield f"| {size.name} {_rates(rejections(size, count, POWER_SEED))}"
    if only in (None, "inside"):
        yield "| SD between fits | true reproduction inside | truth 3 points off inside | half-width |"
        yield "| --: | --: | --: | --: |"
        for sd in (0.3, 1.0, 2.0):
            (same, half), (off, _) = (inside(sd, gap, 10 * count, INSIDE_SEED) for gap in (0.0, 3.0))
            yield f"| {sd:g} | {100 * same:.1f} | {100 * off:.1f} | {half:.1f} |"


def _rates(found: Rejected) -> str:
    again = "" if found.again is None else f"{100 * found.again:.1f} "
    return f"| {100 * found.videos:.1f} | {100 * found.clusters:.1f} | {again}| {100 * found.covered:.1f} |"


def widths(lists: Sequence[SimulatedList]) -> Iterator[str]:
    """How much longer intervals become if clips of one source count together."""
    yield "| list | videos | clusters | sum m^2 / N | " + " | ".join(f"ICC {icc}" for icc in (0.1, 0.2, 0.5)) + " |"
    yield "| --- " * 7 + "|"
    for listed in lists:
        sizes = listed.sizes
        effects = [expected_design_effect(sizes, icc) for icc in (0.1, 0.2, 0.5)]
        cells = " | ".join(f"{effect:.2f}, x {effect**0.5:.2f}" for effect in effects)
        yield f"| {listed.name} | {listed.videos:,} | {len(sizes)} | {(sizes**2).sum() / listed.videos:.2f} | {cells} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--annotations", type=Path, help="folder with ucf101/ and hmdb51/ (official annotations)")
    parser.add_argument("--lists", type=int, default=2000, help="simulated lists for each line (default: 2000)")
    parser.add_argument("--only", choices=("coverage", "size", "power", "inside"), help="one table")
    options = parser.parse_args()
    lists = [official_list(name, options.annotations / name) for name in OFFICIAL] if options.annotations else []
    lists = lists or [ucf_like_list()]
    start = time.process_time()
    for line in chain(widths(lists), [""], tables(lists, options.lists, options.only)):
        print(line, flush=True)
    print(f"\n{options.lists} lists a line, {time.process_time() - start:.0f} s of processor time")


if __name__ == "__main__":
    main()
