"""What of a plugin's code takes part in the identity of its results."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from harness import registry


@cache
def code_sha256(cls: type) -> str:
    """sha256 of the code that defines a plugin, as syntax trees: its files and those of registered classes it extends.

    Comments, formatting and docstrings do not count, so that mending them leaves finished cells finished; the place of
    the files does not either.
    """
    files: dict[Path, str] = {}
    for base in cls.__mro__:
        if base is cls or registry.is_registered(base):
            files = {**_code_files(base), **files}
    return _digest(files)


def file_code_sha256(file: Path) -> str:
    """`code_sha256` of the built-in plugin that a file defines, without importing it."""
    return _digest(_built_in_files(file))


def _digest(files: Mapping[Path, str]) -> str:
    digest = hashlib.sha256()
    for path, name in files.items():
        digest.update(name.encode() + b"\0" + _code(path.read_text(encoding="utf-8")).encode() + b"\0")
    return digest.hexdigest()


def _built_in_files(file: Path) -> dict[Path, str]:
    """The file of a built-in plugin, its specification where it has one, and all underscored helpers."""
    helpers = (p for p in sorted(file.parent.rglob("_*.py")) if p.name != "__init__.py")
    specs = filter(Path.is_file, [file.parent / "_specs" / file.name])
    return {path: path.relative_to(file.parent).as_posix() for path in [file, *specs, *helpers]}


def _code_files(cls: type) -> dict[Path, str]:
    """The files that define a plugin, with names that do not depend on their place.

    Of a built-in its file and the underscored helpers beside it, of a package all its modules, else the file alone.
    """
    module = cls.__module__
    file = Path(sys.modules[module].__file__ or "").resolve()
    if file.parent.name == "_specs":
        file = file.parent.parent / file.name
    if file.parent in [registry.ROOT / folder for folder in registry.KINDS.values()]:
        return _built_in_files(file)
    depth = module.count(".") + (file.name == "__init__.py")
    if not depth:
        return {file: file.name}
    package = file.parents[depth - 1]
    return {path: path.relative_to(package).as_posix() for path in sorted(package.rglob("*.py"))}


def _code(source: str) -> str:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # a module of a package that nothing imports
        return source
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body
            if (
                body
                and isinstance(body[0], ast.Expr)
                and isinstance(body[0].value, ast.Constant)
                and isinstance(body[0].value.value, str)
            ):
                node.body = body[1:] or [ast.Pass()]
    return ast.dump(tree)
