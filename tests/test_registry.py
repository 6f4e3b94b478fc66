"""Names to plugins: discovery without import, nearest names, broken plugins that break nothing."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.plugins import registry
from harness.plugins.loose_files import load_file

GOOD = '''"""A protocol of a plugin file."""

from harness.api import Column, Eval, Fit, ListRef, Protocol, register_protocol


@register_protocol("{name}", version=3)
class Mine(Protocol):
    title = "Mine"
    columns = (Column("top1", "all"),)

    def fits(self, dataset):
        yield Fit(ListRef(dataset.name, "train", "all"))

    def evals(self, dataset, fit):
        yield Eval("all", ListRef(dataset.name, "val", "all"))
'''


pytestmark = pytest.mark.usefixtures("plugins_forgotten")


def plugin(tmp_path: Path, content: str, name: str = "plugin.py") -> Path:
    path = tmp_path / name
    path.write_text(content)
    return path


def test_built_ins_are_the_files_of_their_folders() -> None:
    for kind, folder in registry.KINDS.items():
        stems = {p.stem for p in (registry.ROOT / folder).glob("*.py") if not p.stem.startswith("_")}
        found = registry.sources(kind)
        assert stems <= set(found)
        assert all(found[name].summary and found[name].origin == "built-in" for name in stems)


@pytest.mark.parametrize(
    ("kind", "name", "nearest"),
    [("method", "vifi_clip", "vificlip"), ("method", "VifiClip", "vificlip"), ("protocol", "b2m", "b2n")],
)
def test_an_unknown_name_suggests_the_nearest(kind: str, name: str, nearest: str) -> None:
    with pytest.raises(UserError) as caught:
        registry.load(kind, name)
    assert f"There is no {kind} named '{name}'" in caught.value.message
    assert f"Did you mean {nearest}" in caught.value.hint
    assert caught.value.exit_code == 2


def test_a_name_like_none_lists_the_known_ones() -> None:
    with pytest.raises(UserError) as caught:
        registry.load("protocol", "qqqqqq")
    assert "Known: " in caught.value.hint and "b2n" in caught.value.hint


def test_a_plugin_file(tmp_path: Path) -> None:
    path = plugin(tmp_path, GOOD.replace("{name}", "mine"))
    assert load_file(path) == ["mine"]
    assert load_file(path) == ["mine"]  # a second --plugin of the same file is no error
    source = registry.sources("protocol")["mine"]
    assert (source.origin, source.summary) == (str(path), "A protocol of a plugin file.")
    cls = registry.load("protocol", "mine")
    assert (cls.name, cls.version) == ("mine", 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("import nothing_of_this_name", "does not load: ModuleNotFoundError"),
        ("def broken(:", "does not load: SyntaxError"),
        ("raise SystemExit(3)", "does not load: SystemExit"),
        ("1 / 0", "does not load: ZeroDivisionError"),
        ("x = 1", "registers no method, no protocol and no view transform"),
        (GOOD.replace("{name}", "b2n"), "'b2n' is a built-in protocol"),
        (GOOD.replace("{name}", "a b"), "is not a protocol name"),
    ],
)
def test_a_broken_file_is_named_and_leaves_nothing(tmp_path: Path, content: str, message: str) -> None:
    path = plugin(tmp_path, content)
    modules = set(sys.modules)
    with pytest.raises(UserError) as caught:
        load_file(path)
    assert message in caught.value.message and str(path) in caught.value.message
    assert not [name for name in set(sys.modules) - modules if name.startswith("harness_plugin_")]
    assert registry.load("protocol", "b2n").__module__ == "protocols.b2n"


def test_a_file_that_fails_after_registering_registers_nothing(tmp_path: Path) -> None:
    path = plugin(tmp_path, GOOD.replace("{name}", "half") + "\n1 / 0\n")
    with pytest.raises(UserError, match="ZeroDivisionError"):
        load_file(path)
    with pytest.raises(UserError, match="no protocol named 'half'"):
        registry.load("protocol", "half")
    path.write_text(GOOD.replace("{name}", "half"))
    assert load_file(path) == ["half"]


def test_a_missing_file() -> None:
    with pytest.raises(UserError, match=r"none\.py does not exist"):
        load_file(Path("none.py"))


def test_two_files_cannot_take_the_same_name(tmp_path: Path) -> None:
    load_file(plugin(tmp_path, GOOD.replace("{name}", "mine"), "a.py"))
    with pytest.raises(UserError, match=r"already registered by .*a\.py"):
        load_file(plugin(tmp_path, GOOD.replace("{name}", "mine"), "b.py"))


def test_plugins_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A broken one is one line; the others are there."""
    good = plugin(tmp_path, GOOD.replace("{name}", "mine"), "good.py")
    bad = plugin(tmp_path, "raise RuntimeError('first line\\nsecond line')", "bad.py")
    monkeypatch.setenv("HARNESS_PLUGINS", f"{bad}:{good}")
    assert registry.load("protocol", "mine").name == "mine"
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1 and "\n" not in lines[0] and str(bad) in lines[0] and "second line" in lines[0]


