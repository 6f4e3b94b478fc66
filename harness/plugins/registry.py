"""Names to plugins: built-in files, entry points of installed packages, and loose files, imported on first use.

Order of discovery: files in `methods/` and `protocols/` (the file's stem is the name), then entry points in the groups
`harness.methods` and `harness.protocols`, then loose files (`harness.plugins.loose_files`). A name belongs to the first
of them that has it. A plugin that cannot be imported is a warning with its name and origin; listing and all other
plugins keep working.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar, overload

from harness.base.errors import UserError, unknown_name
from harness.plugins.loose_files import load_environment_plugins, loose
from harness.plugins.registered import KINDS, ROOT, classes, files, loading, warn_once
from harness.plugins.sources import Source, installed_sources, summary_of
from harness.spec import Column, Protocol
from harness.spec.method_spec import MethodSpec, spec_problem

Kind = Literal["method", "protocol"]
M = TypeVar("M", bound=MethodSpec)


def sources(kind: str) -> dict[str, Source]:
    """All plugins of a kind by name, found without importing any; plugins with a problem are logged once."""
    # In reverse order of precedence: later sources replace earlier ones of the same name.
    by_name: dict[str, Source] = dict(loose[kind])
    installed = installed_sources(f"harness.{KINDS[kind]}")
    by_name |= installed
    for name, file in _built_in(kind).items():
        # An installed package must not replace a built-in method, whose name stands for its published numbers.
        if name in installed:
            other = installed[name]
            problem = f"{name!r} is a built-in {kind}, and its name cannot be taken"
            _warn(kind, replace(other, problem=other.problem or problem))
        by_name[name] = Source(name, "built-in", f"{KINDS[kind]}.{name}", file, summary_of(file))
    for source in by_name.values():
        if source.problem:
            _warn(kind, source)
    return by_name


def _warn(kind: str, source: Source) -> None:
    warn_once(f"the {kind} {source.name!r} of {source.origin} is left out: {source.problem}")


@overload
def load(kind: Literal["method"], name: str) -> type: ...
@overload
def load(kind: Literal["protocol"], name: str) -> type[Protocol]: ...
def load(kind: Kind, name: str) -> type:
    """The class registered under a name; imports its plugin on first use.

    Raises:
        UserError: There is no such plugin (with the nearest names), it fails to import, or it does not register itself.
    """
    load_environment_plugins()
    if name not in classes[kind]:
        known = sources(kind)
        if name not in known:
            raise unknown_name(kind, name, known)
        _import_source(kind, known[name])
    cls = classes[kind][name]
    return _checked_protocol(name, cls) if kind == "protocol" else cls


def require_known(kind: Kind, names: Iterable[str]) -> None:
    """Raise an error for the first name that no plugin has, without importing a plugin.

    Raises:
        UserError: There is no such plugin; with the nearest names.
    """
    load_environment_plugins()
    # Reading the metadata of all installed packages for entry points takes longer than all other checks of a request.
    known = {*classes[kind], *_built_in(kind)}
    for name in names:
        if name not in known and name not in (plugins := sources(kind)):
            raise unknown_name(kind, name, plugins)


def _built_in(kind: str) -> dict[str, Path]:
    """The files of the built-in plugins of a kind by name."""
    paths = sorted((ROOT / KINDS[kind]).glob("*.py"))
    return {file.stem: file for file in paths if not file.stem.startswith("_")}


def method_spec(name: str) -> type[MethodSpec]:
    """The specification of a method; that of a built-in method is found without importing torch.

    Raises:
        UserError: There is no such plugin, it fails to import, or its class is not a method.
    """
    specs = ROOT / KINDS["method"] / "_specs"
    if name.startswith("_") or name not in {file.stem for file in specs.glob("*.py")}:
        cls = load("method", name)
        # Importing a subclass of ClipMethod imports its module. This folder does not: it never needs torch.
        base: type[MethodSpec] | None = getattr(sys.modules.get("harness.engine.method"), "ClipMethod", None)
        return checked_method(name, cls, base)
    module = f"{KINDS['method']}.{specs.name}.{name}"
    with loading(f"The built-in method {name!r} ({module})", "Install the harness again.", None):
        for cls in vars(importlib.import_module(module)).values():
            if isinstance(cls, type) and issubclass(cls, MethodSpec) and (cls.__module__, cls.name) == (module, name):
                return cls
        raise ImportError(f"no subclass of MethodSpec in it is named {name!r}")


def checked_method(name: str, cls: type, base: type[M] | None) -> type[M]:
    """The class registered as a method, if it is a method.

    Args:
        name: Registered name.
        cls: Registered class.
        base: `ClipMethod`; None if its module was not imported, so that no class derives from it.

    Raises:
        UserError: The class does not derive from `base`, or has a card, recipes or options of a wrong type.
    """
    if base is not None and isinstance(cls, type) and issubclass(cls, base):
        problem, hint = spec_problem(cls)
        if not problem:
            return cls
    else:
        problem = f"is a {cls!r}, expected a subclass of harness.api.ClipMethod"
        hint = "Write `class Mine(ClipMethod): ...`."
    raise UserError(f"The method {name!r} of {origin_of('method', name)} {problem}.", hint)


def _import_source(kind: str, source: Source) -> None:
    """Import the module of a source and check that it registers the name."""
    subject = f"The {kind} {source.name!r} of {source.origin} ({source.module})"
    hint = f"Fix or uninstall it; every other {kind} keeps working."
    if source.problem:
        raise UserError(f"{subject} does not load: {source.problem}.", hint)
    module, _, attribute = source.module.partition(":")
    with loading(subject, hint, source.file):
        loaded = importlib.import_module(module)
        for part in filter(None, attribute.split(".")):
            loaded = getattr(loaded, part)
    if source.name not in classes[kind]:
        finding = "file" if source.origin == "built-in" else "entry point"
        raise UserError(
            f"{subject}: the {finding} exists, but importing {module} did not register a {kind} of that name.",
            f'Decorate the class with @register_{kind}("{source.name}").',
        )


def _checked_protocol(name: str, cls: type) -> type[Protocol]:
    """The class registered as a protocol, if it is a complete subclass of `Protocol` with a title and columns.

    Raises:
        UserError: It is not.
    """
    subject = f"The protocol {name!r} ({files['protocol'][name]})"
    if not (isinstance(cls, type) and issubclass(cls, Protocol)):
        raise UserError(
            f"{subject} is a {cls!r}, expected a subclass of harness.api.Protocol.",
            "Write `class Mine(Protocol): ...`.",
        )
    if missing := sorted(getattr(cls, "__abstractmethods__", ())):
        raise UserError(f"{subject} does not define {', '.join(missing)}.", "See docs/write_a_method.md, Protocols.")
    if not cls.title or not cls.columns or not all(isinstance(c, Column) for c in cls.columns):
        raise UserError(f"{subject} has no title or no columns.", "Set `title` and `columns = (Column(...), ...)`.")
    return cls


def origin_of(kind: str, name: str) -> str:
    """`built-in`, a distribution's name and version, or a file's path."""
    return sources(kind)[name].origin


def recorded_origin(kind: str, name: str) -> str:
    """The origin as records state it: of a loose file its name without its folder on this machine."""
    source = sources(kind)[name]
    return source.origin if source.module else f"file {Path(source.origin).name}"
