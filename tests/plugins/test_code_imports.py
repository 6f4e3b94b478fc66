"""The code hash covers the modules that a plugin imports from its own folder or package, and no others."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.engine.method import method_class
from harness.plugins import code_hash, code_imports, registry
from harness.plugins.code_hash import code_sha256, file_code_sha256
from harness.plugins.loose_files import load_file
from tests.plugins.sources import method, of, write


@pytest.mark.parametrize(
    "line",
    [
        "import layers", "import layers as _", "from layers import WIDTH", "from layers import *",
        "def later():\n    import layers", "def later():\n    from layers import WIDTH",
        "import importlib\nlayers = importlib.import_module('layers')",
        "from importlib import import_module\nlayers = import_module(name='layers')", "layers = __import__('layers')",
        "try:\n    import layers\nexcept ImportError:\n    layers = None", "import json, layers",
        "if 0:\n    import layers",
        "from between import layers",
    ],
)  # fmt: skip
def test_modules_beside_a_plugin_are_followed(line: str, tmp_path: Path) -> None:
    more = {"between": "import layers\n", "unused": "X = 1\n"}
    first = of(tmp_path, mine=line, layers="WIDTH = 1\n", **more)
    assert of(tmp_path, mine=line, layers="WIDTH = 2\n", **more) != first
    assert of(tmp_path, mine=line, layers="WIDTH = 1  # why\n", between=more["between"], unused="X = 2\n") == first


@pytest.mark.parametrize(
    ("line", "module"),
    [
        ("from . import layers", "pack/sub/layers.py"), ("from .layers import WIDTH", "pack/sub/layers.py"),
        ("from .. import layers", "pack/layers.py"), ("from ..layers import *", "pack/layers.py"),
        ("import pack.sub.layers", "pack/sub/layers.py"), ("from pack import layers", "pack/layers.py"),
        ("from pack.other.deep import x", "pack/other/deep.py"), ("import pack.other", "pack/other/__init__.py"),
        ("from pack.other.deep import x", "pack/other/__init__.py"), ("X = 1", "pack/__init__.py"),
        ("X = 1", "pack/sub/__init__.py"), ("from ..chain import x", "pack/layers.py"),
        ("import importlib\nx = importlib.import_module('..layers', __package__)", "pack/layers.py"),
        ("import importlib\nx = importlib.import_module('.layers', 'pack')", "pack/layers.py"),
        ("from .loop import x", "pack/sub/loop.py"),
    ],
)  # fmt: skip
def test_modules_of_a_package_are_followed(
    line: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("__init__", "layers", "chain", "sub/__init__", "sub/layers", "sub/loop", "other/__init__", "other/deep")
    files = {f"pack/{name}.py": "WIDTH = x = 1\n" for name in names}
    files["pack/sub/mine.py"] = f"{line}\n\n\nclass Mine:\n    pass\n"
    files |= {"pack/chain.py": "from .layers import x\n", "pack/sub/loop.py": "from . import mine\nx = 1\n"}
    files |= {"outside.py": "X = 1\n", "pack/unused.py": "X = 1\n"}

    def sha256(place: str, changed: str) -> str:
        write(tmp_path / place, {**files, **({changed: files[changed] + "MORE = 1\n"} if changed else {})})
        monkeypatch.syspath_prepend(str(tmp_path / place))
        for name in [name for name in sys.modules if name.partition(".")[0] == "pack"]:
            monkeypatch.delitem(sys.modules, name)
        return code_sha256(importlib.import_module("pack.sub.mine").Mine)

    first = sha256("first", "")
    assert sha256("moved", "") == first
    assert sha256("changed", module) != first
    for other in ("outside.py", "pack/unused.py"):
        assert sha256(other.replace("/", "_"), other) == first


INSTALLED = {
    "flat.py": "import flat_layers\nimport neighbour\n\n\nclass Mine:\n    pass\n",
    "flat_layers.py": "WIDTH = 1\n",
    "neighbour/__init__.py": "import flat\n",
    "flat-1.0.dist-info/RECORD": "flat.py,sha256=x,1\nflat_layers.py,,\nflat-1.0.dist-info/RECORD,,\n",
    "neighbour-1.0.dist-info/RECORD": "neighbour/__init__.py,,\n",
}


def test_what_is_installed_beside_a_module_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module in `site-packages` has thousands of neighbours: those of its own distribution count, imported ones."""

    def sha256(place: str, **changed: str) -> str:
        files = INSTALLED | {name.replace("__", "/") + ".py": text for name, text in changed.items()}
        write(tmp_path / place / "site-packages", files)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(tmp_path / place / "site-packages"))
            for name in ("flat", "flat_layers", "neighbour"):
                patch.delitem(sys.modules, name, raising=False)
            importlib.invalidate_caches()
            return code_sha256(importlib.import_module("flat").Mine)

    first = sha256("first")
    write(tmp_path / "other" / "site-packages", {"neighbour/__init__.py": ""})
    assert sha256("other", **{"neighbour/__init__": "X = 1\n"}) == first
    assert sha256("changed", flat_layers="WIDTH = 2\n") != first


