"""The rooms of the house: who may import whom, and that style checks pass."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("harness", "methods", "protocols", "results", "reports")
OPEN_MMLAB = {"mmengine", "mmaction", "mmcv"}
HEAVY = {"torch", "torchvision", "open_clip", "decord", "timm", *OPEN_MMLAB}
HARNESS_ROOMS = ("base", "spec", "machine", "plugins", "data", "cells", "engine", "running", "commands")
FILES = sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py"))


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """(module, at import time) of every import statement; TYPE_CHECKING blocks do not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, top: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.append((node.module or "", top))
            found.extend((f"{node.module}.{alias.name}", top) for alias in node.names)
        inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            visit(child, top and not inside)

    visit(tree, True)
    return found


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[0] == "harness" and len(parts) > 2 and parts[1] in HARNESS_ROOMS:
        return f"harness.{parts[1]}"
    return "harness" if parts[0] == "harness" else parts[0]


def allowed(path: Path, module: str) -> bool:
    """Whether a file of ours may import a module of ours."""
    room = room_of(path)
    if module == "harness" or module.startswith("harness.base"):
        return True
    if room == "results":
        return module.startswith(("results", "harness.spec"))
    if room == "reports":
        return module.startswith(("results", "reports", "harness.spec"))
    if room in ("methods", "protocols"):
        return module.startswith("harness.api") or module.startswith(f"{room}._")
    if room == "harness.base":
        return False
    if room == "harness.spec":
        return module.startswith(("harness.spec", "harness.plugins.registry"))
    if room == "harness.machine":
        return module.startswith(("harness.machine", "results"))
    if room == "harness.plugins":
        return module.startswith(("harness.plugins", "harness.spec", "harness.plugins.registry"))
    if room == "harness.cells":
        wanted = ("harness.cells", "harness.data", "harness.plugins", "harness.spec", "harness.machine.settings", "results")
        return module.startswith((*wanted, "harness.plugins.registry"))
    if room == "harness.data":
        return module.startswith(("harness.data", "harness.spec", "harness.machine.settings", "harness.plugins.registry", "results"))
    if room == "harness.engine":
        return not module.startswith(("methods", "protocols", "reports", "harness.commands", "harness.cli"))
    if room == "harness":
        return not module.startswith(("methods", "protocols", "reports"))
    return not module.startswith(("methods", "protocols"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_rule(path: Path) -> None:
    wrong = [m for m, _ in imports_of(path) if m.split(".")[0] in ROOMS and not allowed(path, m)]
    assert not wrong, f"{path.relative_to(ROOT)} may not import {wrong}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_packages_stay_in_the_engine(path: Path) -> None:
    room, relative = room_of(path), str(path.relative_to(ROOT))
    packages = {(m.split(".")[0], top) for m, top in imports_of(path)}
    if relative not in ("harness/engine/video/mm_pipeline.py", "harness/engine/training/mm_hooks.py", "harness/engine/video/mm_zoo.py"):
        assert not {p for p, _ in packages} & OPEN_MMLAB, (
            "only harness/engine/mm*.py import mmengine, mmaction2 or mmcv"
        )
    if room in ("results", "reports"):
        assert not {p for p, _ in packages} & HEAVY
    if room == "harness.data":  # a decoder may be opened inside a function; torch never
        assert "torch" not in {p for p, _ in packages}
        assert not {p for p, top in packages if top} & HEAVY
    if room in ("harness", "harness.commands"):
        assert not {p for p, top in packages if top} & HEAVY
    if room in ("harness.base", "harness.spec", "harness.machine", "harness.plugins", "harness.cells"):
        assert not {p for p, _ in packages} & HEAVY


def test_every_file_has_one_purpose_and_no_catch_all_name() -> None:
    names = {p.stem.strip("_") for p in FILES}
    assert not names & {"utils", "util", "common", "misc", "tools", "helpers"}
    long = {str(p.relative_to(ROOT)): n for p in FILES if (n := len(p.read_text().splitlines())) > 400}
    assert not long, f"modules of more than 400 lines: {long}"


def test_listing_never_imports_torch() -> None:
    code = "import sys; from harness.cli import main; main(['list', 'methods']); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize(
    "arguments", [["report", "--table", "b2n", "--runs", "x"], ["score", "x"], ["compare", "a", "b"]]
)
def test_reporting_verbs_run_without_torch(arguments: list[str]) -> None:
    code = f"import sys; from harness.cli import main; main({arguments!r}); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_ruff_passes() -> None:
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


def test_mypy_passes() -> None:
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


def test_ci_runs_exactly_the_readme_test_command() -> None:
    readme, ci = (ROOT / "README.md").read_text(encoding="utf-8"), (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    command = "python -m pip install -e '.[test]' -c harness/constraints.txt && python -m pytest"
    assert command in readme and command in ci


def test_the_repository_speaks_of_the_project_alone() -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    hosts = ("pythonhosted" + ".org", "registry.npm" + "js", "deb.deb" + "ian.org")
    bad = []
    for name in filter(None, tracked.stdout.split("\0")):
        data = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b""
        if b"\0" not in data[:4096] and any(host in data.decode("utf-8", "replace") for host in hosts):
            bad.append(name)
    assert not bad
