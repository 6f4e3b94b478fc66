"""Import of the packages beside `harness`, for any working directory and `sys.path`.

A user's folder may also contain modules named `methods`, `protocols`, `reports` or `results`, and Python would import
these first. A finder at the front of `sys.meta_path` finds our packages in the folder of the installation, and the
modules beside a loose plugin in the plugin's folder. `import harness` installs the finder. This module therefore
imports only `os` and `sys` at the top: Python has loaded both before it looks into the working directory.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec, PathFinder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import ModuleType

OURS = ("methods", "protocols", "reports", "results")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))  # noqa: PTH120


class PackageFinder:
    """A meta path finder for top-level modules with a fixed folder, independent of `sys.path`."""

    def __init__(self) -> None:
        self.homes = dict.fromkeys(OURS, ROOT)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module in its fixed folder; None for a module without a fixed folder.

        Raises:
            ModuleNotFoundError: A package of the installation is missing.
        """
        home = self.homes.get(name)
        spec = None if home is None else PathFinder.find_spec(name, [home], target)
        if spec is None and name in OURS:
            raise ModuleNotFoundError(
                f"The harness in {ROOT} is incomplete: it has no package {name!r}. Install clip-video-harness again.",
                name=name,
            )
        return spec


FINDER = PackageFinder()


def use_our_packages() -> None:
    """Install the finder, so that our packages are imported from the folder of `harness`.

    Raises:
        ImportError: Another module with the name of one of them was imported before.
    """
    for name in OURS:
        module = sys.modules.get(name)
        if module is not None and not _is_in(module, name, ROOT):
            file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), "an unknown file")
            raise ImportError(
                f"The module {name!r} of {file} was imported before harness and hides the package {name!r} that "
                f"belongs to harness ({ROOT}). Rename that file or folder, then start Python again.",
                name=name, path=file,
            )  # fmt: skip
    if FINDER not in sys.meta_path:
        sys.meta_path.insert(0, FINDER)


def _is_in(module: ModuleType, name: str, folder: str) -> bool:
    """Whether a module is the package `name` of a folder."""
    # Real paths, because an editable installation may reach the folder through a link.
    wanted = os.path.realpath(os.path.join(folder, name))  # noqa: PTH118
    return wanted in map(os.path.realpath, getattr(module, "__path__", ()))


def leave_working_directory() -> None:
    """Remove the working directory, which `python -m` puts first, from `sys.path`.

    Otherwise a file `inspect.py` or a folder `wandb/` there would be imported in place of the package of that name
    that our dependencies need. The folder of the installation stays in the path for child processes of Python.
    """
    # With -P or PYTHONSAFEPATH Python left the working directory out already.
    if not sys.flags.safe_path and sys.path and sys.path[0] in ("", _working_directory()):
        del sys.path[0]
    if ROOT not in sys.path:
        sys.path.append(ROOT)


def _working_directory() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:  # the working directory was removed
        return None


def serve_plugin_folder(file: Path) -> None:
    """Let a loose plugin import the modules of its folder, from any working directory.

    Modules that it imports by name are taken from its folder first. Modules that it imports by a computed name are
    taken from its folder last.

    Args:
        file: Absolute path of the plugin.

    Raises:
        UserError: A plugin of another folder imports another module of the same name from its folder.
    """
    from harness.base.errors import UserError

    folder = str(file.parent)
    for name in sorted(_imported_from_beside(file)):
        # The first plugin that imports a name keeps it: `sys.modules` has one module per name.
        home = FINDER.homes.setdefault(name, folder)
        if home not in (folder, ROOT):
            raise UserError(
                f"It imports {name!r} from its folder {folder}, but a plugin loaded before it imports another {name!r} "
                f"from {home}, and Python keeps one module per name.",
                f"Rename {name!r} in one of the two folders, or load the plugins in separate commands.",
            )
    if folder not in sys.path:
        sys.path.append(folder)


def _imported_from_beside(file: Path) -> set[str]:
    """Names of the modules in a file's folder that it imports, directly or through each other."""
    names: set[str] = set()
    waiting = [file]
    while waiting:
        for name in _imports(waiting.pop()):
            module, package = file.with_name(f"{name}.py"), file.with_name(name)
            if name in names or name in OURS or name == "harness":
                continue
            if (package / "__init__.py").is_file():
                # All files of a package, because any of its modules may be imported through it.
                waiting += sorted(package.rglob("*.py"))
            elif module.is_file():
                waiting.append(module)
            else:
                continue
            names.add(name)
    return names


def _imports(file: Path) -> Iterator[str]:
    """Top-level names of the modules that a file imports; none if it is not valid Python."""
    import ast

    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):  # the import itself will report it
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
