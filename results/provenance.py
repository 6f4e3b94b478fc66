"""Where and with what a number was measured: interpreter, packages, git state, platform."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch", "torchvision", "open_clip_torch", "timm", "mmengine", "mmaction2", "mmcv-lite", "decord", "av",
    "opencv-python", "numpy", "pandas", "scipy", "pillow", "safetensors",
)  # fmt: skip


@cache
def environment() -> dict[str, Any]:
    """Python, packages, platform and the git state of the harness, gathered once per process."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}",
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "git": git_state(Path(__file__).resolve().parent.parent),
        "cpus": os.cpu_count(),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def git_state(folder: Path) -> dict[str, Any]:
    """Commit and whether tracked files differ from it; `{"commit": None}` outside a checkout."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
