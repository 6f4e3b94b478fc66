"""The installed harness runs in any folder, whatever the folders and files of the user are called."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.base.packages import OURS
from tests.conftest import ROOT, TINY_RUN, machine_free

PACKAGES = ("harness", *OURS)
FOREIGN = "raise RuntimeError('a module of the user was imported')\n"
LAYOUTS = ("folders", "packages", "modules")
LAYOUTS_TESTED = ("modules", *(pytest.param(layout, marks=pytest.mark.slow) for layout in ("folders", "packages")))
OFFLINE = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "-q")
TINY = tuple(word for word in TINY_RUN if word not in ("--no-report", "--json"))
README_RUN = "python -m harness run --method vificlip --protocol b2n"


@dataclass
class Installed:
    """A virtual environment with the harness installed from a copy of the repository; the rest is shared with ours."""

    folder: Path
    editable: bool
    home: Path = field(init=False)

    def __post_init__(self) -> None:
        source, venv = self.folder / "source", self.folder / "venv"
        copy_repository(source)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        site = next(venv.glob("lib/python*/site-packages"))
        (site / "shared.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
        self.home = source if self.editable else site
        what = ["-e", source] if self.editable else [source]
        done = self.run(self.folder, ["python", "-m", "pip", "install", *OFFLINE, *map(str, what)])
        assert done.returncode == 0, done.stderr

    def run(self, where: Path, command: list[str], timeout: float = 1800) -> subprocess.CompletedProcess[str]:
        """A command with this environment's `python` and `harness`, in a folder."""
        environment = machine_free({"PATH": f"{self.folder / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"})
        for name in ("PYTHONPATH", "PYTHONSAFEPATH", "VIRTUAL_ENV"):
            environment.pop(name, None)
        environment["HARNESS_CACHE"] = str(self.folder / "cache")
        command = [str(self.folder / "venv" / "bin" / command[0]), *command[1:]]
        return subprocess.run(command, cwd=where, env=environment, text=True, capture_output=True, timeout=timeout)

    def must(self, where: Path, *command: object) -> str:
        """Both outputs of a command that has to succeed."""
        done = self.run(where, list(map(str, command)))
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        assert "leaked" not in done.stderr, done.stderr
        return done.stdout + done.stderr


def copy_repository(target: Path) -> None:
    """The files that an installation is made of."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, target / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, target / name)


@pytest.fixture(scope="session")
def editable(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("editable"), editable=True)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("wheel"), editable=False)


def user_folder(folder: Path, layout: str) -> Path:
    """A folder of a user that has our packages' names in it, as folders, as packages or as modules."""
    (folder / "harness").mkdir(parents=True)
    for name in OURS:
        if layout == "modules":
            (folder / f"{name}.py").write_text(FOREIGN)
            continue
        (folder / name / "site").mkdir(parents=True)
        (folder / name / "site" / "index.html").write_text("of the user")
        if layout == "packages":
            (folder / name / "__init__.py").write_text(FOREIGN)
    return folder


def places_of(*modules: str) -> str:
    """Code that prints the file of each module."""
    return "; ".join(f"import {name}; print({name}.__file__)" for name in modules)


def all_ours(text: str, installed: Installed) -> bool:
    return all(Path(line).resolve().is_relative_to(installed.home.resolve()) for line in text.split())


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS_TESTED)
def test_our_packages_win_in_every_folder(editable: Installed, tmp_path: Path, layout: str) -> None:
    where = user_folder(tmp_path / "work", layout)
    light = ("harness.api", "reports.command", "results.record", "protocols.b2n", "methods")
    assert all_ours(editable.must(where, "python", "-c", places_of(*light)), editable)
    assert "b2n" in editable.must(where, "python", "-m", "harness", "list", "protocols")
    assert "b2n" in editable.must(where, "harness", "list", "protocols")


@pytest.mark.slow
def test_a_command_is_run_again_beside_its_own_output(
    editable: Installed, finished_runs: Path, small_dataset: Path, tmp_path: Path
) -> None:
    where = user_folder(tmp_path / "work", "modules")
    shutil.copytree(finished_runs, where / "runs")
    command = ("run", "--method", "vificlip", *TINY, "--dataset", small_dataset)
    said = editable.must(where, "python", "-m", "harness", *command)
    assert "0 fits and 0 evals done, 4 cells reused" in said and "report: runs/board/index.html" in said
    assert "ViFi-CLIP" in (where / "runs" / "board" / "index.html").read_text(encoding="utf-8")
    assert sorted(path.name for path in where.iterdir()) == sorted(["harness", "runs", *(f"{n}.py" for n in OURS)])


@pytest.mark.slow
def test_nothing_else_of_the_working_directory_is_imported(editable: Installed, tmp_path: Path) -> None:
    """Neither in place of Python's own modules nor of the packages that we use."""
    for name in ("argparse", "inspect", "statistics", "jinja2", "pandas"):
        (tmp_path / f"{name}.py").write_text(FOREIGN)
    (tmp_path / "wandb").mkdir()
    assert "vificlip" in editable.must(tmp_path, "python", "-m", "harness", "list", "methods")
    seen = "import sys; sys.argv = ['harness', '--version']\nimport runpy\n"
    seen += "try: runpy.run_module('harness', run_name='__main__')\nexcept SystemExit: pass\n"
    seen += "import importlib.util as u; print(u.find_spec('wandb'), u.find_spec('pandas').origin)"
    assert str(tmp_path) not in editable.must(tmp_path, "python", "-c", seen).splitlines()[-1]


