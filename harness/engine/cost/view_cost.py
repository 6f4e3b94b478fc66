"""Multiply-adds of one view of a method, for records: counted on a copy of the method without values."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.engine.cost.profile import count_gmacs, plain_attention
from harness.engine.method import ClipMethod
from harness.engine.model.compiled import is_compiled
from harness.spec import LabelSet

logger = logging.getLogger(__name__)
_known: dict[tuple[type[ClipMethod], str, str, int, int, int], ViewCost] = {}


@dataclass(frozen=True)
class ViewCost:
    """10^9 multiply-adds of one view, which papers print as GFLOPs; None if a method cannot be counted.

    Args:
        gflops: Video features, without text features.
        score_gflops: Scores of all classes of the label set.
    """

    gflops: float | None = None
    score_gflops: float | None = None


def view_cost(method: ClipMethod, frames: int, labels: LabelSet) -> ViewCost:
    """The cost of one view, counted once per method, options, architecture, frames and number of classes.

    A method that cannot run without values (it reads values of tensors, or holds unregistered tensors) is not counted:
    the count is extra information, for which no eval should fail.

    Args:
        method: The method on any device; it is not changed.
        frames: Frames per view.
        labels: The label set.
    """
    backbone = method.backbone
    # Values of weights do not count, so that all fits of a method share one count.
    key = (type(method), repr(method.options), backbone.facts.arch, backbone.image_size, frames, len(labels))
    if key not in _known:
        try:
            _known[key] = _counted(method, frames, labels)
        except Exception as error:  # a plugin may raise anything
            logger.info("the multiply-adds of %s cannot be counted: %s", method.name, error)
            _known[key] = ViewCost()
    return _known[key]


@torch.no_grad()
def _counted(method: ClipMethod, frames: int, labels: LabelSet) -> ViewCost:
    side = method.backbone.image_size
    # A method may draw in its forward pass; the eval that follows must not notice the count.
    with torch.random.fork_rng(devices=[]), plain_attention():
        empty = without_values(method)
        video = torch.empty(1, frames, 3, side, side, device="meta")
        encoded, gflops = count_gmacs(lambda: empty.encode_video(video))
        text = empty.encode_text(labels)
        _, score = count_gmacs(lambda: empty.score(encoded, text))
    return ViewCost(round(gflops, 9), round(score, 9))


def without_values(method: ClipMethod) -> ClipMethod:
    """A copy in eval mode with parameters and buffers on the meta device; no values are copied."""
    shapes: dict[int, Tensor] = {}  # as the memo of deepcopy, which then copies none of these tensors
    for parameter in method.parameters():
        shapes[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=False)
    for buffer in method.buffers():
        shapes[id(buffer)] = buffer.detach().to("meta")
    empty = copy.deepcopy(method, shapes)
    for module in empty.modules():
        if is_compiled(module):
            del module.forward  # torch would compile it again for the meta device
    return empty.eval()
