"""Misspelt overrides: names of a method's class that no code uses and that are close to the name of a hook.

Python accepts a method `losss` in silence: the class keeps the loss of its base, and its numbers look right.
"""

from __future__ import annotations

import ast
import difflib
import sys
from collections.abc import Iterable
from pathlib import Path

from harness.engine.method import ClipMethod

CLOSE = 0.75
"""Smallest ratio of `difflib` at which two names are close: a swapped, missing or doubled letter of a short name."""


def misspelt_hooks(cls: type[ClipMethod]) -> dict[str, str]:
    """The names that a method's class defines and probably misspells, each with the hook that it is close to.

    A hook is a public step, function or attribute of `ClipMethod`. A name that the plugin's own files read, such as a
    helper function, is not misspelt, however close it is to a hook.
    """
    hooks = {_normal(name): name for name in _hooks()}
    own = [base for base in cls.__mro__ if base not in ClipMethod.__mro__ and base.__module__ != "typing"]
    # torch's own names (`train`, `extra_repr`) are overrides of torch, not misspelt hooks.
    defined = {
        name for base in own for name in vars(base) if not name.startswith("__") and not hasattr(ClipMethod, name)
    }
    close = {name: difflib.get_close_matches(_normal(name), hooks, n=1, cutoff=CLOSE) for name in sorted(defined)}
    close = {name: found for name, found in close.items() if found}
    used = _used(own) if close else set()  # reading the files is slow, and rarely needed
    return {name: hooks[found[0]] for name, found in close.items() if name not in used}


def _hooks() -> set[str]:
    """Public names of `ClipMethod` that a plugin may override or set; torch's own names are not hooks."""
    ours = [base for base in ClipMethod.__mro__ if base.__module__.partition(".")[0] == "harness"]
    return {name for base in ours for name in vars(base) if not name.startswith("_")}


def _normal(name: str) -> str:
    """A name without underscores and capitals, so that `encodeText` and `_pool` are close to their hooks."""
    return name.replace("_", "").lower()


def _used(classes: Iterable[type]) -> set[str]:
    """All names and attributes that the files of some classes read."""
    used: set[str] = set()
    for file in {getattr(sys.modules.get(cls.__module__), "__file__", None) for cls in classes} - {None}:
        for node in ast.walk(ast.parse(Path(str(file)).read_bytes())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                used.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                used.add(node.id)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):  # getattr(self, "name")
                used.add(node.value)
    return used
