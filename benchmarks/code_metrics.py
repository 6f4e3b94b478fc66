"""Size, types and language of the product code, measured from its syntax trees.

    python benchmarks/code_metrics.py             # totals and one line per folder
    python benchmarks/code_metrics.py FOLDER ...  # and every place that exceeds a bound

`tests/test_code_metrics.py` holds the bounds.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("harness", "methods", "protocols", "results", "reports")
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 7
MAX_MODULE_LINES = 400
MAX_ROOT_FILES = 6
MAX_ANY_PER_1000 = 4.0
MAX_TYPE_IGNORE_PER_1000 = 1.3
LOOSE_NAMES = ("Any", "object", "cast")


@dataclass
class Measured:
    """Counts of one file or of a set of files.

    Args:
        lines: Physical lines.
        comments: Lines with a comment of their own or behind code, tool directives excluded.
        docstring_lines: Lines of docstrings.
        loose: (line, text) of each use of `Any`, of `object` as an annotation, of `cast`, and of each alias of them.
        ignored: Lines with `type: ignore`.
        long: (line, name, lines) of functions longer than `MAX_FUNCTION_LINES`.
        wide: (line, name, parameters) of functions with more than `MAX_PARAMETERS`.
        vague: (line, first words) of docstrings that begin with "What", or that contain "Whether" and "or not".
    """

    lines: int = 0
    comments: int = 0
    docstring_lines: int = 0
    functions: int = 0
    loose: list[tuple[int, str]] = field(default_factory=list)
    ignored: list[int] = field(default_factory=list)
    long: list[tuple[int, str, int]] = field(default_factory=list)
    wide: list[tuple[int, str, int]] = field(default_factory=list)
    vague: list[tuple[int, str]] = field(default_factory=list)

    def add(self, other: Measured) -> None:
        """Add the counts of other files."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def per_1000(self, count: int) -> float:
        """A count in 1,000 lines."""
        return 1000 * count / max(1, self.lines)


def product_files(root: Path = ROOT) -> list[Path]:
    """The Python files of the five packages, in order."""
    return sorted(path for package in PACKAGES for path in (root / package).rglob("*.py"))


def measure(path: Path) -> Measured:
    """The counts of one file."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    found = Measured(lines=len(text.splitlines()))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            if "type: ignore" in token.string:
                found.ignored.append(token.start[0])
            elif not re.match(r"#\s*(noqa|fmt:|type:|!)", token.string):
                found.comments += 1
    found.loose = sorted(loose_types(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            _measure_function(node, found)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            _measure_docstring(node, found)
    return found


def _measure_function(node: ast.FunctionDef | ast.AsyncFunctionDef, found: Measured) -> None:
    found.functions += 1
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    if length > MAX_FUNCTION_LINES:
        found.long.append((node.lineno, node.name, length))
    arguments = node.args
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    count = len([name for name in names if name not in ("self", "cls")])
    if count > MAX_PARAMETERS:
        found.wide.append((node.lineno, node.name, count))


def _measure_docstring(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, found: Measured
) -> None:
    doc = ast.get_docstring(node)
    if doc is None:
        return
    found.docstring_lines += len(doc.splitlines())
    first = doc.splitlines()[0]
    if first.startswith("What ") or re.match(r"Whether .*\bor not\b", first) or first.startswith("Whether besides"):
        found.vague.append((node.body[0].lineno, first[:70]))


def loose_types(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Uses of `Any`, of `object` as a type, of `cast`, and of module-level aliases of types that contain them."""
    aliases = set(LOOSE_NAMES)
    for node in tree.body:
        value, name = None, ""
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            value, name = node.value, node.targets[0].id
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            value, name = node.value, node.target.id
        if isinstance(value, ast.Name | ast.Subscript | ast.BinOp) and any(
            isinstance(part, ast.Name) and part.id in aliases for part in ast.walk(value)
        ):
            aliases.add(name)
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Call | ast.Name)]
    calls = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    seen: set[tuple[int, int]] = set()
    for node in nodes:
        if isinstance(node, ast.Name) and node.id in aliases and isinstance(node.ctx, ast.Load):
            if node.id == "object" and id(node) in calls:  # `object()` makes a value and is no type
                continue
            if (node.lineno, node.col_offset) not in seen:
                seen.add((node.lineno, node.col_offset))
                yield node.lineno, node.id


def root_files(root: Path = ROOT) -> list[str]:
    """The Python files at the root of `harness/`."""
    return sorted(path.name for path in (root / "harness").glob("*.py"))


def by_folder(files: list[Path], root: Path = ROOT) -> dict[str, Measured]:
    """The counts of each folder, its subfolders apart, and of all files under `total`."""
    folders: dict[str, Measured] = {}
    for path in files:
        one = measure(path)
        for name in (str(path.parent.relative_to(root)), "total"):
            folders.setdefault(name, Measured()).add(one)
    return dict(sorted(folders.items(), key=lambda item: (item[0] == "total", item[0])))


def _places(path: Path) -> Iterator[str]:
    found, name = measure(path), path.relative_to(ROOT)
    yield from (f"{name}:{line}: {text}" for line, text in found.loose)
    yield from (f"{name}:{line}: {function} has {n} lines" for line, function, n in found.long)
    yield from (f"{name}:{line}: {function} has {n} parameters" for line, function, n in found.wide)
    yield from (f"{name}:{line}: docstring {text!r}" for line, text in found.vague)
    yield from (f"{name}:{line}: type: ignore" for line in found.ignored)


def main() -> None:
    """Print the counts, and the places of the folders that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    arguments = parser.parse_args()
    heads = ("lines", "Any/1000", "ignore/1000", "comments/100", "docstrings/100", ">60 lines", ">7 par.", "vague")
    print(f"{'folder':32}" + "".join(f"{head:>15}" for head in heads))
    for name, m in by_folder(product_files()).items():
        rates = (m.per_1000(len(m.loose)), m.per_1000(len(m.ignored)), m.per_1000(m.comments) / 10)
        counts = (len(m.long), len(m.wide), len(m.vague))
        cells = [f"{m.lines}", *(f"{r:.1f}" for r in rates), f"{m.per_1000(m.docstring_lines) / 10:.1f}"]
        print(f"{name:32}" + "".join(f"{cell:>15}" for cell in [*cells, *map(str, counts)]))
    print(f"files at the root of harness/: {len(root_files())}")
    for folder in arguments.folders:
        for path in product_files():
            if path.is_relative_to(folder.resolve()):
                print(*_places(path), sep="\n")


if __name__ == "__main__":
    main()