@pytest.mark.slow
def test_the_script_runs_beside_a_package_harness_of_the_user(editable: Installed, tmp_path: Path) -> None:
    """`python -m harness` is theirs there: Python resolves it before any code of ours runs."""
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "__init__.py").write_text(FOREIGN)
    assert "vificlip" in editable.must(tmp_path, "harness", "list", "methods")


def test_a_working_directory_of_the_python_path_stays(tmp_path: Path) -> None:
    code = "import sys; from harness.base.packages import leave_working_directory as leave; leave(); print(sys.path)"
    options = dict(cwd=tmp_path, text=True, capture_output=True, check=True)
    asked = {**machine_free(), "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    kept = subprocess.run([sys.executable, "-P", "-c", code], env=asked, **options)  # type: ignore[call-overload]
    assert f"'{tmp_path}'" in kept.stdout
    once = subprocess.run([sys.executable, "-c", code], env={**asked, "PYTHONPATH": str(ROOT)}, **options)  # type: ignore[call-overload]
    assert "''" not in once.stdout and f"'{ROOT}'" in once.stdout


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_module_imported_before_is_one_clear_error(tmp_path: Path, layout: str) -> None:
    where = user_folder(tmp_path / "work", layout)
    for file in [*where.glob("*.py"), *where.glob("*/__init__.py")]:
        file.write_text("")
    place = where / {"folders": "reports", "packages": "reports/__init__.py", "modules": "reports.py"}[layout]
    code = f"import reports, sys; sys.path.insert(0, {str(ROOT)!r}); import harness"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=where, text=True, capture_output=True)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: The module 'reports' of {place} was imported before harness and hides")
    assert "Rename that file or folder, then start Python again." in last


@pytest.mark.slow
def test_our_packages_imported_before_are_no_error(editable: Installed, tmp_path: Path) -> None:
    code = "import results, reports, methods, harness.api, importlib, sys; importlib.reload(harness); "
    code += "assert len(set(map(id, sys.meta_path))) == len(sys.meta_path)"
    editable.must(tmp_path, "python", "-c", code)


@pytest.mark.slow
def test_an_installation_without_a_package_says_so(tmp_path: Path) -> None:
    copy_repository(tmp_path / "broken")
    shutil.rmtree(tmp_path / "broken" / "results")
    (tmp_path / "results.py").write_text("")
    code = f"import sys; sys.path.insert(1, {str(tmp_path / 'broken')!r}); from harness.api import harmonic_mean"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path, text=True, capture_output=True)
    assert "is incomplete: it has no package 'results'. Install clip-video-harness again." in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["editable", "wheel"])
def test_the_same_run_twice(
    kind: str, layout: str, small_dataset: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    installed: Installed = request.getfixturevalue(kind)
    where = user_folder(tmp_path / "work", layout)
    command = ("run", "--method", "vificlip", *TINY, "--dataset", small_dataset)
    assert "1 fits and 3 evals done, 0 cells reused" in installed.must(where, "python", "-m", "harness", *command)
    (where / "runs" / "board" / "index.html").unlink()
    assert "0 fits and 0 evals done, 4 cells reused" in installed.must(where, "harness", *command)
    assert (where / "runs" / "board" / "index.html").is_file()
    heavy = ("harness.api", "reports.site", "results.compare", "methods.vificlip", "protocols.b2n")
    assert all_ours(installed.must(where, "python", "-c", places_of(*heavy)), installed)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_jobs_of_a_run(editable: Installed, layout: str, small_dataset: Path, tmp_path: Path) -> None:
    """The queue and the jobs are processes of their own, started in the user's folder."""
    where = user_folder(tmp_path / "work", layout)
    command = ("run", "--method", "vanilla_clip", *TINY, "--dataset", small_dataset, "--executor", "local")
    editable.must(where, "python", "-m", "harness", *command)
    assert (where / "runs" / "board" / "index.html").is_file()


@pytest.mark.slow
def test_the_command_of_the_readme_twice(editable: Installed, tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"python -m pip install -e . -c harness/constraints.txt && {README_RUN}\n" in readme
    where = user_folder(tmp_path / "work", "packages")
    assert "0 cells reused" in editable.must(where, *shlex.split(README_RUN))
    said = editable.must(where, *shlex.split(README_RUN))
    assert "0 fits and 0 evals done, 12 cells reused" in said
    assert (where / "runs" / "board" / "index.html").is_file()


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    copy_repository(tmp_path / "source")
    (tmp_path / "source" / "runs").mkdir()
    (tmp_path / "source" / "runs" / "own.json").write_text("{}")
    expected = {
        path.relative_to(ROOT).as_posix()
        for name in PACKAGES for path in (ROOT / name).rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }  # fmt: skip
    assert {Path(name).suffix for name in expected} >= {".py", ".safetensors", ".json", ".css", ".js", ".txt", ".jinja"}
    for target in ("wheel", "sdist"):
        command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", tmp_path / "dist"]
        subprocess.run(command, cwd=tmp_path / "source", check=True, capture_output=True)
    with zipfile.ZipFile(next((tmp_path / "dist").glob("*.whl"))) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == expected
    with tarfile.open(next((tmp_path / "dist").glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert expected | {"pyproject.toml", "README.md", "LICENSE"} <= names
    assert not [name for name in names if name.startswith(("runs", ".git/"))]
