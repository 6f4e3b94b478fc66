"""Check of the installed packages against the tested versions, and the pip command that fixes them."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"
IMPORTS = {
    "torch": "torch", "torchvision": "torchvision", "open_clip_torch": "open_clip", "decord": "decord",
    "mmengine": "mmengine", "mmcv-lite": "mmcv", "mmaction2": "mmaction", "av": "av", "opencv-python": "cv2",
    "pandas": "pandas", "matplotlib": "matplotlib", "jinja2": "jinja2", "scipy": "scipy",
}  # fmt: skip
DISTRIBUTION = "clip-video-harness"


@dataclass(frozen=True)
class PackageState:
    """One package: installed version, tested version and allowed range.

    Args:
        name: Distribution.
        installed: Version, or empty.
        tested: Version of the known-good set, or empty.
        allowed: The range of this project's requirements, or empty.
        state: `good` (the tested version), `other` (another allowed version) or `bad`.
        problem: The problem of a bad package, else empty.
    """

    name: str
    installed: str
    tested: str
    allowed: str
    state: str
    problem: str = ""


def known_good() -> dict[str, str]:
    """Tested versions by distribution name, lower case."""
    pairs = (line.split("#")[0].strip().split("==") for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines())
    return {pair[0].lower(): pair[1] for pair in pairs if len(pair) == 2}


def check_environment(imports: bool = True) -> list[PackageState]:
    """The state of every package that this project requires.

    Args:
        imports: Also import each package and mmaction2's models: some faults do not show in version numbers.
    """
    tested = known_good()
    states = []
    for requirement in requirements():
        name = requirement.name
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            states.append(
                PackageState(name, "", tested.get(name.lower(), ""), str(requirement.specifier), "bad", "not installed")
            )
            continue
        # A wrong version explains a failed import, so that the import is not tried.
        problem = _problem(requirement, installed) or (_import_problem(name) if imports else "")
        # `2.6.0+cpu` and `2.6.0` are builds of the same version.
        same = installed.split("+")[0] == tested.get(name.lower(), "").split("+")[0]
        state = "bad" if problem else "good" if same else "other"
        states.append(
            PackageState(name, installed, tested.get(name.lower(), ""), str(requirement.specifier), state, problem)
        )
    return states


def requirements() -> list[Requirement]:
    """This project's requirements without extras, from its installed metadata, else from pyproject.toml."""
    try:
        lines = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        import tomllib

        file = CONSTRAINTS.parent.parent / "pyproject.toml"
        lines = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["dependencies"]
    parsed = [Requirement(line) for line in lines]
    return [r for r in parsed if r.marker is None or r.marker.evaluate({"extra": ""})]


def fix_command(states: list[PackageState]) -> str:
    """The pip command that turns the bad packages into tested ones; empty if none is bad."""
    bad = [s for s in states if s.state == "bad"]
    if not bad:
        return ""
    wanted = " ".join(f"'{s.name}=={s.tested}'" if s.tested else f"'{s.name}{s.allowed}'" for s in bad)
    return f"{sys.executable} -m pip install {wanted} -c {CONSTRAINTS}"


def python_line() -> str:
    """The version of the interpreter, with a remark if it is not a tested version."""
    version = Version(platform.python_version())
    tested = (3, 11) <= version.release[:2] <= (3, 12)
    return f"Python {version}" + ("" if tested else " (tested: 3.11 and 3.12)")


def _problem(requirement: Requirement, installed: str) -> str:
    if requirement.specifier.contains(installed, prereleases=True):
        return ""
    return f"{installed} is outside {requirement.specifier}"


def _import_problem(name: str) -> str:
    module = IMPORTS.get(name.lower())
    if module is None:
        return ""
    try:
        if module == "mmaction":
            # The import as the harness does it: D2 and D3 would fail without its stubs.
            setup = importlib.import_module("harness.engine.video.mm_setup")
            setup.ensure_action_models()
            importlib.import_module("mmaction.models")
        else:
            importlib.import_module(module)
    except Exception as error:
        return f"does not import: {type(error).__name__}: {' '.join(str(error).split())[:160]}"
    return ""
