"""Plugins in single files: those of `--plugin` and of the environment variable `HARNESS_PLUGINS`."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from pathlib import Path

from harness.base.errors import UserError
from harness.base.packages import serve_plugin_folder
from harness.plugins.registered import KINDS, loading, names_of, warn_once
from harness.plugins.registered_transforms import transforms_of
from harness.plugins.sources import Source, installed_sources, summary_of

loose: dict[str, dict[str, Source]] = {kind: {} for kind in KINDS}
"""Sources of loaded files by kind and name."""
loaded_files: set[Path] = set()
_failed_files: set[Path] = set()


def load_environment_plugins() -> None:
    """Load the files listed in `HARNESS_PLUGINS` (separated as in PATH); a broken file is a warning."""
    for text in filter(None, os.environ.get("HARNESS_PLUGINS", "").split(os.pathsep)):
        path = Path(text)
        if not path.is_file():
            warn_once(f"the plugin file {text} of HARNESS_PLUGINS is left out: it does not exist")
        elif path.resolve() not in loaded_files:
            load_or_warn(path)


def load_or_warn(path: Path) -> None:
    """Import a loose plugin file; a file that does not load is a warning, logged once, and is not tried again.

    Raises:
        UserError: The file does not exist.
    """
    # Several steps of a command load the plugins; the user needs the warning once.
    if path.resolve() in _failed_files:
        return
    try:
        load_file(path)
    except UserError as error:
        if not path.is_file():
            raise
        _failed_files.add(path.resolve())
        warn_once(f"left out: {' '.join(error.message.split())}" + (f" {error.hint}" if error.hint else ""))


def load_file(path: Path) -> list[str]:
    """Import a loose plugin file and return the names that it registered. It may import modules of its own folder.

    Raises:
        UserError: The file is missing, fails to import, registers nothing, or a name of an installed package.
    """
    path = path.resolve()
    # A second import would make other classes, which would replace the registered ones.
    if path in loaded_files:
        return [source.name for kind in KINDS for source in loose[kind].values() if source.file == path]
    if not path.is_file():
        raise UserError(f"The plugin file {path} does not exist.", "Give the path of a .py file.")
    # Two files of one name in two folders are two modules; the stem alone could also hide an installed package.
    module_name = f"harness_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"The plugin file {path} is not a Python file.", "Give the path of a .py file.")
    module = importlib.util.module_from_spec(spec)
    # Before it runs: dataclasses and typing look up the module of a class in `sys.modules` while the class is made.
    sys.modules[module_name] = module
    try:
        with loading(f"The plugin file {path}", "Fix the file; all other plugins keep working.", path):
            serve_plugin_folder(path)
            spec.loader.exec_module(module)
            names = {kind: names_of(kind, path) for kind in KINDS}
            _refuse_installed_names(names, path)
    # Also for SystemExit and Ctrl-C: a module that ran halfway must not be found by the next import.
    except BaseException:
        sys.modules.pop(module_name, None)
        raise
    if not any(names.values()) and not transforms_of(path):
        sys.modules.pop(module_name, None)
        raise UserError(
            f"The plugin file {path} registers no method, no protocol and no view transform.",
            'Decorate the class with @register_method("name") from harness.api.',
        )
    for kind in KINDS:
        loose[kind] |= {name: Source(name, str(path), "", path, summary_of(path)) for name in names[kind]}
    loaded_files.add(path)
    return [name for kind in KINDS for name in names[kind]]


def _refuse_installed_names(names: dict[str, list[str]], path: Path) -> None:
    for kind in KINDS:
        installed = installed_sources(f"harness.{KINDS[kind]}") if names[kind] else {}
        for name in set(names[kind]) & set(installed):
            if installed[name].file != path:  # the file of an installed package may be given as a plugin as well
                raise UserError(
                    f"the {kind} {name!r} is already offered by {installed[name].origin}",
                    "Rename one of the two, or uninstall the package.",
                )


def forget_files(keep: set[Path]) -> None:
    """Forget loaded files, except those to keep, and the files that failed to load."""
    for kind in KINDS:
        for name in [name for name, source in loose[kind].items() if source.file not in keep]:
            del loose[kind][name]
    loaded_files.intersection_update(keep)
    _failed_files.clear()
