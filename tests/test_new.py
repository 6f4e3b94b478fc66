"""`new method` and `new protocol`: what they write works, passes its own test, and overwrites nothing."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import in_process
from tests.examples.conftest import pip_install

pytestmark = pytest.mark.usefixtures("plugins_forgotten")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CONFIG", "/dev/null")


@pytest.mark.parametrize(("kind", "cls"), [("method", "MyFirstPooling"), ("protocol", "MyFirstPooling")])
def test_the_package(
    kind: str, cls: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It passes its own tests, and the listing finds it once pip has installed it."""
    name = "my_first_pooling"
    assert in_process("new", kind, name) == 0
    folder = tmp_path / name
    written = {Path(line).name for line in capsys.readouterr().out.splitlines()}
    assert written == {"pyproject.toml", f"{name}.py", f"test_{name}.py", "README.md"}
    assert written == {p.name for p in folder.iterdir()}
    for file in folder.glob("*.py"):
        assert max(map(len, file.read_text().splitlines())) <= 120 and ast.get_docstring(ast.parse(file.read_text()))
    entries = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"]
    assert entries == {f"harness.{kind}s": {name: f"{name}:{cls}"}}
    # In this process, which has imported torch; `plugins_forgotten` forgets the modules of the folder.
    monkeypatch.chdir(folder)
    code = pytest.main(["-q", "-p", "no:cacheprovider", str(folder), f"--rootdir={folder}"])
    out = capsys.readouterr().out
    assert code == 0 and re.search(r"^\d+ passed in ", out, flags=re.M), out


def test_a_method_keeps_the_contract_and_its_options_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert in_process("new", "method", "fresh_idea") == 0
    assert in_process("check", "method", "fresh_idea/fresh_idea.py") == 0
    capsys.readouterr()
    arguments = ("show", "fresh_idea", "--plugin", "fresh_idea/fresh_idea.py", "--arch", "mini-clip")
    assert in_process(*arguments) == 0
    text = capsys.readouterr().out
    assert "width = 16: hidden units of the adapter" in text and str(tmp_path / "fresh_idea/fresh_idea.py") in text


def test_a_protocol_plans_fits_and_evals(small_dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert in_process("new", "protocol", "four_shot") == 0
    capsys.readouterr()
    what = ("--method", "vificlip", "--protocol", "four_shot", "--plugin", "four_shot/four_shot.py", "--json")
    short = ("--recipe", "ranks=1", "--recipe", "accumulate=1")
    assert in_process("plan", *what, *short, "--dataset", small_dataset, "--arch", "mini-clip") == 0
    assert [row["kind"] for row in json.loads(capsys.readouterr().out)] == ["fit", "eval"]


def test_what_exists_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    assert in_process("new", "method", "mine") == 2
    assert "mine exists already; nothing was written" in capsys.readouterr().err
    assert list((tmp_path / "mine").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("My-Method", "is not a valid name for a method"),
        *((name, "is not a valid name") for name in ("2fast", "a b", "", "class", "../up", "double__bar")),
        ("vificlip", "exists already (built-in)"), ("json", "is the name of a Python module"),
    ],
)  # fmt: skip
def test_names_that_cannot_be(name: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert in_process("new", "method", name) == 2
    error = capsys.readouterr().err
    assert says in error and len(error.splitlines()) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["method", "protocol"])
def test_pip_installs_it(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    assert in_process("new", kind, "fresh_idea") == 0
    pip_install([tmp_path / "fresh_idea"], "--target", tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    capsys.readouterr()
    assert in_process("list", f"{kind}s") == 0
    assert "harness-fresh-idea 0.1.0" in capsys.readouterr().out
