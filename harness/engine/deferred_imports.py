"""Imports of packages that happen only if they are needed, or never.

mmaction2 imports all its transforms at once; one for skeletons, which the harness does not use, imports `scipy.stats`
for one function. Without it each command that computes starts 1.2 s earlier.

mmengine formats the text of a config by yapf, which keeps a cache in the user's cache folder. yapf (0.43) renames
the file of the cache before its content is written: a second process that starts at this time fails, and if the first
process is killed then, an empty file stays and every later import of mmengine fails. Here the text stays as it is.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType


@dataclass(frozen=True)
class Deferred:
    """A function whose package is imported at its first call.

    Attributes:
        module: Module of the function.
        function: Name of the function.
        replacement: A function that is called instead, so that the package is never imported.
    """

    module: str
    function: str
    replacement: Callable[..., object] | None = None


def _unformatted(code: str, **settings: object) -> tuple[str, bool]:
    """Return source code as it is, and that it was not changed, in place of yapf's `FormatCode`."""
    return code, False


DEFERRED = {
    "mmaction.datasets.transforms.pose_transforms": Deferred("scipy.stats", "mode"),
    "mmengine.config.config": Deferred("yapf.yapflib.yapf_api", "FormatCode", _unformatted),
}
"""The importing modules and the function that each of them takes."""


class _StandIn(ModuleType):
    """Stands for the module of a deferred function while another module is imported."""

    def __init__(self, deferred: Deferred) -> None:
        super().__init__(deferred.module)

        def call(*arguments: object, **named: object) -> object:
            return getattr(importlib.import_module(deferred.module), deferred.function)(*arguments, **named)

        setattr(self, deferred.function, deferred.replacement or call)

    def __getattr__(self, name: str) -> object:
        # Another version of the importing module may take further names, which need the module itself.
        if name.startswith("__"):
            raise AttributeError(name)
        self.leave()
        return getattr(importlib.import_module(self.__name__), name)

    def leave(self) -> None:
        """Remove the stand-in from the imported modules."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]


@contextlib.contextmanager
def _standing_in(deferred: Deferred) -> Iterator[None]:
    if deferred.module in sys.modules:
        yield
        return
    stand_in = _StandIn(deferred)
    sys.modules[deferred.module] = stand_in
    try:
        yield
    finally:
        stand_in.leave()


class _Loader(SourceFileLoader):
    """Loads a module of `DEFERRED` with a stand-in for the package that it takes a function from."""

    def exec_module(self, module: ModuleType) -> None:
        with _standing_in(DEFERRED[module.__name__]):
            super().exec_module(module)


class _Finder(MetaPathFinder):
    """Finds the modules of `DEFERRED`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module of `DEFERRED` with the loader that defers; None for all other modules."""
        if name not in DEFERRED:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def defer_imports() -> None:
    """Defer the imports of `DEFERRED` in this process from now on."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
