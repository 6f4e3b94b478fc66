"""The rooms of the house: who may import whom, and that style checks pass."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("harness", "methods", "protocols", "results", "reports")
OPEN_MMLAB = {"mmengine", "mmaction", "mmcv"}
HEAVY = {"torch", "torchvision", "open_clip", "decord", "timm", *OPEN_MMLAB}
# A room of `harness/` may import the rooms before it, and `results`. The longest name that fits a module is its room.
HARNESS_ROOMS = (
    "harness.base",
    "harness.spec",
    "harness.machine",
    "harness.plugins",
    "harness.data.lists",
    "harness.data.files",
    "harness.data.folders",
    "harness.data.official",
    "harness.data.embedded",
    "harness.data",
    "harness.weights",
    "harness.cells",
    "harness.engine.compute",
    "harness.engine.video",
    "harness.engine.model",
    "harness.engine.training_batch",
    "harness.engine.method",
    "harness.engine.method_mismatch",
    "harness.engine.method_weights",
    "harness.engine.job",
    "harness.engine.scoring",
    "harness.engine.features",
    "harness.engine.training",
    "harness.engine.partial_scores",
    "harness.engine.evaluate",
    "harness.engine.attention",
    "harness.engine.contract",
    "harness.engine.cost",
    "harness.running",
    "harness.executor",
    "harness.submitting",
    "harness.commands",
    "harness",
)
OUTSIDE = {
    "harness.spec": (),
    "harness.commands": ("results", "reports"),
    "harness": ("results", "reports"),
    "results": ("harness.base", "harness.spec"),
    "reports": ("results", "harness.base", "harness.spec"),
    "methods": ("harness.api",),
    "protocols": ("harness.api",),
}
"""Imports of a room from outside its package; `results` where nothing is listed. `harness.base` has none at all."""
MODULES = {
    str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__init__"): path
    for package in ROOMS
    for path in (ROOT / package).rglob("*.py")
}
FILES = sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py"))


@cache
def imports_of(path: Path) -> tuple[tuple[str, bool], ...]:
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
    return tuple(found)


def module_of(path: Path) -> str:
    return str(path.relative_to(ROOT).with_suffix("")).replace("/", ".").removesuffix(".__init__")


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def room_of(module: str) -> str:
    """The room of a module: a folder or file of `harness/` as listed, else the top-level package."""
    rooms = [room for room in HARNESS_ROOMS if within(module, room)]
    return max(rooms, key=len) if rooms else module.split(".")[0]


def allowed(module: str, imported: str) -> bool:
    """Whether a module of ours may import a module of ours."""
    room, other = room_of(module), room_of(imported)
    if room == "harness.base":
        return other == room
    if room in HARNESS_ROOMS and other in HARNESS_ROOMS:
        if imported == "harness":  # the version
            return True
        return HARNESS_ROOMS.index(other) <= HARNESS_ROOMS.index(room)
    if room == other:  # plugins import none of their neighbours but underscored helpers
        return room not in ("methods", "protocols") or imported.startswith(f"{room}._")
    return any(within(imported, package) for package in OUTSIDE.get(room, ("results",)))


@cache
def own_imports(path: Path) -> frozenset[str]:
    """The modules of ours that a file imports, at any level; a name of a module gives the module."""
    found = {name for name, _ in imports_of(path) if name.split(".")[0] in ROOMS}
    modules = {name if name in MODULES else name.rpartition(".")[0] for name in found if name not in ROOMS}
    return frozenset(modules | (found & set(ROOMS)))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_rule(path: Path) -> None:
    module = module_of(path)
    wrong = sorted(name for name in own_imports(path) if not allowed(module, name))
    assert not wrong, f"{path.relative_to(ROOT)} may not import {wrong}"


def test_every_folder_of_the_house_is_a_room_with_a_purpose() -> None:
    folders = {
        module_of(path / "x.py").rpartition(".")[0]
        for path in (ROOT / "harness").rglob("*")
        if path.is_dir() and list(path.glob("*.py"))
    }
    engine = {name for name in folders if within(name, "harness.engine") and name != "harness.engine"}
    assert engine <= set(HARNESS_ROOMS)
    assert {name for name in folders if name.count(".") == 1} - {"harness.engine"} <= set(HARNESS_ROOMS)
    for name in folders:
        text = ast.get_docstring(ast.parse(MODULES[name].read_text(encoding="utf-8"))) or ""
        assert len(text) > 30, f"{name}/__init__.py states no purpose"


def test_the_imports_of_modules_have_no_circle() -> None:
    """No module imports itself through others, whether at import time or inside functions."""
    graph = {name: {other for other in own_imports(path) if other != name} for name, path in MODULES.items()}
    order: list[str] = []
    state: dict[str, int] = {}

    def visit(name: str, way: tuple[str, ...]) -> None:
        if state.get(name) == 2:
            return
        assert state.get(name) != 1, " -> ".join((*way[way.index(name) :], name))
        state[name] = 1
        for other in sorted(graph.get(name, ())):
            visit(other, (*way, name))
        state[name] = 2
        order.append(name)

    for name in sorted(graph):
        visit(name, ())
    assert len(order) == len(graph)


def test_few_files_lie_at_the_root_of_the_harness() -> None:
    assert len(list((ROOT / "harness").glob("*.py"))) <= 6


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_packages_stay_in_the_engine(path: Path) -> None:
    module, relative = module_of(path), path.relative_to(ROOT)
    room = room_of(module)
    packages = {(m.split(".")[0], top) for m, top in imports_of(path)}
    owns_mmlab = path.name.startswith("mm") and str(relative.parent) in (
        "harness/engine/training",
        "harness/engine/video",
    )
    if not owns_mmlab:
        assert not {p for p, _ in packages} & OPEN_MMLAB, "only mm*.py of engine/training and engine/video import mmlab"
    if room in ("results", "reports"):
        assert not {p for p, _ in packages} & HEAVY
    if within(room, "harness.data"):  # a decoder may be opened inside a function; torch never
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


def test_no_file_has_the_marks_of_an_unfinished_merge() -> None:
    """Inside a docstring, Python accepts the marks that git writes for a conflict."""
    marks = tuple(mark * 7 for mark in "<>|")
    pages = [*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), *(ROOT / "tests").rglob("*.py"), *FILES]
    bad = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in pages
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if line.strip().startswith(marks)
    ]
    assert not bad


def test_listing_never_imports_torch() -> None:
    code = "import sys; from harness.cli import main; main(['list', 'methods']); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


REPORTING = (["report", "--table", "b2n", "--runs", "x"], ["score", "x"], ["compare", "a", "b"], ["check", "data", "x"])


@pytest.fixture(scope="module")
def with_torch() -> dict[str, bool]:
    """Whether torch was imported after each of the reporting verbs, which run in one process one after another."""
    code = (
        "import json, sys; from harness.cli import main; found = {}\n"
        f"for arguments in {REPORTING!r}:\n"
        "    main(arguments); found[arguments[0]] = 'torch' in sys.modules\n"
        "sys.stdout.write(json.dumps(found))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, bool] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("arguments", REPORTING)
def test_reporting_verbs_run_without_torch(arguments: list[str], with_torch: dict[str, bool]) -> None:
    assert with_torch[arguments[0]] is False


def test_ci_runs_exactly_the_readme_test_command() -> None:
    readme, ci = (ROOT / "README.md").read_text(encoding="utf-8"), (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    command = (
        "python -m pip install -e '.[test]' -c harness/constraints.txt && python -m pytest -n auto --dist worksteal"
        " && python -m ruff check . && python -m mypy"
    )
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
