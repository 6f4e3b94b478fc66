"""Bounds on size, types and language of the product code; `benchmarks/code_metrics.py` measures and lists places."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from benchmarks import code_metrics
from benchmarks.code_metrics import Measured

FILES = code_metrics.product_files()


@pytest.fixture(scope="module")
def measured() -> dict[Path, Measured]:
    return {path.relative_to(code_metrics.ROOT): code_metrics.measure(path) for path in FILES}


@pytest.fixture(scope="module")
def total(measured: dict[Path, Measured]) -> Measured:
    whole = Measured()
    for one in measured.values():
        whole.add(one)
    return whole


def test_the_root_of_the_harness_holds_few_files() -> None:
    assert len(code_metrics.root_files()) <= code_metrics.MAX_ROOT_FILES


def test_functions_are_short_and_narrow(measured: dict[Path, Measured]) -> None:
    long = [f"{path}:{line} {name}: {n} lines" for path, one in measured.items() for line, name, n in one.long]
    wide = [f"{path}:{line} {name}: {n} parameters" for path, one in measured.items() for line, name, n in one.wide]
    assert not long + wide


@pytest.mark.slow
def test_bundles_have_few_fields_without_defaults() -> None:
    """A dataclass that only moves arguments out of a signature is no better: see `Job` and `Context`."""
    wide = []
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        named = re.search(r"class\s+(Job|Context|Session)\b", text)
        for node in ast.walk(ast.parse(text)) if named else ():
            if isinstance(node, ast.ClassDef) and node.name in ("Job", "Context", "Session"):
                required = [n for n in node.body if isinstance(n, ast.AnnAssign) and n.value is None]
                if len(required) > 8:
                    wide.append(f"{path.name}: {node.name} has {len(required)} fields")
    assert not wide


def test_modules_are_short(measured: dict[Path, Measured]) -> None:
    long = {str(path): one.lines for path, one in measured.items() if one.lines > code_metrics.MAX_MODULE_LINES}
    assert not long


def test_loose_types_are_rare(total: Measured) -> None:
    assert total.per_1000(len(total.loose)) <= code_metrics.MAX_ANY_PER_1000
    assert total.per_1000(len(total.ignored)) <= code_metrics.MAX_TYPE_IGNORE_PER_1000


def test_no_docstring_begins_with_what(measured: dict[Path, Measured]) -> None:
    assert not [f"{path}:{line} {text}" for path, one in measured.items() for line, text in one.vague]


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("from typing import Any\nx: Any = 1\n", 1),
        ("from typing import Any\nJson = dict[str, Any]\nx: Json = {}\ny: list[Json] = []\n", 3),
        ("def f(x: object) -> None: ...\n", 1),
        ("from typing import cast\nx = cast(int, y)\n", 1),
        ("marker = object()\n", 0),
        ("x: dict[str, object] = {}\n", 1),
        ("x: int = 1\n", 0),
    ],
)
def test_every_spelling_of_a_loose_type_counts(code: str, count: int) -> None:
    assert len(list(code_metrics.loose_types(ast.parse(code)))) == count


def test_the_measure_sees_long_wide_and_vague_functions(tmp_path: Path) -> None:
    body = "\n".join("    x = 1" for _ in range(60))
    text = f'def f(a, b, c, d, e, f, g, h):\n    """What it is."""\n{body}\n    return x  # type: ignore\n'
    (tmp_path / "m.py").write_text(text)
    found = code_metrics.measure(tmp_path / "m.py")
    assert (len(found.long), len(found.wide), len(found.vague), len(found.ignored)) == (1, 1, 1, 1)