def test_entry_points_are_imported_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(tmp_path, GOOD.replace("{name}", "installed"), "good_entry.py")
    plugin(tmp_path, "import nothing_of_this_name", "bad_entry.py")
    plugin(tmp_path, "x = 1", "empty_entry.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    group = "harness.protocols"
    entries = [
        EntryPoint("installed", "good_entry:Mine", group), EntryPoint("bad", "bad_entry", group),
        EntryPoint("empty", "empty_entry", group),
    ]  # fmt: skip
    monkeypatch.setattr(
        "importlib.metadata.entry_points", lambda group: entries if group == "harness.protocols" else []
    )
    assert {"installed", "bad", "empty", "b2n"} <= set(registry.sources("protocol"))
    assert "good_entry" not in sys.modules
    assert registry.load("protocol", "installed").version == 3
    with pytest.raises(UserError, match=r"'bad' of .* does not load: ModuleNotFoundError"):
        registry.load("protocol", "bad")
    with pytest.raises(UserError, match="did not register a protocol of that name"):
        registry.load("protocol", "empty")


def test_a_built_in_wins_over_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("b2n", "elsewhere", "harness.protocols")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [entry])
    assert registry.sources("protocol")["b2n"].origin == "built-in"


VERSIONED = '''"""A protocol of a plugin file."""

from harness.api import Column, Eval, Fit, ListRef, Protocol, register_protocol


class Base(Protocol):
    {base}
    title = "Mine"
    columns = (Column("top1", "all"),)

    def fits(self, dataset):
        yield Fit(ListRef(dataset.name, "train", "all"))

    def evals(self, dataset, fit):
        yield Eval("all", ListRef(dataset.name, "val", "all"))


@register_protocol("mine"{given})
class Mine(Base):
    {own}
'''


def versioned(tmp_path: Path, base: str = "pass", given: str = "", own: str = "pass") -> Path:
    text = VERSIONED.replace("{base}", base).replace("{given}", given).replace("{own}", own)
    return plugin(tmp_path, text, f"versioned_{len(list(tmp_path.iterdir()))}.py")


@pytest.mark.parametrize(
    ("parts", "version"),
    [
        ({}, 1),
        ({"given": ", 4"}, 4),
        ({"given": ", version=4"}, 4),
        ({"own": "version = 3"}, 3),
        ({"base": "version = 3"}, 3),
        ({"own": "version = 3", "given": ", version=3"}, 3),
        ({"own": "version = 1", "given": ", version=None"}, 1),
        ({"base": "version = 2", "own": "version = 3"}, 3),
    ],
    ids=str,
)
def test_the_version_is_that_of_the_class_or_of_the_decorator(
    parts: dict[str, str], version: int, tmp_path: Path
) -> None:
    load_file(versioned(tmp_path, **parts))
    assert registry.load("protocol", "mine").version == version


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"own": "version = 3", "given": ", version=2"}, "has two versions: 3 on the class and 2 in its decorator"),
        ({"base": "version = 3", "given": ", version=2"}, "has two versions: 3 on the class and 2 in its decorator"),
        ({"own": "version = 2", "given": ", version=1"}, "has two versions: 2 on the class and 1 in its decorator"),
        ({"given": ", version=0"}, "has the version 0, expected a whole number from 1"),
        ({"given": ", version=-1"}, "has the version -1, expected"),
        ({"given": ", version=True"}, "has the version True, expected"),
        ({"own": "version = True"}, "has the version True, expected"),
        ({"own": "version = False"}, "has the version False, expected"),
        ({"own": "version = '2'"}, "has the version '2', expected"),
        ({"given": ", version='2'"}, "has the version '2', expected"),
        ({"given": ", version=1.0"}, "has the version 1.0, expected"),
        ({"own": "version = 2.5", "given": ", version=2"}, "has the version 2.5, expected"),
        ({"own": "version = property(lambda self: 2)"}, "expected a whole number from 1"),
    ],
    ids=str,
)
def test_versions_that_cannot_be(parts: dict[str, str], says: str, tmp_path: Path) -> None:
    path = versioned(tmp_path, **parts)
    with pytest.raises(UserError) as caught:
        load_file(path)
    assert says in caught.value.message and "'mine'" in caught.value.message and str(path) in caught.value.message
    assert caught.value.hint and "\n" not in caught.value.message
    with pytest.raises(UserError, match="no protocol named 'mine'"):
        registry.load("protocol", "mine")


EXTENDS = '''"""A method that extends a built-in one."""

from harness.api import register_method
from methods.actionclip import ActionClip


@register_method("extends"{given})
class Extends(ActionClip):
    {own}
'''


@pytest.mark.parametrize(
    ("given", "own", "version"), [("", "pass", 1), (", 5", "pass", 5), ("", "version = 7", 7), (", 1", "pass", 1)]
)
def test_a_method_that_extends_another_has_its_own_version(given: str, own: str, version: int, tmp_path: Path) -> None:
    load_file(plugin(tmp_path, EXTENDS.replace("{given}", given).replace("{own}", own)))
    assert registry.load("method", "extends").version == version
    assert registry.load("method", "actionclip").version == 2


def test_versions_of_the_built_ins() -> None:
    """ActionCLIP's templates are drawn by group since version 2; every other one is at its first version."""
    methods = {name: registry.load("method", name).version for name in registry.sources("method")}
    assert {name: version for name, version in methods.items() if version != 1} == {"actionclip": 2}
    assert {registry.load("protocol", name).version for name in registry.sources("protocol")} == {1}
