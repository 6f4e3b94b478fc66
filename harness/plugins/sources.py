"""Entry points and their files, found without importing them, with the problems that can be seen in this way."""

from __future__ import annotations

import ast
import importlib.metadata
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """The origin of a plugin of a name.

    Args:
        name: Registered name.
        origin: `built-in`, name and version of an installed distribution, or a file's path.
        module: Importable module, with `:attribute` for an entry point that names one; empty for a loose file.
        file: The defining file, where it is known without importing.
        summary: First line of the file's docstring, read without importing.
        problem: The reason why it cannot be loaded, as far as it is known before the import; empty if it is not known.
    """

    name: str
    origin: str
    module: str = ""
    file: Path | None = None
    summary: str = ""
    problem: str = ""


def is_name(name: str) -> bool:
    """Whether a plugin may have this name: letters, digits, `_` and `-`."""
    return name.replace("_", "").replace("-", "").isalnum()


def installed_sources(group: str) -> dict[str, Source]:
    """The entry points of a group by name. A name that two distributions offer is a problem of its source."""
    by_name: dict[str, Source] = {}
    for entry in importlib.metadata.entry_points(group=group):
        origin = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unnamed distribution"
        source = _inspected(Source(entry.name, origin, entry.value))
        other = by_name.get(entry.name)
        # An editable installation can list one distribution twice, which is not a conflict.
        if other is not None and (other.origin, other.module) != (source.origin, source.module):
            problem = f"{other.origin} and {source.origin} both offer the name {entry.name!r}; uninstall one of them"
            source = replace(other, origin=f"{other.origin} and {source.origin}", problem=problem)
        by_name[entry.name] = source
    return by_name


def _inspected(source: Source) -> Source:
    """An entry point with its file, summary and problem, found without running anything."""
    if not is_name(source.name):
        return replace(source, problem=f"{source.name!r} is not a valid name: use letters, digits, '_' and '-'")
    module = source.module.partition(":")[0]
    # Found and not imported: listing must stay fast, and one broken package must not end it.
    spec = _find(module)
    if spec is None:
        return replace(source, problem=f"there is no module {module!r}")
    if spec.origin is None or not spec.origin.endswith(".py"):
        return source
    file = Path(spec.origin).resolve()
    return replace(source, file=file, summary=summary_of(file), problem=syntax_problem(file))


def _find(module: str) -> ModuleSpec | None:
    """The spec of a module, without importing its parents as `importlib.util.find_spec` does."""
    path: Sequence[str] | None = None
    spec: ModuleSpec | None = None
    parts = module.split(".")
    # From the top package down, because each level gives the search path of the next.
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
        try:
            spec = next(filter(None, (find(name, path, None) for find in finders if find)), None)
        except (ImportError, ValueError, AttributeError):
            return None
        if spec is None:
            return None
        path = spec.submodule_search_locations
        if path is None and depth < len(parts):
            return None
    return spec


def summary_of(file: Path) -> str:
    """First docstring line of a file, read without running it; empty if the file does not parse."""
    doc, _ = _read(file, _changed(file))
    return doc


def syntax_problem(file: Path) -> str:
    """The reason why a file does not parse, with its line; empty if it parses."""
    _, problem = _read(file, _changed(file))
    return problem


# The time of change is an argument of the cached `_read`, so that an edited file is read again.
def _changed(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


@cache
def _read(file: Path, changed: int) -> tuple[str, str]:
    try:
        doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    except SyntaxError as error:
        return "", f"SyntaxError: {error.msg} ({file}, line {error.lineno})"
    except (OSError, ValueError) as error:
        return "", f"{type(error).__name__}: {error} ({file})"
    return (doc or "").partition("\n")[0], ""
