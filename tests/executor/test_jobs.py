"""Jobs from plans, and the ledger that remembers them."""

from __future__ import annotations

import pickle
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.cells.cell import EvalCell, FitCell
from harness.cells.from_request import expand
from harness.cells.plan import Plan, make_plan
from harness.cells.request import Request, parse_methods
from harness.executor.command import job_command
from harness.executor.grouping import group, waves
from harness.executor.job import JobCommand
from harness.executor.ledger import (
    LEDGER,
    Job,
    JobState,
    JobStatus,
    exit_text,
    latest_by_cell,
    open_ledger,
    read_ledger,
    read_status,
    tail,
    write_states,
)
from harness.executor.options import executor_options
from harness.machine.settings import load_settings


def plan_of(tmp_path: Path, *methods: str, protocols: tuple[str, ...] = ("b2n",)) -> Plan:
    settings = load_settings({"runs": str(tmp_path / "runs")}, {"HARNESS_CONFIG": "/dev/null"})
    return make_plan(expand(Request(parse_methods(list(methods)), protocols), settings))


def job(uid: str, *cells: str, **more: str) -> Job:
    return Job(uid, uid, "slurm", cells, ("run",), "/", "logs", **more)  # type: ignore[arg-type]


def test_a_fit_takes_its_evals_along_and_an_untrained_method_is_one_job(tmp_path: Path) -> None:
    works = group(plan_of(tmp_path, "vificlip", "vanilla_clip"), {})
    kinds = [[type(cell) for cell in work.cells] for work in works]
    assert kinds == [[FitCell, EvalCell, EvalCell, EvalCell]] * 3 + [[EvalCell] * 3]
    assert len({key for work in works for key in work.keys}) == 3 * 4 + 3
    assert [len(wave) for wave in waves(works, {})] == [4]  # nothing waits for anything: one array


def test_what_starts_from_another_fit_waits_for_that_alone(tmp_path: Path) -> None:
    works = group(plan_of(tmp_path, "bridge_prompt"), {})
    parent = next(work for work in works if not work.after)
    assert len(parent.cells) == 1 and parent.title.startswith("fit vificlip mini_source")
    assert {work.after for work in works if work is not parent} == {parent.keys}
    assert [len(wave) for wave in waves(works, {})] == [1, 3]


def test_cells_of_a_job_under_way_are_left_out_and_waited_for(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "bridge_prompt")
    parent = next(work for work in group(plan, {}) if not work.after)
    active = {parent.keys[0]: job("a", *parent.keys)}
    works = group(plan, active)
    assert all(work.after == parent.keys for work in works) and len(works) == 3
    assert [len(wave) for wave in waves(works, active)] == [3]


def test_the_ledger_keeps_what_several_writers_put_in(tmp_path: Path) -> None:
    def write(number: int) -> None:
        with open_ledger(tmp_path) as jobs:
            jobs[f"j{number}"] = job(f"j{number}", f"cell{number}", "shared")

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    [writer.start() for writer in writers], [writer.join() for writer in writers]
    found = read_ledger(tmp_path)
    assert {one.uid for one in found} == {f"j{n}" for n in range(8)}
    assert latest_by_cell(found)["shared"] == found[-1]


def test_states_of_jobs_that_are_over_are_kept(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as jobs:
        jobs["a"], jobs["b"] = job("a", "x"), job("b", "y")
    write_states(tmp_path, {"a": JobState("failed", "TIMEOUT"), "b": JobState("running")})
    a, b = read_ledger(tmp_path)
    assert (a.state, a.reason, a.active) == ("failed", "TIMEOUT", False)
    assert b == replace(job("b", "y")) and b.active


@pytest.mark.parametrize("content", ["", "{}", '{"schema": 99, "jobs": []}', '{"schema": 1, "jobs": [{"uid": 1}]}'])
def test_a_ledger_that_cannot_be_read_is_one_error_with_a_way_out(tmp_path: Path, content: str) -> None:
    (tmp_path / LEDGER).write_text(content)
    with pytest.raises(UserError, match="ledger of jobs") as raised:
        read_ledger(tmp_path)
    assert "nothing that was computed is lost" in raised.value.hint


def test_a_job_runs_its_request_file_and_travels_without_its_process(tmp_path: Path) -> None:
    file = job("a", "x").request_file(tmp_path)
    words = job_command(file, 1)
    assert file.name == "a.request.json" and words[1:6] == ["-m", "harness", "run", "--request", str(file)]
    assert "--nproc_per_node=2" in job_command(file, 2) and "torch.distributed.run" in job_command(file, 2)
    command = JobCommand(["true"], "/", str(tmp_path / "status.json"), environment={"A": None}, log_links=["b"])
    again = pickle.loads(pickle.dumps(command))
    assert again.__reduce__() == command.__reduce__()


def test_the_status_of_a_job(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    assert read_status(file) == JobStatus()
    for content in ("", "[]", '{"schema": 9, "state": "ended"}', '{"state": 3}'):
        file.write_text(content)
        assert read_status(file) == JobStatus()
    file.write_text('{"schema": 1, "state": "ended", "turn": 2, "returncode": -9, "host": "a", "time": "b"}')
    assert (read_status(file).state, read_status(file).turn, read_status(file).returncode) == ("ended", 2, -9)


def test_the_tail_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\n".join(b"line %d" % n for n in range(5000)) + b"\n\xff end\n")
    assert tail(log, 2) == ["line 4999", "\ufffd end"]
    assert tail(tmp_path / "none") == [] and tail(None) == []


def test_endings_in_words() -> None:
    assert exit_text(1) == "exit code 1" and exit_text(None) == "exit code None"
    assert exit_text(-9).startswith("killed by SIGKILL") and "memory" in exit_text(-9)
    assert exit_text(-15) == "killed by SIGTERM" and exit_text(-99) == "killed by signal 99"


def test_options_say_where_they_come_from(tmp_path: Path) -> None:
    config = tmp_path / "harness.toml"
    config.write_text('[executor]\nkind = "slurm"\npartition = "gpu"\n')
    environment = {"HARNESS_CONFIG": str(config), "HARNESS_EXECUTOR_TIME": "60"}
    options = executor_options(load_settings({"executor.partition": "big"}, environment).executor)
    assert options.kind == "slurm" and options.partition == "big" and options.time == 60
    assert "big (flag)" in str(options) and "HARNESS_EXECUTOR_TIME" in str(options)


@pytest.mark.parametrize("flags", [{"executor.kind": "pbs"}, {"executor.time": "soon"}, {"executor.gpus": "-1"}])
def test_options_that_cannot_be_are_refused(flags: dict[str, str]) -> None:
    with pytest.raises(UserError):
        executor_options(load_settings(flags, {"HARNESS_CONFIG": "/dev/null"}).executor)
