"""Counts of the parameters that a method trains, by parameter group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.engine.contract.fixture import MethodUnderTest
from harness.engine.method import ClipMethod
from harness.engine.model.clip_model import Backbone
from harness.engine.training.step import build_optimizer
from harness.spec.options import OptionValue


@dataclass(frozen=True)
class TrainedGroup:
    """One parameter group of a method's optimiser.

    Args:
        parameters: Number of parameters.
        tensors: Number of tensors that hold them.
        parts: Modules of the method to which they belong, and `CLIP vision`, `CLIP text`, `CLIP logit_scale`.
        lr: Peak learning rate of the method's own recipe.
        weight_decay: Weight decay.
    """

    parameters: int
    tensors: int
    parts: tuple[str, ...]
    lr: float
    weight_decay: float

    def text(self) -> str:
        """The group in words."""
        tensors = f"{self.tensors} tensor{'s' if self.tensors != 1 else ''}"
        return (
            f"{self.parameters:,} parameters in {tensors} of {', '.join(self.parts)}, "
            f"lr {self.lr:g}, weight decay {self.weight_decay:g}"
        )


@dataclass(frozen=True)
class TrainedParameters:
    """Numbers of all and of the trained parameters of a method, and the groups of its optimiser.

    Args:
        total: Number of all parameters, CLIP included.
        trained: Number of trained parameters.
        all_of_clip: Whether every parameter of CLIP is trained.
        model: Name of the model that was counted.
        groups: The optimiser's parameter groups; empty for a method in closed form and for an untrained method.
    """

    total: int
    trained: int
    all_of_clip: bool
    model: str
    groups: tuple[TrainedGroup, ...]

    def text(self) -> str:
        """The counts in words: one line for the method and one line for each group."""
        lines = [f"trained on {self.model}: {self.trained:,} of {self.total:,} parameters"]
        lines += [f"  group {number}: {group.text()}" for number, group in enumerate(self.groups, start=1)]
        if self.all_of_clip:
            lines.append("  all of CLIP is trained; freeze_clip() in setup() freezes CLIP")
        return "\n".join(lines)


def trained_parameters(
    cls: type[ClipMethod], options: Mapping[str, OptionValue], backbone: Backbone
) -> TrainedParameters:
    """Count the parameters of a method on a backbone, or on the method's own model.

    Args:
        cls: The class of the method.
        options: Option values that differ from the defaults.
        backbone: The CLIP model.

    Raises:
        Exception: The method's own code fails; the contract checks explain the error.
    """
    tested = MethodUnderTest(cls, options, backbone)
    method = tested.fresh()
    total, trained = method.parameter_counts()
    names = {id(parameter): name for name, parameter in method.named_parameters()}
    groups: list[TrainedGroup] = []
    if trained and not method.fits_at_once:
        # The optimiser fills in the values that a group leaves out.
        for group in build_optimizer(method, tested.own_recipe).param_groups:
            parts = _parts(names[id(parameter)] for parameter in group["params"])
            count = sum(parameter.numel() for parameter in group["params"])
            groups.append(TrainedGroup(count, len(group["params"]), parts, group["lr"], group["weight_decay"]))
    all_of_clip = cls.uses_clip and all(parameter.requires_grad for parameter in method.backbone.parameters())
    model = "the tiny CLIP" if cls.uses_clip else "the method's own model"
    return TrainedParameters(total, trained, all_of_clip, model, tuple(groups))


def _parts(names: Iterable[str]) -> tuple[str, ...]:
    """The modules of the method, or the towers of CLIP, to which parameters belong."""
    parts: set[str] = set()
    for name in names:
        clip = name.removeprefix("backbone.").removeprefix("clip.")
        if clip == name:
            parts.add(name.partition(".")[0])
        elif clip.startswith("visual."):
            parts.add("CLIP vision")
        else:
            parts.add("CLIP logit_scale" if clip == "logit_scale" else "CLIP text")
    return tuple(sorted(parts))
