"""Environment of a measurement: interpreter, packages, git state, platform."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from results.measurement import Count

HARNESS = "clip-video-harness"
PACKAGES = (
    HARNESS, "torch", "torchvision", "open_clip_torch", "timm", "mmengine", "mmaction2", "mmcv-lite", "decord", "av",
    "opencv-python", "opencv-contrib-python", "numpy", "pandas", "scipy", "pillow", "safetensors",
)  # fmt: skip


@dataclass(frozen=True)
class GitState:
    """Commit of the harness and whether tracked files differ from it; None outside a checkout."""

    commit: str | None = None
    dirty: bool | None = None


@dataclass(frozen=True)
class Environment:
    """Environment in which a cell was computed; it enters no key.

    Args:
        python: Version of the interpreter.
        platform: Operating system and machine.
        packages: Versions by distribution name.
        git: State of the harness checkout.
        cpus: Processors of the machine.
        device: Device in words.
        dtype: Precision, e.g. `float32`.
        threads: Threads of torch.
        processes: Processes that computed the cell together.
        compiled: Whether blocks of the vision tower were compiled.
    """

    python: str
    platform: str
    packages: dict[str, str]
    git: GitState
    cpus: Count | None = None
    device: str = ""
    dtype: str = ""
    threads: Count = 0
    processes: Count = 1
    compiled: bool = False

    @property
    def harness(self) -> str:
        """Version and commit of the harness, as far as they are known: `0.1.0, commit 1a2b3c4d`; otherwise empty."""
        commit = f"commit {self.git.commit[:8]}{' with changes' if self.git.dirty else ''}" if self.git.commit else ""
        return ", ".join(filter(None, (self.packages.get(HARNESS, ""), commit)))


@cache
def environment() -> Environment:
    """Python, packages, platform and git state of the harness, collected once per process."""
    return Environment(
        python=platform.python_version(),
        platform=f"{platform.system()}-{platform.machine()}",
        packages={name: version for name in PACKAGES if (version := _version(name))},
        git=git_state(Path(__file__).resolve().parent.parent),
        cpus=os.cpu_count(),
    )


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def git_state(folder: Path) -> GitState:
    """Commit of a checkout, and whether tracked files differ from it; None values outside a checkout."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return GitState(commit, bool(_git(folder, "status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.SubprocessError):
        return GitState()


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
