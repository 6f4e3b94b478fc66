"""The example packages, installed by pip as their readers would."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

EXAMPLES = ("attention_pooling", "weight_interpolation")


def pip_install(packages: list[Path], *where: object, python: str = sys.executable) -> None:
    """Install packages with what is already there: no network, no build environment."""
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "-q")
    command = [python, "-m", "pip", "install", *offline, *map(str, where), *map(str, packages)]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def copied(folder: Path, names: tuple[str, ...] = EXAMPLES) -> list[Path]:
    """Copies of the example packages: building writes beside the sources."""
    ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    return [Path(shutil.copytree(ROOT / "examples" / name, folder / name, ignore=ignored)) for name in names]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip installed the examples."""
    site = tmp_path_factory.mktemp("site")
    pip_install(copied(tmp_path_factory.mktemp("sources")), "--target", site)
    return site
