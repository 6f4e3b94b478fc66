"""Preparation for the import of mmaction2: an undeclared dependency, a package that its wheel lacks, and warnings.

Each module that imports mmaction2 or mmengine imports this module first. Numbers of faults are those of docs/stack.md.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import warnings
from pathlib import Path
from types import ModuleType

warnings.filterwarnings("ignore", message="Fail to import ``MultiScaleDeformableAttention``")
warnings.filterwarnings("ignore", message=".*lr_scheduler.step.. before .optimizer.step.*")

if importlib.util.find_spec("importlib_metadata") is None:  # D3: mmaction2 imports it and does not declare it
    sys.modules["importlib_metadata"] = importlib.metadata


def ensure_action_models() -> None:
    """Add a placeholder for the localizer DRN, without which the wheel of mmaction2 1.2.0 cannot be imported (D2)."""
    _leave_out_multimodal_models()
    spec = importlib.util.find_spec("mmaction")
    if spec is None or not spec.submodule_search_locations:
        return
    # The import of mmaction.models fails at this localizer, although no recogniser uses it.
    folder = Path(next(iter(spec.submodule_search_locations))) / "models" / "localizers" / "drn"
    name = "mmaction.models.localizers.drn"
    if folder.is_dir() or name in sys.modules:
        return
    package, module = ModuleType(name), ModuleType(f"{name}.drn")
    package.__path__ = []
    vars(module)["DRN"] = type("DRN", (), {"__doc__": "Placeholder: the wheel does not contain this localizer."})
    sys.modules[name], sys.modules[module.__name__] = package, module


def _leave_out_multimodal_models() -> None:
    """Let mmaction2 use its placeholders for models of text and video (D12).

    If transformers is installed, mmaction2 1.2.0 imports names that transformers 5 does not have, and no recogniser can
    be built. No method of this project uses these models.
    """
    if importlib.util.find_spec("mmaction") is None:
        return
    dependency = importlib.import_module("mmaction.utils.dependency")
    vars(dependency)["WITH_MULTIMODAL"] = False
