"""Each later method as a plugin of an installed package keeps the contract, as the built-in method does (slow)."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.plugins import registry
from harness.plugins.registered import ROOT
from tests.conftest import in_process
from tests.methods.conftest import LATER_METHODS

COPIES, SUBCLASSES = "copied_methods", "extended_methods"
OPTIONS = {"mformer": ":config=tiny,checkpoint=random,fixed_classes=4"}
REGISTERED = re.compile(r'@register_method\("(\w+)"\)\nclass (\w+)')
SUBCLASS = '''
"""A plugin that extends the built-in method {name}."""

from harness.api import register_method
from methods.{name} import {cls}


@register_method("extended_{name}")
class Extended({cls}):
    """The built-in method under another name."""
'''


def _source(name: str) -> str:
    return (ROOT / "methods" / f"{name}.py").read_text("utf-8")


def _install(site: Path, package: str, prefix: str, modules: dict[str, str]) -> None:
    """Write a package with its metadata, as pip installs it; each later method is an entry point."""
    for module, source in modules.items():
        path = site / package / module
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, "utf-8")
    info = site / f"{package}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
    entries = "".join(f"{prefix}{name} = {package}.{name}\n" for name in sorted(LATER_METHODS))
    (info / "entry_points.txt").write_text(f"[harness.methods]\n{entries}")
    record = (f"{path.relative_to(site).as_posix()},,\n" for path in sorted(site.rglob("*")) if path.is_file())
    (info / "RECORD").write_text("".join(record))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of two installed packages: copies of the methods' source files, and subclasses of the methods."""
    site = tmp_path_factory.mktemp("site-packages")
    folder = ROOT / "methods"
    sources = {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in folder.rglob("*.py")}
    copies = {
        # The package must not import the built-in methods: its helpers and specifications are its own files.
        module: REGISTERED.sub(r'@register_method("copied_\1")\nclass \2', source)
        .replace("from methods.", f"from {COPIES}.").replace("from methods import", f"from {COPIES} import")
        for module, source in sources.items()
    }  # fmt: skip
    _install(site, COPIES, "copied_", copies)
    classes = {name: cls for name in LATER_METHODS for cls in [REGISTERED.search(_source(name)).group(2)]}  # type: ignore[union-attr]
    subclasses = {f"{name}.py": SUBCLASS.strip().format(name=name, cls=cls) for name, cls in classes.items()}
    _install(site, SUBCLASSES, "extended_", {"__init__.py": "", **subclasses})
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        yield site
    for module in [name for name in sys.modules if name.partition(".")[0] in (COPIES, SUBCLASSES)]:
        del sys.modules[module]


@pytest.mark.slow
@pytest.mark.usefixtures("plugins_forgotten")
@pytest.mark.parametrize(("prefix", "package"), [("copied_", COPIES), ("extended_", SUBCLASSES)])
@pytest.mark.parametrize("name", sorted(LATER_METHODS))
def test_an_installed_method_keeps_the_contract(
    site: Path, name: str, prefix: str, package: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = f"{prefix}{name}"
    source = registry.sources("method")[plugin]
    assert (source.origin, source.file) == (f"{package} 1.2", site / package / f"{name}.py")
    code = in_process("check", "method", f"{plugin}{OPTIONS.get(name, '')}", "--json")
    output = capsys.readouterr()
    checks = json.loads(output.out)[plugin]["checks"]
    assert not {check["name"]: check["explanation"] or check["waits_for"] for check in checks if not check["ok"]}
    assert code == 0 and f"{len(checks)} of {len(checks)} checks passed" in output.err and len(checks) > 10
    assert registry.load("method", plugin).__module__ == f"{package}.{name}"
