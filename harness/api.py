"""The public Python interface: classes and functions for plugins, and functions for scripts and notebooks.

Plugins import nothing else of this project. Names that need torch, numpy or pandas are imported on first use, so that
listing and planning import none of them. See docs/api.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.base.errors import NotApplicableError, UserError
from harness.plugins.registered import register_method, register_protocol
from harness.plugins.view_transforms import register_view_transform, view_transforms
from harness.spec import (
    Column,
    DatasetFacts,
    Eval,
    Fit,
    LabelSet,
    ListRef,
    MethodCard,
    ParentFit,
    Protocol,
    Recipe,
    Repeat,
    VideoList,
    Views,
)
from harness.spec.method_spec import MethodSpec
from harness.spec.options import MethodOptions, option
from harness.spec.shared_options import ClassTextOptions

if TYPE_CHECKING:
    from harness.engine.contract.checks import check_method
    from harness.engine.method import ClipMethod, ParameterGroup, build_method, class_row
    from harness.engine.method_weights import load_published
    from harness.engine.model.backbone import Backbone, load_backbone
    from harness.engine.model.chosen_recognizer import find_recognizer, read_fixed_classes
    from harness.engine.model.own_network import NetworkInput, OwnNetwork
    from harness.engine.training_batch import TrainingBatch
    from harness.running.load_fit import FittedMethod
    from harness.scripting import (
        Evaluation,
        RunResult,
        compare,
        evaluate,
        load_export,
        load_fit,
        predict,
        read_records,
        run,
    )
    from results.statistics.metrics import harmonic_mean

_LAZY = {
    "Backbone": "harness.engine.model.backbone",
    "load_backbone": "harness.engine.model.backbone",
    "ClipMethod": "harness.engine.method",
    "ParameterGroup": "harness.engine.method",
    "class_row": "harness.engine.method",
    "TrainingBatch": "harness.engine.training_batch",
    "build_method": "harness.engine.method",
    "check_method": "harness.engine.contract.checks",
    "find_recognizer": "harness.engine.model.chosen_recognizer",
    "read_fixed_classes": "harness.engine.model.chosen_recognizer",
    "NetworkInput": "harness.engine.model.own_network",
    "OwnNetwork": "harness.engine.model.own_network",
    "harmonic_mean": "results.statistics.metrics",
    "FittedMethod": "harness.running.load_fit",
    "load_published": "harness.engine.method_weights",
    **dict.fromkeys(
        (
            "Evaluation",
            "RunResult",
            "compare",
            "evaluate",
            "load_export",
            "load_fit",
            "predict",
            "read_records",
            "run",
        ),
        "harness.scripting",
    ),
}

__all__ = [
    "Backbone",
    "ClassTextOptions",
    "ClipMethod",
    "Column",
    "DatasetFacts",
    "Eval",
    "Evaluation",
    "Fit",
    "FittedMethod",
    "LabelSet",
    "ListRef",
    "MethodCard",
    "MethodOptions",
    "MethodSpec",
    "NetworkInput",
    "NotApplicableError",
    "OwnNetwork",
    "ParameterGroup",
    "ParentFit",
    "Protocol",
    "Recipe",
    "Repeat",
    "RunResult",
    "TrainingBatch",
    "UserError",
    "VideoList",
    "Views",
    "build_method",
    "check_method",
    "class_row",
    "compare",
    "evaluate",
    "find_recognizer",
    "harmonic_mean",
    "load_backbone",
    "load_export",
    "load_fit",
    "load_published",
    "option",
    "predict",
    "read_fixed_classes",
    "read_records",
    "register_method",
    "register_protocol",
    "register_view_transform",
    "run",
    "view_transforms",
]


def __getattr__(name: str) -> Any:
    """Import names that need torch or numpy on first use, so that listing and planning import neither."""
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
