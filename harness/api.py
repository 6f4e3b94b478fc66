"""The only module that plugins import: specification words at once, names that need torch or numpy on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.base.errors import NotApplicableError, UserError
from harness.registry import register_method, register_protocol
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

if TYPE_CHECKING:
    from harness.engine.backbone import Backbone, load_backbone
    from harness.engine.contract import check_method
    from harness.engine.method import ClipMethod, build_method
    from harness.engine.recognizer import find_recognizer, read_head_classes
    from results.statistics.metrics import harmonic_mean

_LAZY = {
    "Backbone": "harness.engine.backbone",
    "load_backbone": "harness.engine.backbone",
    "ClipMethod": "harness.engine.method",
    "build_method": "harness.engine.method",
    "check_method": "harness.engine.contract",
    "find_recognizer": "harness.engine.recognizer",
    "read_head_classes": "harness.engine.recognizer",
    "harmonic_mean": "results.statistics.metrics",
}

__all__ = [
    "Backbone",
    "ClipMethod",
    "Column",
    "DatasetFacts",
    "Eval",
    "Fit",
    "LabelSet",
    "ListRef",
    "MethodCard",
    "MethodOptions",
    "MethodSpec",
    "NotApplicableError",
    "ParentFit",
    "Protocol",
    "Recipe",
    "Repeat",
    "UserError",
    "VideoList",
    "Views",
    "build_method",
    "check_method",
    "find_recognizer",
    "harmonic_mean",
    "load_backbone",
    "option",
    "read_head_classes",
    "register_method",
    "register_protocol",
]


def __getattr__(name: str) -> Any:
    """Import names that need torch or numpy on first use, so that listing and planning import neither."""
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
