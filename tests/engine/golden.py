"""Reference outputs of the public implementations, read from the shared folder, never copied from it."""

from __future__ import annotations

import copy
import json
import logging
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from harness.api import Backbone, ClipMethod, LabelSet, build_method, load_backbone
from harness.weights.families import read_published

logger = logging.getLogger(__name__)
KERNELS = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "1"}
"""Variables of the environment with which PyTorch and MKL round alike on all x86-64 processors with AVX2."""


@cache
def arrays(shared: Path, name: str) -> dict[str, np.ndarray]:
    """All arrays of an `.npz` file; half precision as float32, as the reference computed with these values."""
    with np.load(shared / "golden" / f"{name}.npz", allow_pickle=False) as file:
        return {k: file[k].astype(np.float32) if file[k].dtype == np.float16 else file[k] for k in file.files}


@cache
def facts(shared: Path, name: str) -> dict[str, Any]:
    return json.loads((shared / "golden" / f"{name}.json").read_text(encoding="utf-8"))


@cache
def tensors(shared: Path, name: str) -> dict[str, Tensor]:
    return {k: v.float() for k, v in load_file(shared / "golden" / f"{name}.safetensors").items()}


def tensor(shared: Path, name: str, key: str) -> Tensor:
    return torch.from_numpy(arrays(shared, name)[key])


@cache
def _loaded(shared: Path) -> Backbone:
    return load_backbone(weights=shared / "golden" / "tiny_clip.safetensors", activation="quickgelu")


def tiny(shared: Path) -> Backbone:
    """A fresh copy of the tiny CLIP of the reference runs."""
    return copy.deepcopy(_loaded(shared))


def method(shared: Path, name: str, **options: Any) -> ClipMethod:
    return build_method(name, tiny(shared), **options).eval()


def labels(shared: Path, name: str) -> LabelSet:
    return LabelSet(tuple(facts(shared, name)["class_names"]))


def close(actual: Any, expected: Any, atol: float, what: str) -> None:
    """Assert a largest difference, and log it so that a run with `--log-cli-level=DEBUG` shows the margins."""
    a = np.asarray(actual.detach() if isinstance(actual, Tensor) else actual, dtype=np.float64)
    e = np.asarray(expected, dtype=np.float64)
    assert a.shape == e.shape, f"{what}: shape {a.shape}, reference {e.shape}"
    difference = float(np.abs(a - e).max()) if a.size else 0.0
    logger.debug("%s: max |difference| %.2e, allowed %.0e", what, difference, atol)
    assert difference <= atol, f"{what}: max |difference| {difference:.3e}, allowed {atol:.0e}"


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under ViFi-CLIP's names, under ours."""
    found = read_published({"image_encoder.": torch.zeros(1), **state})
    clip = {f"backbone.clip.{n}": v for n, v in found.clip.items() if n != "visual."}
    return {**clip, **found.own}


def set_values(target: ClipMethod, values: dict[str, Tensor]) -> ClipMethod:
    """Overwrite some tensors of a method; every one must exist."""
    own = target.state_dict()
    assert values and set(values) <= set(own), sorted(set(values) - set(own))
    target.load_state_dict(values, strict=False)
    return target


def has_fixed_kernels() -> bool:
    return all(os.environ.get(name) == value for name, value in KERNELS.items())


def run_with_fixed_kernels(test: str) -> None:
    """Run a test again in a process of its own, because PyTorch reads the variables when it is imported.

    For values whose tolerance is below the rounding of the reference itself: there the processor would decide.

    Args:
        test: Id of the test.
    """
    outer = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env={**outer, **KERNELS}, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr
