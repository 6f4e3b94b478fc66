"""Issue 6, shown by 3: plugins broken in many ways leave everything else working and give one helpful line each."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.engine.contract.tiny_clip import tiny_backbone
from harness.engine.method import build_method, method_class
from harness.plugins import registry
from harness.plugins.loose_files import load_file
from tests.conftest import in_process

pytestmark = pytest.mark.usefixtures("plugins_forgotten")

SOUND = '''"""A method that works."""

from dataclasses import dataclass

from harness.api import ClipMethod, MethodCard, MethodOptions, option, register_method


@register_method("NAME")
class Sound(ClipMethod):
    card = MethodCard(title="Sound", source="a test")

    def setup(self):
        self.freeze_clip()
'''
PROTOCOL = '''"""A protocol."""

from harness.api import Column, Eval, Fit, ListRef, Protocol, register_protocol


@register_protocol("NAME")
class Sound(Protocol):
    title = "Sound"
    columns = (Column("top1", "all"),)

    def fits(self, dataset):
        yield Fit(ListRef(dataset.name, "train", "all"))

    def evals(self, dataset, fit):
        yield Eval("all", ListRef(dataset.name, "val", "all"))
'''
BARE_OPTIONS = """
class Options(MethodOptions):
    width: int = option(3, "how wide")


