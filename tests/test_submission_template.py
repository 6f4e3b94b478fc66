"""The template of a board's repository: its workflow's commands, run as they stand on a repository made from it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, in_process, machine_free
from tests.results.submission.corrupted import fresh
from tests.results.submission.forge import Forge
from tests.results.submission.test_changes import commit, git, version

TEMPLATE = ROOT / "docs" / "submission_template"
WORKFLOW = TEMPLATE / ".github" / "workflows" / "submission.yml"


def steps() -> list[dict[str, Any]]:
    return yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["check"]["steps"]


def harness_commands() -> list[str]:
    """The workflow's commands of the harness, in order."""
    return [step["run"] for step in steps() if "python -P -m harness" in step.get("run", "")]


def step_named(start: str) -> str:
    """The command of the step whose name begins with a text."""
    return next(step["run"] for step in steps() if step.get("name", "").startswith(start))


def run(command: str, repository: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A step's command in a shell, with this checkout as the installed harness."""
    tools = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    options: dict[str, Any] = dict(cwd=repository, text=True, capture_output=True, timeout=120)
    return subprocess.run(["bash", "-ec", command], env=machine_free({**tools, **environment}), **options)


def run_here(command: str, repository: Path, monkeypatch: pytest.MonkeyPatch, **environment: str) -> int:
    """A step's command in this process, which saves the start of Python; its words are split as a shell does."""
    monkeypatch.chdir(repository)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    words = shlex.split(os.path.expandvars(command))
    assert words[:4] == ["python", "-P", "-m", "harness"]
    return in_process(*words[4:])


def run_as_the_shell_expands(
    command: str, repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **facts: str
) -> None:
    """A step's command in a shell, whose `python` is this process: it gets the words as the shell expands them."""
    words = repository.parent / "words"
    words.unlink(missing_ok=True)
    noted = f"python() {{ printf '%s\\0' \"$@\" >> {shlex.quote(str(words))}; }}\n"
    done = run(noted + command, repository, **facts)
    assert done.returncode == 0, done.stdout + done.stderr
    arguments = words.read_text().split("\0")
    assert arguments[:3] == ["-P", "-m", "harness"] and arguments.pop() == "" and "-P" not in arguments[3:]
    monkeypatch.chdir(repository)
    assert in_process(*arguments[3:]) == 0, capsys.readouterr()


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


def test_the_workflow_accepts_a_new_version_and_builds_the_board(
    board: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = git(board, "rev-parse", "HEAD")
    add(board, version(2), "mymethod/v2")
    head = commit(board)
    summary = board.parent / "summary.md"
    diff, check, report = harness_commands()
    facts = {"BASE": base, "HEAD": head, "ACCOUNT": "someone", "GITHUB_STEP_SUMMARY": str(summary)}
    for name, value in facts.items():
        monkeypatch.setenv(name, value)
    for command in (diff, check, report):
        run_as_the_shell_expands(command, board, monkeypatch, capsys, **facts)
    assert "mymethod/v2: passed" in summary.read_text().replace("&#95;", "_")
    assert (board / "site" / "index.html").read_text().count('<span class="status verified">verified</span>') == 2


def test_the_workflow_refuses_a_changed_record(
    board: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = git(board, "rev-parse", "HEAD")
    made = fresh("few_shot")
    made.of("k16").frame["id1"] = made.of("k16").frame["label"]
    made.derive()
    shutil.rmtree(board / "submissions" / "mymethod" / "v1")
    add(board, made, "mymethod/v1")
    facts = {"BASE": base, "HEAD": commit(board), "ACCOUNT": "", "GITHUB_STEP_SUMMARY": os.devnull}
    assert run_here(harness_commands()[0], board, monkeypatch, **facts) == 1
    out = capsys.readouterr().out
    assert "D001" in out and "Raise the version of the method" in out


@pytest.mark.slow
def test_an_empty_board_checks_and_shows_published_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(TEMPLATE, tmp_path / "board")
    assert run_here(harness_commands()[1], tmp_path / "board", monkeypatch) == 0
    make, report = harness_commands()[2].splitlines()
    assert make == "mkdir -p board"
    (tmp_path / "board" / "board").mkdir(exist_ok=True)
    assert run_here(report, tmp_path / "board", monkeypatch) == 0
    assert "submit the first" in (tmp_path / "board" / "site" / "index.html").read_text("utf-8")


def test_the_board_of_the_main_branch_is_published_by_a_job_that_runs_no_code_of_the_repository() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    publish = workflow["jobs"]["publish"]
    assert "push" in publish["if"] and "refs/heads/main" in publish["if"] and publish["needs"] == "check"
    assert publish["permissions"] == {"pages": "write", "id-token": "write"}
    assert not any("run" in step for step in publish["steps"])
    used = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action) for action in used), "an action without a commit"
    assert {action.split("@")[0] for action in used} >= {"actions/upload-pages-artifact", "actions/deploy-pages"}


def test_the_workflow_runs_nothing_of_the_pull_request() -> None:
    text = WORKFLOW.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in text and "secrets." not in text
    commands = [step["run"] for step in steps() if "run" in step]
    assert not [c for c in commands if "${{" in c], "an expression in a command is run as it expands"
    assert all("-P" in c.split() for c in commands if "python" in c.split())
    assert workflow["jobs"]["check"]["env"]["PYTHONSAFEPATH"] == "1"
    assert "--require-hashes" in step_named("Install") and "--no-deps" in step_named("Install")
    actions = [step["uses"] for step in steps() if "uses" in step]
    assert actions and all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action) for action in actions)
    checkout = next(step for step in steps() if "checkout" in step.get("uses", ""))
    assert checkout["with"]["persist-credentials"] is False


