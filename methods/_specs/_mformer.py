"""Options and sizes of Motionformer, which its specification and its network read."""

from __future__ import annotations

from dataclasses import dataclass

from harness.api import UserError, option
from methods._specs._outputs import OutputsOptions

TRAJECTORY, ORTHOFORMER, JOINT = "trajectory", "orthoformer", "joint"
ORIGINAL, PROJECTED = "original", "projected"
SEPARATE = "separate"


@dataclass(frozen=True)
class Size:
    """Size of a network, and the clips that it was trained on.

    Args:
        frames: Frames per view.
        stride: Distance of two frames at 30 frames per second.
        size: Side of the square input in pixels.
        width: Width of the tokens.
        layers: Number of blocks.
        heads: Number of attention heads.
        file: Name of the published checkpoint for K-400; empty if there is none.
    """

    frames: int
    stride: int
    size: int
    width: int = 768
    layers: int = 12
    heads: int = 12
    file: str = ""


# configs/K400/motionformer_*.yaml; `tiny` runs the pipeline on a CPU.
CONFIGS = {
    "hr": Size(16, 8, 336, file="k400_motionformer_336_16x8.pyth"),
    "base": Size(16, 4, 224, file="k400_motionformer_224_16x4.pyth"),
    "large": Size(32, 3, 224, file="k400_motionformer_224_32x3.pyth"),
    "tiny": Size(8, 4, 64, 192, 3, 3),
}


@dataclass(frozen=True)
class MformerOptions(OutputsOptions):
    """Options that name a network and its weights. The defaults are those of the published weights."""

    config: str = option(
        "hr", "hr: 16 frames of 336 pixels; base: 16 of 224; large: 32 of 224; tiny: a small network without weights",
        tuple(CONFIGS),
    )  # fmt: skip
    fixed_classes: int = option(400, "number of outputs", bounds=(1, None))
    attention: str = option(
        TRAJECTORY, "trajectory; orthoformer: its approximation by landmarks; joint: plain attention over all tokens",
        (TRAJECTORY, ORTHOFORMER, JOINT),
    )  # fmt: skip
    landmarks: int = option(
        128, "number of landmarks of orthoformer", bounds=(1, None), unused_with={"attention": (TRAJECTORY, JOINT)}
    )
    values: str = option(
        ORIGINAL, "values that are summed along a trajectory; original: those of the published weights; projected: "
        "after a projection", (ORIGINAL, PROJECTED), unused_with={"attention": (JOINT,)},
    )  # fmt: skip
    positions: str = option(
        SEPARATE, "separate: a table of patches and a table of times; joint: one table", (SEPARATE, JOINT)
    )
    mlp_head: bool = option(True, "a layer with tanh before the linear layer")
    tubelet: int = option(2, "frames of a patch; 1: patches of single frames", (1, 2))

    def __post_init__(self) -> None:
        """Refuse one table of positions for the large pictures: that of the original has the size of 224 pixels."""
        if self.positions == JOINT and CONFIGS[self.config].size > 224:
            raise UserError(
                f"mformer:positions=joint is for pictures of 224 pixels; config={self.config} has "
                f"{CONFIGS[self.config].size}.",
                "Set positions=separate, or another config.",
            )
