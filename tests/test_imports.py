"""Imports: without garbage collections, and without packages that only an unused function needs."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.base.imports import without_collections
from harness.engine import deferred_imports
from harness.engine.deferred_imports import DEFERRED, Deferred, defer_imports


def test_no_collection_during_imports_and_as_before_afterwards() -> None:
    assert gc.isenabled()
    with without_collections():
        assert not gc.isenabled()
        with without_collections():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of two modules: `fast` takes a function of `slow`."""
    folder = tmp_path / "deferring_package"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "slow.py").write_text("other = 3\ndef double(x): return 2 * x\n")
    (folder / "fast.py").write_text("from deferring_package.slow import double\ndef use(x): return double(x) + 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(DEFERRED, "deferring_package.fast", Deferred("deferring_package.slow", "double"))
    defer_imports()
    yield folder
    for name in [name for name in sys.modules if name.startswith("deferring_package")]:
        del sys.modules[name]


def test_a_deferred_package_is_imported_at_the_first_call(package: Path) -> None:
    fast = importlib.import_module("deferring_package.fast")
    assert "deferring_package.slow" not in sys.modules
    assert fast.use(2) == 5 and fast.use(3) == 7
    assert importlib.import_module("deferring_package.slow").double is not fast.double


def test_a_module_that_takes_more_gets_the_package_itself(package: Path) -> None:
    source = "from deferring_package.slow import double, other\ndef use(x): return double(x) + other\n"
    (package / "fast.py").write_text(source)
    fast = importlib.import_module("deferring_package.fast")
    assert "deferring_package.slow" in sys.modules and fast.use(2) == 7


def test_a_replaced_function_never_imports_its_package(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced = Deferred("deferring_package.slow", "double", lambda x: 10 * x)
    monkeypatch.setitem(DEFERRED, "deferring_package.fast", replaced)
    fast = importlib.import_module("deferring_package.fast")
    assert fast.use(2) == 21 and "deferring_package.slow" not in sys.modules


def test_mmengine_writes_configs_without_the_cache_of_yapf() -> None:
    """A process that ends while yapf writes its cache leaves an empty file there, which no later import can read."""
    from mmengine.config import Config

    assert "lr=0.1" in Config({"lr": 0.1}).pretty_text
    assert "yapf_third_party._ylib2to3.pygram" not in sys.modules


def test_deferring_is_installed_once_and_names_a_module_that_exists() -> None:
    defer_imports()
    assert sum(isinstance(finder, deferred_imports._Finder) for finder in sys.meta_path) == 1
    for name, deferred in DEFERRED.items():
        module = importlib.import_module(name)
        assert hasattr(module, deferred.function)
