"""A loose plugin imports the modules beside it, wherever the command is started, and hides nothing from others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.plugins import registry
from harness.plugins.loose_files import load_file
from tests.conftest import ROOT, machine_free

pytestmark = pytest.mark.usefixtures("plugins_forgotten")

PLUGIN = '''"""A protocol of a plugin file with modules beside it."""

import importlib

import layers_{tag}
from harness.api import Column, Protocol, register_protocol
from results.statistics.metrics import harmonic_mean


@register_protocol("mine_{tag}")
class Mine(Protocol):
    title = layers_{tag}.TITLE
    columns = (Column("top1", "all"),)

    def fits(self, dataset):
        import later_{tag}

        return [later_{tag}.WORD, importlib.import_module("computed_{tag}").WORD, harmonic_mean]

    def evals(self, dataset, fit):
        return []
'''


def plugin(folder: Path, tag: str) -> Path:
    """A plugin that imports modules beside it at the top, in a function, through another one and by a computed name."""
    folder.mkdir(parents=True)
    (folder / f"layers_{tag}.py").write_text(f"from blocks_{tag} import TITLE\n")
    (folder / f"blocks_{tag}").mkdir()
    (folder / f"blocks_{tag}" / "__init__.py").write_text("from .inner import TITLE\n")
    (folder / f"blocks_{tag}" / "inner.py").write_text(f"TITLE = 'of {tag}'\n")
    (folder / f"later_{tag}.py").write_text("WORD = 'later'\n")
    (folder / f"computed_{tag}.py").write_text("WORD = 'computed'\n")
    (folder / "results").mkdir()
    (folder / "reports.py").write_text("1 / 0\n")
    (folder / "mine.py").write_text(PLUGIN.replace("{tag}", tag))
    return folder / "mine.py"


@pytest.mark.slow
@pytest.mark.parametrize("start", ["its folder", "elsewhere"])
@pytest.mark.parametrize("safe", ["", "1"])
def test_from_the_command_line(tmp_path: Path, start: str, safe: str) -> None:
    path = plugin(tmp_path / "plugins", "line")
    where = path.parent if start == "its folder" else tmp_path
    command = [sys.executable, "-m", "harness", "show", "mine_line", "--plugin", str(path.relative_to(where))]
    environment = {**machine_free({"PYTHONPATH": str(ROOT)}), "PYTHONSAFEPATH": safe}
    done = subprocess.run(command, cwd=where, env=environment, text=True, capture_output=True)
    assert done.returncode == 0 and done.stdout.startswith("of line (mine_line,"), done.stderr


def test_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = plugin(tmp_path / "plugins", "python")
    monkeypatch.chdir(tmp_path)
    assert load_file(path) == ["mine_python"]
    found = registry.load("protocol", "mine_python")().fits(None)
    assert found[:2] == ["later", "computed"] and found[2].__module__ == "results.statistics.metrics"


def load_with(folder: Path, module: str, imports: str) -> object:
    """The module of a name that a plugin gets beside a file of that name of its own."""
    folder.mkdir()
    (folder / f"{module}.py").write_text("BESIDE = True\n")
    (folder / "mine.py").write_text(imports + PLUGIN.replace("{tag}", "x").replace("import layers_x", "")
                                    .replace("layers_x.TITLE", "'a title'"))  # fmt: skip
    load_file(folder / "mine.py")
    return __import__(module)


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that forgets an imported module for the length of a test."""

    def forget(name: str) -> None:
        monkeypatch.delitem(sys.modules, name, raising=False)

    return forget


def test_its_own_module_comes_before_an_installed_one(tmp_path: Path, unloaded: Callable[[str], None]) -> None:
    unloaded("colorsys")
    assert hasattr(load_with(tmp_path / "a", "colorsys", "import colorsys\n"), "BESIDE")


def test_a_file_that_it_does_not_import_hides_nothing(tmp_path: Path, unloaded: Callable[[str], None]) -> None:
    unloaded("colorsys")
    assert not hasattr(load_with(tmp_path / "a", "colorsys", ""), "BESIDE")


def test_two_plugins_with_different_modules_of_one_name(tmp_path: Path) -> None:
    first, second = plugin(tmp_path / "one", "two"), plugin(tmp_path / "other", "two")
    second.write_text(second.read_text().replace('"mine_two"', '"mine_too"'))
    assert load_file(first) == ["mine_two"]
    with pytest.raises(UserError) as caught:
        load_file(second)
    assert f"The plugin file {second} does not load: It imports 'blocks_two' from" in caught.value.message
    assert str(first.parent) in caught.value.message and "Rename 'blocks_two'" in caught.value.hint
    with pytest.raises(UserError, match="no protocol named 'mine_too'"):
        registry.load("protocol", "mine_too")


def test_two_plugins_of_one_folder_share_its_modules(tmp_path: Path) -> None:
    first = plugin(tmp_path / "one", "share")
    second = first.with_name("second.py")
    second.write_text(first.read_text().replace('"mine_share"', '"second_share"'))
    assert load_file(first) == ["mine_share"] and load_file(second) == ["second_share"]


def test_a_file_that_is_not_python_is_named_as_before(tmp_path: Path) -> None:
    path = plugin(tmp_path / "one", "broken")
    (path.parent / "layers_broken.py").write_text("def broken(:\n")
    with pytest.raises(UserError, match="does not load: SyntaxError"):
        load_file(path)
