"""The example packages, installed by pip as a user would install them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

EXAMPLES = ("attention_pooling", "weight_interpolation")


def pip_install(packages: list[Path], *options: object, python: str = sys.executable) -> None:
    """Install packages without a network and without a build environment."""
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "-q")
    command = [python, "-m", "pip", "install", *offline, *map(str, options), *map(str, packages)]
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
