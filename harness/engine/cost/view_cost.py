"""What one view of a method costs, for records: multiply-adds counted on a copy of the method without values."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from harness.engine.cost.profile import count_gmacs, plain_attention
from harness.engine.method import ClipMethod
from harness.engine.model.compiled import is_compiled
from harness.spec import LabelSet

logger = logging.getLogger(__name__)
_known: dict[tuple[Any, ...], ViewCost] = {}


@dataclass(frozen=True)
class ViewCost:
    """10^9 multiply-adds of one view, what papers print as GFLOPs; None where a method cannot be counted.

    Args:
        gflops: Of the video features, text apart.
        score_gflops: Of the scores over the label set, with what a method does per video and class.
    """

    gflops: float | None = None
    score_gflops: float | None = None


def view_cost(method: ClipMethod, frames: int, labels: LabelSet) -> ViewCost:
    """The cost of one view, counted once per method, options, architecture, frames and number of classes.

    A method that cannot run without values (it looks at its numbers, or holds tensors of its own) is not counted: the
    count says nothing about accuracy, and no eval may fail by it.

    Args:
        method: On any device; it is left as it is.
        frames: Per view.
        labels: The classes that a view is scored against.
    """
    backbone = method.backbone
    key = (type(method), repr(method.options), backbone.facts.arch, backbone.image_size, frames, len(labels))
    if key not in _known:
        try:
            _known[key] = _counted(method, frames, labels)
        except Exception as error:  # whatever a plugin's code raises
            logger.info("the multiply-adds of %s cannot be counted: %s", method.name, error)
            _known[key] = ViewCost()
    return _known[key]


@torch.no_grad()
def _counted(method: ClipMethod, frames: int, labels: LabelSet) -> ViewCost:
    side = method.backbone.image_size
    with torch.random.fork_rng(devices=[]), plain_attention():
        empty = without_values(method)
        video = torch.empty(1, frames, 3, side, side, device="meta")
        encoded, gflops = count_gmacs(lambda: empty.encode_video(video))
        text = empty.encode_text(labels)
        _, score = count_gmacs(lambda: empty.score(encoded, text))
    return ViewCost(round(gflops, 9), round(score, 9))


def without_values(method: ClipMethod) -> ClipMethod:
    """A copy in eval mode whose parameters and buffers have shapes and no values; nothing of the size is copied."""
    shapes: dict[int, Any] = {}
    for parameter in method.parameters():
        shapes[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=False)
    for buffer in method.buffers():
        shapes[id(buffer)] = buffer.detach().to("meta")
    empty = copy.deepcopy(method, shapes)
    for module in empty.modules():
        if is_compiled(module):
            del module.forward  # it would be compiled anew, for no device
    return empty.eval()