Sound.options_type = Options
"""


@dataclass(frozen=True)
class Broken:
    """A package that is broken in one way.

    Args:
        code: Of its module; NAME stands for the plugin's name.
        says: What the one line must say besides the names of plugin and distribution.
        at_sight: Whether listing already says so, as a warning.
        kind: Kind of plugin.
        name: Of the plugin, if the name is the fault.
        entry: What its entry point points to.
    """

    code: str
    says: str
    at_sight: bool = False
    kind: str = "method"
    name: str = "faulty"
    entry: str = "faulty_module:Sound"


KINDS = {
    "syntax error": Broken("def broken(:\n", "SyntaxError: invalid syntax", at_sight=True),
    "import error": Broken(
        "import nothing_of_this_name\n" + SOUND, "No module named 'nothing_of_this_name' (<module>, line 1"
    ),
    "exception at import": Broken(SOUND + "\nraise RuntimeError('first\\nsecond')\n", "RuntimeError: first second"),
    "exits at import": Broken(SOUND + "\nimport sys\nsys.exit(3)\n", "SystemExit: 3"),
    "module missing": Broken(SOUND, "there is no module 'elsewhere'", at_sight=True, entry="elsewhere"),
    "attribute missing": Broken(SOUND, "has no attribute 'Other'", entry="faulty_module:Other"),
    "registers nothing": Broken("Sound = 1\n", "did not register a"),
    "registers another name": Broken(SOUND.replace("NAME", "other"), "did not register a"),
    "no valid name": Broken(SOUND, "'fau lty' is not a valid name", at_sight=True, name="fau lty"),
    "wrong base class": Broken(
        SOUND.replace("Sound(ClipMethod)", "Sound"), "expected a subclass of harness.api.ClipMethod"
    ),
    "missing card": Broken(SOUND.replace("    card =", "    _ ="), "has no card"),
    "card of text": Broken(SOUND.replace("MethodCard(title=", "str("). replace(', source="a test"', ""), "has no card"),
    "options without dataclass": Broken(SOUND + BARE_OPTIONS, "options that are not fields: width"),
    "recipe of another type": Broken(SOUND.replace("    card", "    recipe = 11\n    card"), "has the recipe 11"),
    "exception in setup": Broken(
        SOUND.replace("self.freeze_clip()", "self.missing.to(3)"), "(setup, line 13 of faulty_module.py)"
    ),
    "protocol without evals": Broken(
        PROTOCOL.replace("def evals", "def evaluations"), "does not define evals", kind="protocol"
    ),
    "protocol without columns": Broken(
        PROTOCOL.replace("    columns", "    _"), "no title or no columns", kind="protocol"
    ),
    "protocol of no base": Broken(
        PROTOCOL.replace("(Protocol)", ""), "expected a subclass of harness.api.Protocol", kind="protocol"
    ),
}  # fmt: skip


def install(folder: Path, distribution: str, kind: str, name: str, entry: str, code: str) -> None:
    """What pip leaves of a package with one module: the module, and metadata with its entry point."""
    folder.mkdir(exist_ok=True)
    (folder / f"{distribution.replace('-', '_')}_module.py").write_text(code.replace("NAME", name))
    info = folder / f"{distribution.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[harness.{kind}s]\n{name} = {entry}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages with one sound method in it."""
    folder = tmp_path / "site"
    install(folder, "sound", "method", "sound", "sound_module:Sound", SOUND)
    monkeypatch.syspath_prepend(str(folder))
    for module in ("sound_module", "faulty_module"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setenv("HARNESS_CONFIG", "/dev/null")
    return folder


def use(kind: str, name: str) -> None:
    """Load a plugin as a run does, and set it up."""
    if kind == "protocol":
        registry.load(kind, name)
    else:
        build_method(name, tiny_backbone())


@pytest.mark.parametrize("way", KINDS)
def test_a_broken_package(
    way: str, site: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    broken = KINDS[way]
    install(site, "faulty", broken.kind, broken.name, broken.entry, broken.code)
    for what, built_in in (("methods", "vificlip"), ("protocols", "b2n")):
        assert in_process("list", what) == 0
        assert built_in in capsys.readouterr().out
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == broken.at_sight
    assert all("faulty 1.2" in line and broken.name in line and broken.says in line for line in warnings)
    with pytest.raises(UserError) as caught:
        use(broken.kind, broken.name)
    line = caught.value.message
    assert "\n" not in line and broken.says in line and f"{broken.name!r}" in line
    assert "faulty 1.2" in line or "faulty_module.py" in line
    assert len(caught.value.hint) > 10
    for kind, name in (("method", "sound"), ("method", "vificlip"), ("protocol", "b2n")):
        use(kind, name)
    assert len(caplog.records) == broken.at_sight  # said once


def test_two_packages_with_one_name(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    install(site, "faulty", "method", "sound", "faulty_module:Sound", SOUND)
    with pytest.raises(UserError, match="both offer the name 'sound'; uninstall one") as caught:
        use("method", "sound")
    assert "faulty 1.2" in caught.value.message and "sound 1.2" in caught.value.message
    assert len(caplog.records) == 1
    use("method", "vificlip")


def test_a_package_with_the_name_of_a_built_in(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    install(site, "faulty", "method", "vificlip", "faulty_module:Sound", SOUND)
    assert registry.sources("method")["vificlip"].origin == "built-in"
    assert method_class("vificlip").__module__ == "methods.vificlip"
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1 and "faulty 1.2" in lines[0] and "built-in method" in lines[0]


def test_a_package_that_prints(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stdout is for data, whatever a plugin writes while it is imported."""
    install(site, "faulty", "method", "faulty", "faulty_module:Sound", "print('hello from me')\n" + SOUND)
    use("method", "faulty")
    captured = capsys.readouterr()
    assert captured.out == "" and "hello from me" in captured.err


def test_what_a_broken_package_imported_on_its_way_stays(site: Path) -> None:
    """A plugin that fails after it imported another does not take that one with it."""
    install(site, "faulty", "method", "faulty", "faulty_module", "import sound_module\n1 / 0\n")
    with pytest.raises(UserError, match=r"ZeroDivisionError: division by zero \(<module>, line 2"):
        use("method", "faulty")
    use("method", "sound")


@pytest.mark.parametrize("way", ["syntax error", "exits at import", "registers nothing"])
def test_a_broken_plugin_file_leaves_the_other_methods(
    way: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(KINDS[way].code)
    assert in_process("list", "methods", "--plugin", path) == 0
    assert "vificlip" in capsys.readouterr().out
    (line,) = (record.getMessage() for record in caplog.records)
    assert "\n" not in line and str(path) in line


def test_a_file_cannot_take_the_name_of_an_installed_method(site: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(SOUND.replace("NAME", "sound"))
    with pytest.raises(UserError, match=r"'sound' is already offered by sound 1\.2"):
        load_file(path)
    assert load_file(site / "sound_module.py") == ["sound"]  # the package's own file is the same method
    use("method", "sound")


def test_the_listing_says_where_each_comes_from(site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.py"
    path.write_text(SOUND.replace("NAME", "loose"))
    assert in_process("list", "methods", "--plugin", path) == 0
    origins = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "built-in" in origins["vificlip"] and "sound 1.2" in origins["sound"] and str(path) in origins["loose"]
    assert "A method that works." in origins["sound"]  # read without importing
    assert "sound_module" not in sys.modules
    assert registry.recorded_origin("method", "loose") == "file mine.py"  # no place of this machine in a record
