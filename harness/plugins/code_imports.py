"""The modules that a plugin imports from its own folder or package, found without running anything."""

from __future__ import annotations

import ast
import sys
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from harness.base.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
BUILT_IN = "methods"
OURS = ("harness", "methods", "protocols", "results", "reports")


@dataclass(frozen=True)
class ModuleFolder:
    """A folder in which modules of a plugin are found.

    Args:
        folder: Folder of the package `top`; without a package, the folder in which modules are found by their name.
        top: Name of the plugin's package; empty for a single module.
        names: The modules of `folder` that belong to the plugin, if other packages are installed there; None for all.
        loaded: Whether the plugin was imported, so that a name means the module that was imported under it.
    """

    folder: Path
    top: str = ""
    names: frozenset[str] | None = None
    loaded: bool = False

    def find(self, module: str) -> list[Path]:
        """The file of a module; none if the module is not in this folder.

        Two files are returned if another module of the same name, which is not installed, was imported instead of the
        module of this folder. The author may mean either, and an edit of the imported module must change the hash.
        """
        first, *rest = module.split(".")
        if self.top:
            return _file(self.folder, rest) if first == self.top else []
        if (self.names is not None and first not in self.names) or (self.folder == ROOT and first in OURS):
            return []
        # Python never looks for these in a folder, so that a file `time.py` beside the plugin is not imported.
        if first in sys.builtin_module_names:
            # Looked up on disk and not only in `sys.modules`: a module that is imported later, inside of a function,
            # counts too.
            return []
        files = _file(self.folder, [first, *rest])
        other = _imported_file(first) if files and self.loaded else None
        if other is None or other.is_relative_to(self.folder):
            return files
        is_ours = first in OURS and other.is_relative_to(ROOT / first)
        if is_ours or is_installed(other, first):
            return []
        inner = other.parent if other.name == "__init__.py" else other.with_suffix("")
        return files + _file(inner.parent, [first, *rest])


def _imported_file(module: str) -> Path | None:
    """The file of an imported module, or the folder of a package without one; None if it was not imported."""
    loaded = sys.modules.get(module)
    file = getattr(loaded, "__file__", None) or next(iter(getattr(loaded, "__path__", ())), None)
    return Path(file).resolve() if file else None


@dataclass(frozen=True)
class Module:
    """A module of a plugin.

    Args:
        folder: Folder in which it is found.
        name: Dotted name in that folder.
        file: File of the module.
    """

    folder: ModuleFolder
    name: str
    file: Path

    @property
    def package(self) -> str:
        """The package that relative imports in it start from."""
        return self.name if self.file.name == "__init__.py" else self.name.rpartition(".")[0]


def imported_module(module: str, file: Path) -> Module:
    """An imported module with the folder in which its own modules are found."""
    if file.is_relative_to(ROOT / BUILT_IN):
        return in_package(file, ROOT / BUILT_IN)
    top, dot, _ = module.partition(".")
    if dot or file.name == "__init__.py":
        folders = [Path(folder).resolve() for folder in getattr(sys.modules.get(top), "__path__", [])]
        depth = module.count(".") + (file.name == "__init__.py") - 1
        folder = next((folder for folder in folders if file.is_relative_to(folder)), file.parents[depth])
        return Module(ModuleFolder(folder, top), module, file)
    names = _names_of_distribution(file) if _is_installation(file.parent) else None
    return Module(ModuleFolder(file.parent, "", names, loaded=True), file.stem, file)


def in_package(file: Path, folder: Path) -> Module:
    """A file of the package in a folder, named by its path below the folder."""
    inner = file.relative_to(folder).with_suffix("").parts
    parts = inner[:-1] if inner[-1] == "__init__" else inner
    return Module(ModuleFolder(folder, folder.name), ".".join((folder.name, *parts)), file)


def is_installed(file: Path, module: str) -> bool:
    """Whether a module of this name and file lies where packages are installed, or belongs to Python."""
    depth = module.count(".") + (file.name == "__init__.py")
    return _is_installation(file.parents[depth])


@lru_cache(maxsize=64)
def _is_installation(folder: Path) -> bool:
    python = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
    known = folder in python or folder.name in ("site-packages", "dist-packages", "lib-dynload")
    return known or any(folder.glob("*.dist-info"))


