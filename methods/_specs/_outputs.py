"""Shared part of the specifications of methods whose own network has a fixed set of classes."""

from dataclasses import dataclass

from harness.api import LabelSet, MethodOptions, NotApplicableError, option

RANDOM = "random"


@dataclass(frozen=True)
class OutputsOptions(MethodOptions):
    """Options of weights and classes."""

    checkpoint: str = option("", "weight file; random: none, to run the pipeline", file=("", RANDOM))
    classes: str = option(
        "", "file that names the head's classes in order; else the dataset's order is taken", file=("",)
    )


def require_outputs(method: str, network: str, outputs: int, label_set: LabelSet) -> None:
    """Refuse a label set whose size is not that of the head of a network.

    Raises:
        NotApplicableError: The sizes differ.
    """
    if outputs != len(label_set):
        raise NotApplicableError(
            f"The head of {network} has {outputs} classes, the label set has {len(label_set)}: {method} has a fixed "
            "set of classes.",
            "Choose a checkpoint that was trained on this label set.",
        )
