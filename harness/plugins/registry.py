"""Names to plugins: built-in files, entry points of installed packages, and loose files, loaded only when asked for.

The order of discovery: files in `methods/` and `protocols/` (the file's stem is the name), then entry points in the
groups `harness.methods` and `harness.protocols`, then files given with `--plugin` or in `HARNESS_PLUGINS`. A name
belongs to the first that has it. A plugin that cannot be loaded is a warning that names it and where it comes from; it
never breaks listing, or another plugin.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from harness.base.errors import UserError, described, unknown_name
from harness.base.packages import serve_plugin_folder
from harness.plugins.sources import Source, installed_sources, is_name, summary_of
from harness.spec.method_spec import MethodSpec, spec_problem

logger = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]
KINDS = {"method": "methods", "protocol": "protocols"}
T = TypeVar("T")

_classes: dict[str, dict[str, type]] = {"method": {}, "protocol": {}}
_files: dict[str, dict[str, Path]] = {"method": {}, "protocol": {}}
_loose: dict[str, dict[str, Source]] = {"method": {}, "protocol": {}}
_loaded_files: set[Path] = set()
_warned: set[str] = set()


def register_method(name: str, version: int | None = None) -> Callable[[type[T]], type[T]]:
    """A class decorator that registers a `ClipMethod` under a name.

    Args:
        name: Of the method.
        version: Changes when the method's numbers would; None for the `version` that the class sets, or 1.
    """
    return _register("method", name, version)


def register_protocol(name: str, version: int | None = None) -> Callable[[type[T]], type[T]]:
    """A class decorator that registers a `Protocol` under a name.

    Args:
        name: Of the protocol.
        version: Changes when the protocol's numbers would; None for the `version` that the class sets, or 1.
    """
    return _register("protocol", name, version)


def _register(kind: str, name: str, version: int | None) -> Callable[[type[T]], type[T]]:
    def decorate(cls: type[T]) -> type[T]:
        file = Path(sys.modules[cls.__module__].__file__ or "").resolve()
        if not is_name(name):
            raise UserError(f"{name!r} is no {kind} name ({file}).", "Use letters, digits, '_' and '-'.")
        builtin = ROOT / KINDS[kind] / f"{name}.py"
        if builtin.is_file() and file != builtin:
            raise UserError(f"{name!r} is a built-in {kind}; {file} cannot take its name.", "Choose another name.")
        known = _files[kind].get(name)
        if known is not None and known != file:
            raise UserError(
                f"The {kind} {name!r} of {file} is already registered by {known}.", "Give one of them another name."
            )
        checked = _version(cls, f"The {kind} {name!r} ({file})", version)
        cls.name, cls.version = name, checked  # type: ignore[attr-defined]
        _classes[kind][name] = cls
        _files[kind][name] = file
        return cls

    return decorate


def _version(cls: type, what: str, given: int | None) -> int:
    """The version of a plugin: the one that its decorator or its class states, else 1.

    The class states it itself or inherits it from a base class of its own. The version of another registered plugin
    that it extends is about the numbers of that one.

    Raises:
        UserError: No whole number from 1, or the decorator and the class state different ones.
    """
    bases = cls.__mro__ if isinstance(cls, type) else ()
    others = {one for base in bases if base is not cls and is_registered(base) for one in base.__mro__}
    own = [base for base in bases if base not in others and base.__module__.partition(".")[0] != "harness"]
    stated = next((vars(base)["version"] for base in own if "version" in vars(base)), None)
    for version in (given, stated):
        if version is not None and (type(version) is not int or version < 1):
            raise UserError(
                f"{what} has the version {version!r}, expected a whole number from 1.", "Set `version = 1`."
            )
    if given is not None and stated is not None and given != stated:
        raise UserError(
            f"{what} has two versions: {stated} on the class and {given} in its decorator.",
            "Leave `version` out of one of them.",
        )
    return given or stated or 1


def sources(kind: str) -> dict[str, Source]:
    """All plugins of a kind by name, found without importing any; what cannot be loaded is said once, as a warning."""
    found: dict[str, Source] = dict(_loose[kind])
    installed = installed_sources(f"harness.{KINDS[kind]}")
    found |= installed
    for file in sorted((ROOT / KINDS[kind]).glob("*.py")):
        if file.stem.startswith("_"):
            continue
        if file.stem in installed:
            theirs = installed[file.stem]
            problem = f"{file.stem!r} is a built-in {kind}, and its name cannot be taken"
            _warn(kind, replace(theirs, problem=theirs.problem or problem))
        module = f"{KINDS[kind]}.{file.stem}"
        found[file.stem] = Source(file.stem, "built-in", module, file, summary_of(file))
    for source in found.values():
        if source.problem:
            _warn(kind, source)
    return found


def _warn(kind: str, source: Source) -> None:
    _warn_once(f"the {kind} {source.name!r} of {source.origin} is left out: {source.problem}")


def _warn_once(line: str) -> None:
    if line not in _warned:
        _warned.add(line)
        logger.warning("%s", line)


def load(kind: str, name: str) -> Any:
    """The class registered under a name, importing its plugin on the first request.

    Raises:
        UserError: No such plugin (with the nearest names), or it fails to import or to register itself.
    """
    load_environment_plugins()
    if name not in _classes[kind]:
        found = sources(kind)
        if name not in found:
            raise unknown_name(kind, name, found)
        _import_source(kind, found[name])
    cls = _classes[kind][name]
    if kind == "protocol":
        _check_protocol(name, cls)
    return cls


def method_spec(name: str) -> type[MethodSpec]:
    """The specification of a method; that of a built-in one is found without importing torch.

    Raises:
        UserError: No such plugin, one that fails to import, or a class that is not a method.
    """
    specs = ROOT / KINDS["method"] / "_specs"
    if name.startswith("_") or name not in {file.stem for file in specs.glob("*.py")}:
        return checked_method(name, load("method", name))  # type: ignore[no-any-return]
    module = f"{KINDS['method']}.{specs.name}.{name}"
    with _loading(f"The built-in method {name!r} ({module})", "Install the harness again.", None):
        found = vars(importlib.import_module(module)).values()
        for cls in found:
            if isinstance(cls, type) and issubclass(cls, MethodSpec) and (cls.__module__, cls.name) == (module, name):
                return cls
        raise ImportError(f"no subclass of MethodSpec in it is named {name!r}")


def checked_method(name: str, cls: Any) -> Any:
    """The class registered as a method, if it is one.

    Raises:
        UserError: It is not a subclass of `ClipMethod`, or has a card, recipes or options of a wrong type.
    """
    engine = sys.modules.get("harness.engine.method")  # without it there is no subclass of ClipMethod
    if engine is None or not (isinstance(cls, type) and issubclass(cls, engine.ClipMethod)):
        problem = f"is a {cls!r}, expected a subclass of harness.api.ClipMethod"
        hint = "Write `class Mine(ClipMethod): ...`."
    else:
        problem, hint = spec_problem(cls)
    if problem:
        raise UserError(f"The method {name!r} of {origin_of('method', name)} {problem}.", hint)
    return cls


def _import_source(kind: str, source: Source) -> None:
    """Import the module of a source and see that it registers the name."""
    what = f"The {kind} {source.name!r} of {source.origin} ({source.module})"
    hint = f"Mend or uninstall it; every other {kind} goes on working."
    if source.problem:
        raise UserError(f"{what} does not load: {source.problem}.", hint)
    module, _, attribute = source.module.partition(":")
    with _loading(what, hint, source.file):
        loaded = importlib.import_module(module)
        for part in filter(None, attribute.split(".")):
            loaded = getattr(loaded, part)
    if source.name not in _classes[kind]:
        raise UserError(
            f"{what} is offered, but importing {module} registers no class of that name.",
            f'Decorate the class with @register_{kind}("{source.name}").',
        )


@contextmanager
def _loading(what: str, hint: str, file: Path | None) -> Iterator[None]:
    """Around the import of a plugin: it writes nothing to stdout, and a failure leaves nothing registered.

    Raises:
        UserError: One line that says what does not load and why; whatever the plugin raised, `SystemExit` included.
    """
    try:
        with redirect_stdout(sys.stderr):  # stdout is for data
            yield
    except BaseException as error:
        for kind in KINDS:  # only what this file registered: others it imported on its way are sound
            for name in [n for n, of in _files[kind].items() if of == file]:
                del _classes[kind][name], _files[kind][name]
        if isinstance(error, KeyboardInterrupt):
            raise
        said = described(error, file).rstrip(".")
        raise UserError(
            f"{what} does not load: {said}.", error.hint if isinstance(error, UserError) and error.hint else hint
        ) from error


def _check_protocol(name: str, cls: type) -> None:
    """A registered protocol is a complete subclass of `Protocol` with a title and columns.

    Raises:
        UserError: It is not.
    """
    from harness.spec import Column, Protocol

    what = f"The protocol {name!r} ({_files['protocol'][name]})"
    if not (isinstance(cls, type) and issubclass(cls, Protocol)):
        raise UserError(
            f"{what} is a {cls!r}, expected a subclass of harness.api.Protocol.", "Write `class Mine(Protocol): ...`."
        )
    if missing := sorted(getattr(cls, "__abstractmethods__", ())):
        raise UserError(f"{what} does not define {', '.join(missing)}.", "See docs/write_a_method.md, Protocols.")
    if not cls.title or not cls.columns or not all(isinstance(c, Column) for c in cls.columns):
        raise UserError(f"{what} has no title or no columns.", "Set `title` and `columns = (Column(...), ...)`.")


def load_environment_plugins() -> None:
    """Load the files listed in `HARNESS_PLUGINS` (separated as in PATH); a broken one is a warning."""
    for text in filter(None, os.environ.get("HARNESS_PLUGINS", "").split(os.pathsep)):
        path = Path(text)
        if not path.is_file():
            _warn_once(f"the plugin file {text} of HARNESS_PLUGINS is left out: it does not exist")
        elif path.resolve() not in _loaded_files:
            load_or_warn(path)


def load_or_warn(path: Path) -> None:
    """Import a loose plugin file; one that does not load is a warning, said once, and is not tried again.

    Raises:
        UserError: The file does not exist.
    """
    if f"{path.resolve()}" in _warned:
        return
    try:
        load_file(path)
    except UserError as error:
        if not path.is_file():
            raise
        _warned.add(f"{path.resolve()}")
        _warn_once(f"left out: {' '.join(error.message.split())}" + (f" {error.hint}" if error.hint else ""))


def load_file(path: Path) -> list[str]:
    """Import a loose plugin file and return the names that it registered. It may import modules that lie beside it.

    Raises:
        UserError: The file is missing, fails to import, registers nothing, or a name of an installed package.
    """
    path = path.resolve()
    if path in _loaded_files:
        return [s.name for kind in KINDS for s in _loose[kind].values() if s.file == path]
    if not path.is_file():
        raise UserError(f"The plugin file {path} does not exist.")
    module_name = f"harness_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"The plugin file {path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        with _loading(f"The plugin file {path}", "Mend it; every other plugin goes on working.", path):
            serve_plugin_folder(path)
            spec.loader.exec_module(module)
            names = {kind: sorted(name for name, of in _files[kind].items() if of == path) for kind in KINDS}
            _refuse_installed_names(names, path)
    except BaseException:
        sys.modules.pop(module_name, None)
        raise
    if not any(names.values()):
        sys.modules.pop(module_name, None)
        raise UserError(
            f"The plugin file {path} registers no method and no protocol.",
            'Decorate the class with @register_method("name") from harness.api.',
        )
    for kind in KINDS:
        _loose[kind] |= {name: Source(name, str(path), "", path, summary_of(path)) for name in names[kind]}
    _loaded_files.add(path)
    return [name for kind in KINDS for name in names[kind]]


def _refuse_installed_names(names: dict[str, list[str]], path: Path) -> None:
    for kind in KINDS:
        installed = installed_sources(f"harness.{KINDS[kind]}") if names[kind] else {}
        for name in set(names[kind]) & set(installed):
            if installed[name].file != path:  # the file of an installed package may be given as a plugin as well
                raise UserError(
                    f"the {kind} {name!r} is already offered by {installed[name].origin}",
                    "Give one of them another name, or uninstall the package.",
                )


def is_registered(cls: type) -> bool:
    """Whether a class is a registered method or protocol."""
    return any(cls is known for kind in KINDS for known in _classes[kind].values())


def origin_of(kind: str, name: str) -> str:
    """`built-in`, a distribution's name and version, or a file's path."""
    return sources(kind)[name].origin


def recorded_origin(kind: str, name: str) -> str:
    """The origin as records state it: of a loose file only its name, not its place on this machine."""
    source = sources(kind)[name]
    return source.origin if source.module else f"file {Path(source.origin).name}"
