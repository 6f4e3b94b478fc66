"""An error inside a plugin ends in one line below the traceback: cell, file, line, cause."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import TINY_RUN, in_process

pytestmark = pytest.mark.usefixtures("plugins_forgotten")

METHOD = '''"""A method that fails in one way."""

import torch

import helper_of_breaks
from harness.api import ClipMethod, MethodCard, Recipe, UserError, register_method


@register_method("breaks")
class Breaks(ClipMethod):
    card = MethodCard(title="Breaks", source="a test")
    recipe = Recipe(epochs=1, lr=1e-3)

    def setup(self):
        self.freeze_clip()
        self.scale = torch.nn.Parameter(torch.ones(()))

BODY
'''
HELPER = "def divide(a, b):\n    return a / b\n"


@dataclass(frozen=True)
class Failure:
    """A failure of a method.

    Args:
        body: Method of the class that fails.
        cell: Start of the name of the cell that fails.
        line: The line of the plugin that the last line must name.
        cause: The cause that the last line must name.
        file: The file that the last line must name.
    """

    body: str
    cell: str
    line: str
    cause: str
    file: str = "breaks.py"


FAILURES = {
    "in the loss": Failure(
        "    def loss(self, video, targets, label_set):\n        return targets.nothing\n",
        "fit breaks", "targets.nothing", "AttributeError: 'Tensor' object has no attribute 'nothing'",
    ),
    "in pool, within torch": Failure(
        "    def pool(self, frames):\n"
        "        return torch.nn.functional.linear(frames, torch.zeros(3, 7)) * self.scale\n",
        "fit breaks", "functional.linear", "mat1 and mat2 shapes cannot be multiplied",
    ),
    "in a helper file": Failure(
        "    def score(self, video, text):\n"
        "        return super().score(video, text) * helper_of_breaks.divide(1, 0)\n",
        "fit breaks", "a / b", "ZeroDivisionError: division by zero", "helper_of_breaks.py",
    ),
    "a missing file": Failure(
        "    def pool(self, frames):\n        return torch.load('nothing_of_this_name.pt')\n",
        "fit breaks", "torch.load", "FileNotFoundError: [Errno 2] No such file or directory: 'nothing_of_this_name.pt'",
    ),
    "in an eval": Failure(
        "    def pool(self, frames):\n        assert self.training, 'only in training'\n"
        "        return super().pool(frames) * self.scale\n",
        "eval breaks", "assert self.training", "AssertionError: only in training",
    ),
}  # fmt: skip


@pytest.fixture
def command(small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    monkeypatch.setenv("HARNESS_CONFIG", "/dev/null")
    (tmp_path / "helper_of_breaks.py").write_text(HELPER)
    places = ("--dataset", small_dataset, "--runs", tmp_path / "runs", "--cache", tmp_path / "cache")
    return ["run", "--plugin", tmp_path / "breaks.py", "--method", "breaks", *TINY_RUN, *places]


def write(tmp_path: Path, body: str) -> None:
    (tmp_path / "breaks.py").write_text(METHOD.replace("BODY", body))


def number_of(file: Path, line: str) -> int:
    return next(number for number, text in enumerate(file.read_text().splitlines(), 1) if line in text)


@pytest.mark.slow
@pytest.mark.parametrize("way", FAILURES)
def test_an_error_of_a_plugin_ends_in_cell_file_line_and_cause(way: str, command: list[object], tmp_path: Path) -> None:
    failure = FAILURES[way]
    write(tmp_path, failure.body)
    with pytest.raises(Exception) as caught:
        in_process(*command)
    last = "".join(traceback.format_exception(caught.value)).splitlines()[-1]
    file = tmp_path / failure.file
    assert last.startswith(failure.cell), last
    assert f": {file}, line {number_of(file, failure.line)}, in " in last and failure.cause in last


@pytest.mark.slow
def test_keep_going_names_file_and_line_in_the_summary(
    command: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, FAILURES["a missing file"].body)
    assert in_process(*command, "--keep-going") == 1
    failed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed: fit breaks")]
    file = tmp_path / "breaks.py"
    assert len(failed) == 1 and f"{file}, line {number_of(file, 'torch.load')}, in pool: FileNotFoundError" in failed[0]


@pytest.mark.slow
def test_an_error_for_the_user_names_the_cell_and_the_line_without_a_traceback(
    command: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "    def pool(self, frames):\n        raise UserError('No pool.', 'Add water.', 1)\n")
    assert in_process(*command) == 1
    lines = capsys.readouterr().err.splitlines()
    file = tmp_path / "breaks.py"
    line = number_of(file, "No pool")
    start = next(text for text in lines if text.startswith("error: "))
    assert start.startswith("error: fit breaks") and start.endswith(f"{file}, line {line}, in pool: No pool.")
    assert "  Add water." in lines and not any("Traceback" in text for text in lines)


@pytest.mark.slow
def test_an_error_in_setup_names_the_cell(
    command: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "    def setup(self):\n        self.width = self.nothing\n")
    assert in_process(*command) == 1
    file = tmp_path / "breaks.py"
    start = next(text for text in capsys.readouterr().err.splitlines() if text.startswith("error: "))
    assert start.startswith("error: fit breaks") and "has no attribute 'nothing'" in start
    assert f"{file}, line {number_of(file, 'self.nothing')}, in setup: " in start


@pytest.mark.slow
def test_a_loss_that_is_nan_from_the_start_is_not_blamed_on_the_rate(
    command: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = "    def feature_loss(self, video, text, targets):\n        return (0 * self.scale) / 0\n"
    write(tmp_path, body)
    assert in_process(*command) == 1
    error = capsys.readouterr().err
    assert "the training loss became nan in the first iteration" in error and "check method breaks" in error
    assert "Lower the rate" not in error
