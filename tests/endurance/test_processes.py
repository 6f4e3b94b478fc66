"""Several processes on one run folder: each cell once, no torn file, and the dead hold nobody up."""

from __future__ import annotations

import json
import random
import re
import signal
import time
from pathlib import Path

import pytest

from results.score import score
from tests.endurance.conftest import left_over, outcome_of, run_arguments
from tests.endurance.preloaded import Done, Server

PLANS = (("vificlip",), ("vificlip", "vanilla_clip"), ("text_ft", "vificlip"), ("vanilla_clip", "text_ft"))
"""The methods of four overlapping plans: 2 fits and 9 evals in all, 5 fits and 21 evals asked for."""


def start(server: Server, dataset: Path, folder: Path) -> list:
    return [server.start(*run_arguments(dataset, folder, plan[0], "--method", *plan)) for plan in PLANS]


def counts(done: Done) -> tuple[int, int, int]:
    match = re.search(r"(\d+) fits and (\d+) evals done, (\d+) cells reused", done.err)
    assert match, done.err
    fits, evals, reused = map(int, match.groups())
    return fits, evals, reused


def whole(folder: Path) -> None:
    """Every record is complete and agrees with its predictions; every other file parses."""
    scored = score(folder)
    assert len(scored.records) == 9 and scored.passed, scored.findings
    for path in folder.rglob("fit.json"):
        json.loads(path.read_text())
    assert not left_over(folder)


def test_four_overlapping_plans_compute_each_cell_once(
    server: Server, tiny_dataset: Path, finished: Path, tmp_path: Path
) -> None:
    ends = [run.wait() for run in start(server, tiny_dataset, tmp_path)]
    assert [done.code for done in ends] == [0] * 4, [done.err for done in ends]
    found = [counts(done) for done in ends]
    assert sum(fits for fits, _, _ in found) == 2
    assert sum(evals for _, evals, _ in found) == 9
    asked = [len(plan) * 3 + len(set(plan) - {"vanilla_clip"}) for plan in PLANS]
    assert [sum(one) for one in found] == asked
    whole(tmp_path)
    mine = outcome_of(tmp_path)
    assert all(mine[name] == value for name, value in outcome_of(finished).items())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_three_go_on_when_one_is_killed(
    server: Server, tiny_dataset: Path, finished: Path, tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    runs = start(server, tiny_dataset, tmp_path)
    victim = draw.randrange(4)
    time.sleep(draw.uniform(0.5, 4))
    runs[victim].kill(signal.SIGKILL)
    ends = [run.wait() for run in runs]
    assert all(done.code == 0 for i, done in enumerate(ends) if i != victim), [done.err for done in ends]
    again = [run.wait() for run in start(server, tiny_dataset, tmp_path)]
    assert [done.code for done in again] == [0] * 4
    whole(tmp_path)
    mine = outcome_of(tmp_path)
    assert all(mine[name] == value for name, value in outcome_of(finished).items())
