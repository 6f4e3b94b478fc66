"""Names to plugins: built-in files, entry points of installed packages, and loose files, loaded only when asked for.

The order of discovery: files in `methods/` and `protocols/` (the file's stem is the name), then entry points in the
groups `harness.methods` and `harness.protocols`, then files given with `--plugin` or in `HARNESS_PLUGINS`. A built-in
name cannot be taken by another plugin. A plugin that fails to load is a warning that names it; it never breaks
listing, or another plugin.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.metadata
import importlib.util
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import UserError, unknown_name

logger = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parent.parent
KINDS = {"method": "methods", "protocol": "protocols"}
T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """Where a plugin of a name comes from.

    Args:
        name: Registered name.
        origin: `built-in`, the name of an installed distribution, or a file's path.
        module: Importable module, empty for a loose file.
        file: The defining file, where it is known without importing.
        summary: First line of the file's docstring, read without importing.
    """

    name: str
    origin: str
    module: str = ""
    file: Path | None = None
    summary: str = ""


_classes: dict[str, dict[str, type]] = {"method": {}, "protocol": {}}
_files: dict[str, dict[str, Path]] = {"method": {}, "protocol": {}}
_loose: dict[str, dict[str, Source]] = {"method": {}, "protocol": {}}
_loaded_files: set[Path] = set()


def register_method(name: str, version: int = 1) -> Callable[[type[T]], type[T]]:
    """A class decorator that registers a `ClipMethod` under a name; `version` changes when its numbers would."""
    return _register("method", name, version)


def register_protocol(name: str, version: int = 1) -> Callable[[type[T]], type[T]]:
    """A class decorator that registers a `Protocol` under a name; `version` changes when its numbers would."""
    return _register("protocol", name, version)


def _register(kind: str, name: str, version: int) -> Callable[[type[T]], type[T]]:
    def decorate(cls: type[T]) -> type[T]:
        file = Path(sys.modules[cls.__module__].__file__ or "").resolve()
        if not name.replace("_", "").replace("-", "").isalnum():
            raise UserError(f"{name!r} is no {kind} name ({file}).", "Use letters, digits, '_' and '-'.")
        builtin = ROOT / KINDS[kind] / f"{name}.py"
        if builtin.is_file() and file != builtin:
            raise UserError(f"{name!r} is a built-in {kind}; {file} cannot take its name.", "Choose another name.")
        known = _files[kind].get(name)
        if known is not None and known != file:
            raise UserError(
                f"The {kind} {name!r} of {file} is already registered by {known}.", "Give one of them another name."
            )
        cls.name, cls.version = name, version  # type: ignore[attr-defined]
        _classes[kind][name] = cls
        _files[kind][name] = file
        return cls

    return decorate


def sources(kind: str) -> dict[str, Source]:
    """All plugins of a kind by name, found without importing built-ins or installed packages."""
    found: dict[str, Source] = dict(_loose[kind])
    for entry in importlib.metadata.entry_points(group=f"harness.{KINDS[kind]}"):
        distribution = entry.dist.name if entry.dist else "an unnamed distribution"
        found[entry.name] = Source(entry.name, distribution, entry.value)
    for file in sorted((ROOT / KINDS[kind]).glob("*.py")):
        if not file.stem.startswith("_"):
            module = f"{KINDS[kind]}.{file.stem}"
            found[file.stem] = Source(file.stem, "built-in", module, file, _summary(file))
    return found


def _summary(file: Path) -> str:
    """First docstring line of a file, read without running it; empty if the file does not parse."""
    try:
        doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    except (OSError, SyntaxError, ValueError):
        return ""
    return (doc or "").partition("\n")[0]


def load(kind: str, name: str) -> Any:
    """The class registered under a name, importing its plugin on the first request.

    Raises:
        UserError: No such plugin (with the nearest names), or it fails to import or to register itself.
    """
    load_environment_plugins()
    if name in _classes[kind]:
        return _classes[kind][name]
    found = sources(kind)
    if name not in found:
        raise unknown_name(kind, name, found)
    source = found[name]
    module, _, attribute = source.module.partition(":")
    try:
        loaded = importlib.import_module(module)
        if attribute:
            getattr(loaded, attribute)
    except UserError:
        raise
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, SystemExit)) and not isinstance(error, SystemExit):
            raise
        raise UserError(
            f"The {kind} {name!r} of {source.origin} ({module}) does not load: {type(error).__name__}: {error}",
            f"Mend or uninstall it; every other {kind} goes on working.",
        ) from error
    if name not in _classes[kind]:
        raise UserError(
            f"{source.origin} offers the {kind} {name!r}, but importing {module} registers no class of that name.",
            f'Decorate the class with @register_{kind}("{name}").',
        )
    return _classes[kind][name]


def load_environment_plugins() -> None:
    """Load the files listed in `HARNESS_PLUGINS` (separated as in PATH); a broken one is a warning."""
    for text in filter(None, os.environ.get("HARNESS_PLUGINS", "").split(os.pathsep)):
        try:
            load_file(Path(text))
        except UserError as error:
            logger.warning("plugin %s is left out: %s", text, " ".join(error.message.split()))


def load_file(path: Path) -> list[str]:
    """Import a loose plugin file and return the names that it registered.

    Raises:
        UserError: The file is missing, fails to import, or registers nothing.
    """
    path = path.resolve()
    if path in _loaded_files:
        return [s.name for kind in KINDS for s in _loose[kind].values() if s.file == path]
    if not path.is_file():
        raise UserError(f"The plugin file {path} does not exist.")
    before = {kind: dict(_classes[kind]) for kind in KINDS}
    module_name = f"harness_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"The plugin file {path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(module_name, None)
        for kind in KINDS:  # what it registered before it failed must not stay
            for name in set(_classes[kind]) - set(before[kind]):
                del _classes[kind][name], _files[kind][name]
        if isinstance(error, (KeyboardInterrupt, UserError)):
            raise
        raise UserError(f"The plugin file {path} does not load: {type(error).__name__}: {error}") from error
    names = []
    for kind in KINDS:
        for name in sorted(set(_classes[kind]) - set(before[kind])):
            _loose[kind][name] = Source(name, str(path), "", path, _summary(path))
            names.append(name)
    if not names:
        sys.modules.pop(module_name, None)
        raise UserError(
            f"The plugin file {path} registers no method and no protocol.",
            'Decorate the class with @register_method("name") from harness.api.',
        )
    _loaded_files.add(path)
    return names


def origin_of(kind: str, name: str) -> str:
    """`built-in`, a distribution's name or a file's path."""
    return sources(kind)[name].origin
