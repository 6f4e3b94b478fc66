"""The template of a board's repository: its workflow's commands, run as they stand on a repository made from it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, machine_free
from tests.results.submission.corrupted import fresh
from tests.results.submission.forge import Forge
from tests.results.submission.test_changes import commit, git, version

TEMPLATE = ROOT / "docs" / "submission_template"
WORKFLOW = TEMPLATE / ".github" / "workflows" / "submission.yml"


def steps() -> list[dict[str, Any]]:
    return yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["check"]["steps"]


def harness_commands() -> list[str]:
    """The workflow's commands of the harness, in order."""
    return [step["run"] for step in steps() if "python -m harness" in step.get("run", "")]


def run(command: str, repository: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A step's command in a shell, with this checkout as the installed harness."""
    tools = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    options: dict[str, Any] = dict(cwd=repository, text=True, capture_output=True, timeout=120)
    return subprocess.run(["bash", "-ec", command], env=machine_free({**tools, **environment}), **options)


def add(repository: Path, made: Forge, place: str) -> None:
    """What the template's README asks of a submitter."""
    path = made.write(repository.parent / "made.zip")
    folder = repository / "submissions" / place
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    shutil.rmtree(folder / "weights", ignore_errors=True)


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A repository made from the template, with one submission."""
    folder = tmp_path / "board"
    shutil.copytree(TEMPLATE, folder)
    git(folder, "init", "-q", "-b", "main")
    add(folder, fresh("few_shot"), "mymethod/v1")
    commit(folder)
    return folder


def test_the_workflow_accepts_a_new_version_and_builds_the_board(board: Path) -> None:
    base = git(board, "rev-parse", "HEAD")
    add(board, version(2), "mymethod/v2")
    head = commit(board)
    summary = board.parent / "summary.md"
    diff, check, report = harness_commands()
    for command in (diff, check, report):
        done = run(command, board, BASE=base, HEAD=head, GITHUB_STEP_SUMMARY=str(summary))
        assert done.returncode == 0, done.stdout + done.stderr
    assert "mymethod/v2: passed" in summary.read_text().replace("&#95;", "_")
    assert (board / "site" / "index.html").read_text().count('<span class="status verified">verified</span>') == 2


def test_the_workflow_refuses_a_changed_record(board: Path) -> None:
    base = git(board, "rev-parse", "HEAD")
    made = fresh("few_shot")
    made.of("k16").frame["id1"] = made.of("k16").frame["label"]
    made.derive()
    shutil.rmtree(board / "submissions" / "mymethod" / "v1")
    add(board, made, "mymethod/v1")
    done = run(harness_commands()[0], board, BASE=base, HEAD=commit(board), GITHUB_STEP_SUMMARY=os.devnull)
    assert done.returncode == 1 and "D001" in done.stdout and "Raise the version of the method" in done.stdout


def test_an_empty_board_checks(tmp_path: Path) -> None:
    shutil.copytree(TEMPLATE, tmp_path / "board")
    done = run(harness_commands()[1], tmp_path / "board")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_runs_nothing_of_the_pull_request() -> None:
    text = WORKFLOW.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in text and "secrets." not in text
    commands = [step["run"] for step in steps() if "run" in step]
    assert not [c for c in commands if "${{" in c], "an expression in a command is run as it expands"
    assert all(re.match(r"python -m (harness|pip install -r requirements\.txt)", c) for c in commands)
    checkout = next(step for step in steps() if "checkout" in step.get("uses", ""))
    assert checkout["with"]["persist-credentials"] is False