@pytest.fixture
def forgotten(plugins_forgotten: None) -> Iterator[None]:
    """The modules that plugins import are forgotten afterwards."""
    before = set(sys.modules)
    yield
    for name in {"layers", "mine", "other", "bases"} & (set(sys.modules) - before):
        del sys.modules[name]


@pytest.mark.usefixtures("forgotten")
def test_a_module_beside_a_loose_plugin_counts_wherever_the_harness_runs(tmp_path: Path) -> None:
    """B14: `mine.py` imports `layers.py` beside it; an edit of the latter makes another identity."""
    path = write(tmp_path, {"mine.py": method("mine", "import layers"), "layers.py": "WIDTH = 1\n"})
    load_file(path)
    first = code_sha256(method_class("mine"))
    assert first == code_sha256(registry.method_spec("mine")) == file_code_sha256(path)
    (tmp_path / "layers.py").write_text("WIDTH = 2\n")
    assert code_sha256(method_class("mine")) != first
    (tmp_path / "layers.py").write_text("WIDTH = 1  # as before\n")
    assert code_sha256(method_class("mine")) == first


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("base", ["Base", "Mixin, ClipMethod"])
def test_a_base_class_in_another_folder_counts(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a loose plugin, and of a class that no plugin registers."""
    bases = write(
        tmp_path / "there",
        {
            "bases.py": method("base", "import layers") + "\n\nclass Mixin:\n    width = layers.WIDTH\n",
            "layers.py": "WIDTH = 1\n",
        },
    )
    monkeypatch.syspath_prepend(str(bases.parent))
    path = write(tmp_path / "here", {"mine.py": method("mine", "from bases import Base, Mixin", base)})
    load_file(path)
    first = code_sha256(method_class("mine"))
    (bases.parent / "layers.py").write_text("WIDTH = 2\n")
    changed = code_sha256(method_class("mine"))
    bases.write_text(bases.read_text().replace("layers.WIDTH", "2 * layers.WIDTH"))
    assert len({first, changed, code_sha256(method_class("mine"))}) == 3


@pytest.mark.usefixtures("forgotten")
def test_a_plugin_that_extends_a_built_in_method(tmp_path: Path) -> None:
    """Its hash covers the built-in method's code, also where it takes no more than a function of it."""
    extends = method("mine", "from methods.actionclip import ActionClip", "ActionClip")
    uses = method("other", "from methods._blocks import Blocks")
    for name, text, expected in (("mine", extends, "actionclip"), ("other", uses, "_blocks")):
        load_file(write(tmp_path / name, {f"{name}.py": text}))
        followed = {module.name for module, _ in code_imports.follow(code_hash._starts(method_class(name)))}
        assert {name, f"methods.{expected}", "methods._blocks"} <= followed
        assert not [module for module in followed if module.partition(".")[0] not in (name, "methods")]


@pytest.mark.usefixtures("forgotten")
def test_two_modules_of_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module beside the plugin is the one that runs and that counts, not one of the working folder."""
    other = write(tmp_path / "cwd", {"layers.py": "WIDTH = 1\n"})
    monkeypatch.syspath_prepend(str(other.parent))
    path = write(tmp_path / "here", {"mine.py": method("mine", "import layers"), "layers.py": "WIDTH = 2\n"})
    load_file(path)
    first = code_sha256(method_class("mine"))
    other.write_text("WIDTH = 3\n")
    assert code_sha256(method_class("mine")) == first
    path.with_name("layers.py").write_text("WIDTH = 4\n")
    assert code_sha256(method_class("mine")) != first


@pytest.mark.usefixtures("forgotten")
def test_a_file_with_the_name_of_a_package_that_runs_instead(tmp_path: Path) -> None:
    """`import json` and `import torch` mean Python's and torch's, whatever lies beside the plugin."""
    files = {"mine.py": method("mine", "import json\nimport torch"), "json.py": "X = 1\n", "torch.py": "X = 1\n"}
    load_file(write(tmp_path, files))
    first = code_sha256(method_class("mine"))
    for name in ("json.py", "torch.py"):
        (tmp_path / name).write_text("X = 2\n")
    assert code_sha256(method_class("mine")) == first


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"def broken(:\n", "does not parse: invalid syntax, line 1"), (b"x = 1\n\0", "does not parse: "),
     (b"x = '\xff'\n", "does not parse: "), (b"(" * 300 + b")" * 300, "does not parse: ")],
)  # fmt: skip
def test_a_module_that_does_not_parse(content: bytes, says: str, tmp_path: Path) -> None:
    path = write(tmp_path, {"mine.py": "try:\n    import layers\nexcept SyntaxError:\n    pass\n"})
    (tmp_path / "layers.py").write_bytes(content)
    with pytest.raises(UserError) as caught:
        file_code_sha256(path)
    assert f"{tmp_path / 'layers.py'}, which {path} imports, {says}" in caught.value.message
    assert "\n" not in caught.value.message and caught.value.hint


def test_a_class_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    cls = type("Mine", (), {"__module__": "of_no_file"})
    with pytest.raises(UserError, match="Mine of of_no_file has no source file"):
        code_sha256(cls)