def _names_of_distribution(file: Path) -> frozenset[str]:
    """The top-level modules that were installed together with a module, the module included, from pip's RECORD file."""
    for record in file.parent.glob("*.dist-info/RECORD"):
        names = [line.partition(",")[0] for line in record.read_text(encoding="utf-8", errors="replace").splitlines()]
        if file.name in names:
            return frozenset(name.partition("/")[0].removesuffix(".py") for name in names)
    return frozenset({file.stem})


def _file(folder: Path, parts: list[str]) -> list[Path]:
    """The file of a module below a folder, none if it does not exist; the folder's `__init__.py` for no parts."""
    package = folder.joinpath(*parts, "__init__.py")
    module = folder.joinpath(*parts[:-1], f"{parts[-1]}.py") if parts else package
    return [file for file in (package, module) if file.is_file()][:1]


def follow(starts: Iterable[Module]) -> list[tuple[Module, bytes]]:
    """Modules with all modules that they import from their folders, transitively, each with its source.

    Imports from the built-in methods are followed as well, imports from other folders are not.

    Raises:
        UserError: A file that cannot be read or does not parse.
    """
    built_in = ModuleFolder(ROOT / BUILT_IN, BUILT_IN)
    modules: dict[Path, tuple[Module, bytes]] = {}
    pending: list[tuple[Module, Path | None]] = [(start, None) for start in starts]
    while pending:
        module, importer = pending.pop()
        if module.file in modules:
            continue
        source, imported = _read(module, importer)
        modules[module.file] = module, source
        parent = module.name.rpartition(".")[0]
        names = {prefix for name in (parent, *imported) if name for prefix in _prefixes(name)}
        # Plugins reuse blocks and recipes of the built-in methods, whose edits change the plugin's numbers.
        folders = [module.folder] if module.folder.top == BUILT_IN else [module.folder, built_in]
        for name in sorted(names):
            for folder in folders:
                pending += [(Module(folder, name, file), module.file) for file in folder.find(name)]
    return list(modules.values())


def _prefixes(name: str) -> Iterator[str]:
    """`a`, `a.b` and `a.b.c` of `a.b.c`: importing it runs all of them."""
    parts = name.split(".")
    return (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))


def _read(module: Module, importer: Path | None) -> tuple[bytes, frozenset[str]]:
    """The source of a module, and the dotted names of its imports."""
    try:
        source = module.file.read_bytes()
        return source, _imports(source, module.package)
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except SyntaxError as error:
        problem = f"does not parse: {error.msg}, line {error.lineno}"
    except (ValueError, RecursionError, MemoryError) as error:  # a NUL byte; nested too deeply for the parser
        problem = f"does not parse: {error}"
    by = f", which {importer} imports," if importer else ""
    raise UserError(f"{module.file}{by} {problem}.", "Fix the file: the hash of its code is a part of every result.")


def parsed(source: bytes) -> ast.Module:
    """The syntax tree of a file's content. Warnings of the parser are suppressed: the import shows them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


@lru_cache(maxsize=256)
def _imports(source: bytes, package: str) -> frozenset[str]:
    """Dotted names of everything that a file may import, at the top or inside of functions, as literals only.

    `from a import b` gives `a` and `a.b`, as `b` may be a module.
    """
    tree = parsed(source)
    names: set[str] = set()
    for node in ast.walk(tree):
        # At any depth: imports inside of functions run as well.
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute("." * node.level + (node.module or ""), package)
            names.update((base, *(f"{base}.{alias.name}" for alias in node.names if alias.name != "*")))
        elif isinstance(node, ast.Call):
            names.update(_imported_by_call(node, package))
    return frozenset(name for name in names if name and not name.startswith("."))


def _imported_by_call(call: ast.Call, package: str) -> list[str]:
    """The module of `importlib.import_module("literal")` and `__import__("literal")`."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if called not in ("import_module", "__import__"):
        return []
    positional = dict(zip(("name", "package"), call.args, strict=False))
    given = {keyword.arg: keyword.value for keyword in call.keywords} | positional
    literals = {key: value.value for key, value in given.items() if isinstance(value, ast.Constant)}
    names = {key: value for key, value in literals.items() if isinstance(value, str)}
    start = names.get("package", package) if called == "import_module" else package
    return [_absolute(names["name"], start)] if "name" in names else []


def _absolute(name: str, package: str) -> str:
    """A possibly relative name as an absolute one; empty if it leaves the package."""
    level = len(name) - len(name.lstrip("."))
    if not level:
        return name
    parts = package.split(".") if package else []
    if level > len(parts):
        return ""
    return ".".join([*parts[: len(parts) - level + 1], *filter(None, [name[level:]])])