WHEEL = "clip-video-harness @ https://example.org/clip_video_harness-1.0-py3-none-any.whl --hash=sha256:" + "0" * 64


@pytest.mark.slow
def test_the_requirements_are_those_of_the_base_and_name_a_wheel(board: Path, tmp_path: Path) -> None:
    """No wheel is published yet, so the workflow of the template as it stands ends with an error."""
    take, refuse = step_named("Take the requirements"), step_named("Refuse to run")
    base = git(board, "rev-parse", "HEAD")
    (board / "requirements.txt").write_text(f"evil @ https://example.org/evil.whl\n{WHEEL}\n")
    commit(board)
    facts = {"TRUSTED": base, "RUNNER_TEMP": str(tmp_path)}
    assert run(take, board, **facts).returncode == 0
    taken = (tmp_path / "requirements.txt").read_text()
    assert taken == (TEMPLATE / "requirements.txt").read_text()
    done = run(refuse, board, **facts)
    assert done.returncode == 1 and "names no wheel of clip-video-harness" in done.stdout
    (tmp_path / "requirements.txt").write_text(f"{taken}{WHEEL}\n")
    assert run(refuse, board, **facts).returncode == 0
    bad = ("clip-video-harness==0.1.0", WHEEL.partition(" --hash")[0], f"# {WHEEL}", WHEEL.replace("https", "http"))
    for line in bad:
        (tmp_path / "requirements.txt").write_text(f"{taken}{line}\n")
        assert run(refuse, board, **facts).returncode == 1, line


def test_every_requirement_of_the_template_has_a_version_and_a_hash() -> None:
    lines = [line for line in (TEMPLATE / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
    assert len(lines) > 20
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][^ ]* --hash=sha256:[0-9a-f]{64}", line) for line in lines)
    constraints = (ROOT / "harness" / "constraints.txt").read_text()
    tested = dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", constraints, flags=re.M))
    versions = {name.lower().replace("-", "_"): version for name, version in tested.items()}
    for line in lines:
        name, version = line.partition(" ")[0].lower().replace("-", "_").split("==")
        assert versions.get(name, version) == version, "the versions that were tested together"


def test_everything_outside_submissions_has_an_owner() -> None:
    lines = (TEMPLATE / ".github" / "CODEOWNERS").read_text().splitlines()
    rules = [line.split() for line in lines if line and line[0] != "#"]
    assert rules[0][0] == "*" and len(rules[0]) > 1
    assert [rule[0] for rule in rules if len(rule) == 1] == ["/submissions/"]


HOSTILE = ("harness/__main__.py", "argparse.py", "pip/__main__.py", "json.py", "sitecustomize.py", "usercustomize.py")


@pytest.mark.slow
def test_the_steps_run_no_file_of_a_hostile_branch(board: Path, tmp_path: Path) -> None:
    base = git(board, "rev-parse", "HEAD")
    mark = tmp_path / "executed"
    for name in HOSTILE:
        (board / name).parent.mkdir(exist_ok=True)
        (board / name).write_text(f"open({str(mark)!r}, 'a').write({name!r})\n")
    (board / "submissions" / ".gitattributes").write_text("* export-ignore\n")
    head = commit(board)
    diff, check, _ = harness_commands()
    facts = {"BASE": base, "HEAD": head, "ACCOUNT": "", "PYTHONSAFEPATH": "1"}
    facts["GITHUB_STEP_SUMMARY"] = str(tmp_path / "summary.md")
    done = run(diff, board, **facts)
    assert done.returncode == 1 and "D004" in done.stdout and "D003" in done.stdout, done.stderr
    assert all(name in done.stdout for name in HOSTILE)
    run(check, board, **facts)
    assert run("python -P -m pip --version", board, **facts).returncode == 0
    assert not mark.exists()
