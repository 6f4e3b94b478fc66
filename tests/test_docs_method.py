"""Every command of docs/write_a_method.md runs in a fresh environment, and so does an installed example package."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from harness import cli
from tests.conftest import ROOT, machine_free
from tests.examples.conftest import copied, pip_install

PAGE = ROOT / "docs" / "write_a_method.md"


def commands() -> list[str]:
    """The command lines of the page, in order."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.S | re.M)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def test_the_page_uses_every_verb_that_an_author_needs() -> None:
    verbs = {shlex.split(line)[3] for line in commands() if "-m harness" in line}
    assert {"new", "check", "show", "run", "plan", "list", "compare", "submit", "report"} == verbs


@pytest.mark.parametrize("line", [line for line in commands() if "-m harness" in line])
def test_every_command_of_the_page_is_a_command_of_the_harness(line: str) -> None:
    program, *arguments = shlex.split(line)
    assert (program, arguments[:2]) == ("python", ["-m", "harness"])
    cli.build_parser().parse_args(arguments[2:])


class Fresh:
    """A new virtual environment that sees the packages of the current environment, with a working folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        environment = folder / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
        self.python = environment / "bin" / "python"
        site = next(environment.glob("lib/python*/site-packages"))
        (site / "outer.pth").write_text(f"{ROOT}\n{sysconfig.get_path('purelib')}\n")
        path = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
        offline = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        self.environment = {**machine_free(offline), "PATH": path, "PYTHONPATH": ""}

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a command line in the working folder; it must succeed."""
        options: dict[str, object] = dict(cwd=self.folder, env=self.environment, text=True, capture_output=True)
        done = subprocess.run(["bash", "-c", line], check=False, timeout=900, **options)  # type: ignore[call-overload]
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        return done  # type: ignore[no-any-return]


@pytest.fixture
def fresh(tmp_path: Path) -> Fresh:
    return Fresh(tmp_path)


@pytest.mark.slow
def test_the_whole_page_in_a_fresh_environment(fresh: Fresh) -> None:
    outputs = {line: fresh.run(line).stdout for line in commands()}
    assert "harness-my-pooling 0.1.0" in outputs["python -m harness list methods"]
    board = json.loads((fresh.folder / "runs/board/leaderboard.json").read_text())
    assert "my_pooling" in json.dumps(board) and (fresh.folder / "my_pooling.zip").is_file()
    assert "My pooling" in (fresh.folder / "runs/board/index.html").read_text()


@pytest.mark.slow
def test_an_installed_package_from_list_to_board(fresh: Fresh, tmp_path: Path) -> None:
    pip_install(copied(tmp_path / "sources", ("attention_pooling",)), python=str(fresh.python))
    listed = json.loads(fresh.run("python -m harness list methods --json").stdout)
    row = next(row for row in listed if row["name"] == "attention_pooling")
    assert row["origin"] == "harness-attention-pooling 0.1.0"
    fresh.run("python -m harness run --method attention_pooling --protocol b2n --recipe epochs=1 --quiet")
    fresh.run("python -m harness submit pack attention_pooling --out it.zip")
    fresh.run("python -m harness submit check it.zip")
    records = list((fresh.folder / "runs").rglob("*.record.json"))
    assert len(records) == 9
    record = json.loads(records[0].read_text())
    name, origin = record["measurement"]["method"]["name"], record["method"]["origin"]
    assert (name, origin) == ("attention_pooling", "harness-attention-pooling 0.1.0")
    assert "CLIP + attention pooling" in (fresh.folder / "runs/board/index.html").read_text()
