"""`run` checks the contract of a new plugin once, and warns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.cells.backbone import BackboneChoice
from harness.cells.request import MethodChoice
from harness.cells.resolve_method import method_row
from harness.engine.contract import checks
from harness.machine.settings import load_settings
from harness.plugins.loose_files import forget_files, load_file
from harness.plugins.registered import forget
from harness.running import contract
from harness.running.contract import contract_warnings
from tests.conftest import TINY_RUN, in_process

pytestmark = pytest.mark.usefixtures("plugins_forgotten")

METHOD = '''"""A method whose scores depend on the batch."""

from dataclasses import dataclass

from harness.api import ClipMethod, MethodCard, MethodOptions, option, register_method


@dataclass(frozen=True)
class Options(MethodOptions):
    template: str = option("{}", "text around a class name")


@register_method("mixes")
class Mixes(ClipMethod):
    card = MethodCard(title="Mixes", source="a test")
    options_type = Options

    def setup(self):
        self.freeze_clip()

    def pool(self, frames):
        pooled = super().pool(frames)
        return pooled - SHARE * pooled.mean(dim=0)
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_CONFIG", "/dev/null")
    path = tmp_path / "mixes.py"
    path.write_text(METHOD.replace("SHARE", "0.5"))
    return path


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the methods that were checked, in order; the checks themselves run."""
    names: list[str] = []

    def counted(cls, options):
        names.append(cls.name)
        return checks.check_method(cls, options)

    monkeypatch.setattr(contract, "check_method", counted)
    return names


def warnings_of(plugin: Path, cache: Path, options: dict[str, str] | None = None) -> list[str]:
    """The warnings of a run of the plugin, as `execute` writes them."""
    load_file(plugin)
    row = method_row(MethodChoice("mixes", options or {}), BackboneChoice("mini-clip", None))
    return list(contract_warnings([row, row], load_settings({"cache": str(cache)}, {"HARNESS_CONFIG": "/dev/null"})))


@pytest.mark.slow
def test_a_run_warns_of_a_plugin_that_breaks_the_contract(
    plugin: Path, small_dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, checked: list[str]
) -> None:
    places = ("--dataset", small_dataset, "--runs", tmp_path / "runs", "--cache", tmp_path / "cache")
    command = ("run", "--plugin", plugin, "--method", "mixes", "vanilla_clip", *TINY_RUN, *places)
    assert in_process(*command) == 0
    (line,) = [record.getMessage() for record in caplog.records if "contract" in record.getMessage()]
    assert f"The method 'mixes' of {plugin} breaks the contract of methods" in line
    assert "ignores_other_videos: Logits differ by" in line
    assert line.endswith(f"See: python -m harness check method {plugin}")
    assert checked == ["mixes"], "built-in methods are not checked"
    caplog.clear()
    assert in_process(*command) == 0
    assert not caplog.records, "nothing was left to compute"


@pytest.mark.slow
def test_the_outcome_is_kept_for_the_next_run(plugin: Path, tmp_path: Path, checked: list[str]) -> None:
    first = warnings_of(plugin, tmp_path / "cache")
    assert len(first) == 1 and warnings_of(plugin, tmp_path / "cache") == first and checked == ["mixes"]


@pytest.mark.slow
def test_changed_code_and_changed_options_are_checked_again(plugin: Path, tmp_path: Path, checked: list[str]) -> None:
    assert len(warnings_of(plugin, tmp_path / "cache", {"template": "a {}"})) == 1
    assert len(warnings_of(plugin, tmp_path / "cache")) == 1
    plugin.write_text(METHOD.replace("SHARE", "0.0000"))
    forget(plugin)
    forget_files(set())
    assert warnings_of(plugin, tmp_path / "cache") == []
    assert checked == ["mixes"] * 3


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_stops_nothing(plugin: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "contract").write_text("a file in place of the folder")
    assert len(warnings_of(plugin, tmp_path / "cache")) == 1


@pytest.mark.slow
def test_a_damaged_outcome_is_checked_again(plugin: Path, tmp_path: Path, checked: list[str]) -> None:
    first = warnings_of(plugin, tmp_path / "cache")
    (file,) = (tmp_path / "cache" / "contract").iterdir()
    file.write_text('[["torn')
    assert warnings_of(plugin, tmp_path / "cache") == first and checked == ["mixes"] * 2


@pytest.mark.slow
def test_the_check_leaves_the_random_generator_alone(plugin: Path, tmp_path: Path) -> None:
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    assert warnings_of(plugin, tmp_path / "cache")
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.slow
def test_an_exception_of_the_plugin_is_a_warning(plugin: Path, tmp_path: Path) -> None:
    plugin.write_text(METHOD.replace("SHARE", "self.nothing"))
    (line,) = warnings_of(plugin, tmp_path / "cache")
    assert "AttributeError" in line and "of mixes.py" in line
