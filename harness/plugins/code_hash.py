"""Hash of a plugin's source code; a result is computed again when it changes.

The hash covers the files of the plugin class and of the classes it extends, except those of the harness and of
installed packages, and every module that these files import from their own folder or package. Two states of the code
have the same hash exactly if their syntax trees are equal up to comments, docstrings and data (`code_data`). The hash
depends neither on the Python version nor on the folder. Files that are not Python, and modules that are imported by a
computed name, are not covered.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from harness.base.errors import UserError
from harness.plugins.code_data import data_nodes
from harness.plugins.code_imports import (
    BUILT_IN,
    ROOT,
    Module,
    ModuleFolder,
    follow,
    imported_module,
    in_package,
    is_installed,
    parsed,
)
from harness.plugins.code_text import code_text
from harness.plugins.registered import is_registered


def code_sha256(cls: type) -> str:
    """sha256 of the code of a method, of its torch class or of its specification.

    Raises:
        UserError: The class has no file, or a file that it imports cannot be read or does not parse.
    """
    return _sha256(_starts(cls))


def file_code_sha256(file: Path) -> str:
    """`code_sha256` of the method that a file of `methods/`, or of a copy of it, defines; nothing is imported.

    Raises:
        UserError: A file that cannot be read or does not parse.
    """
    file = file.resolve()
    is_package = (file.parent / "__init__.py").is_file()
    return _sha256(
        [in_package(file, file.parent) if is_package else Module(ModuleFolder(file.parent), file.stem, file)]
    )


def _sha256(starts: Iterable[Module]) -> str:
    return _digest(tuple(sorted((module.name, source) for module, source in follow(starts))))


@lru_cache(maxsize=256)
def _digest(modules: tuple[tuple[str, bytes], ...]) -> str:
    """The digest of modules by name and source."""
    trees = [(name, parsed(source)) for name, source in modules]
    # Over all files together: a constant of one file may be read by the code of another.
    data = data_nodes([tree for _, tree in trees])
    # The version of this rule: raised if the text of equal code ever changes.
    digest = hashlib.sha256(b"code 1\n")
    for name, text in sorted({(name, code_text(tree, data)) for name, tree in trees}):
        digest.update(f"{name!a}\n{text}\n".encode("ascii"))
    return digest.hexdigest()


def _starts(cls: type) -> list[Module]:
    """The modules of a class and of the classes it extends, except those of the harness, Python and other packages."""
    own = _module_of(cls)
    starts = [own]
    ours = [base for base in cls.__mro__ if base.__module__.partition(".")[0] == "harness"]
    engine = {ancestor for base in ours for ancestor in base.__mro__}
    for base in cls.__mro__[1:]:
        file = _file_of(base)
        # A change of the harness raises ENGINE_VERSION; its code would make the hash depend on every release.
        if base in engine or file is None:
            continue
        start = _module_of(base)
        # A base class of an installed package is as fixed as the package; one that is a plugin itself may be edited.
        if start.folder == own.folder or is_registered(base) or not is_installed(file, base.__module__):
            starts.append(start)
    return starts


def _file_of(cls: type) -> Path | None:
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return Path(file).resolve() if file else None


def _module_of(cls: type) -> Module:
    file = _file_of(cls)
    if file is None:
        raise UserError(
            f"The class {cls.__qualname__} of {cls.__module__} has no source file, so that its code has no hash.",
            "Put the class into a file, and load it with --plugin FILE.",
        )
    module = imported_module(cls.__module__, file)
    # The specification of a built-in method hashes as the method: both are needed for its numbers.
    if file.parent == ROOT / BUILT_IN / "_specs" and not file.stem.startswith("_"):
        return in_package(ROOT / BUILT_IN / file.name, ROOT / BUILT_IN)
    return module
