"""Specification of ST-Adapter."""

from dataclasses import dataclass
from typing import ClassVar

from harness.api import MethodCard, UserError, option
from methods._recipes_adapters import ST_ADAPTER
from methods._specs._head import OWN_HEAD, TEXT, HeadOptions, HeadSpec
from methods._specs._numbers import whole_numbers


@dataclass(frozen=True)
class STAdapterOptions(HeadOptions):
    """Options of the adapters and of the head; the default adapters are those of the K-400 script."""

    before: str = option(
        "mlp", "part of a block that an adapter precedes", ("mlp", "attn", "attn+mlp"), unused_with={"blocks": (0,)}
    )
    blocks: int = option(12, "last blocks with adapters; more than there are means all", bounds=(0, None))
    bottleneck: int = option(384, "width of the convolution", bounds=(1, None), unused_with={"blocks": (0,)})
    kernel: str = option(
        "3x1x1", "frames x rows x columns of the convolution, odd numbers", unused_with={"blocks": (0,)}
    )
    idle_adapter: str = option(
        "frozen", "the adapter before the last MLP, which changes no score: trained (published; it only decays)",
        ("frozen", "trained"), unused_with={"before": ("attn",), "blocks": (0,)},
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Refuse a kernel that is not three odd numbers."""
        sizes = whole_numbers(self.kernel, "x")
        if len(sizes) != 3 or not all(size % 2 for size in sizes):
            raise UserError(f"st_adapter:kernel is {self.kernel!r}, expected three odd numbers such as 3x1x1.")
        # The adapter before the last MLP changes no score and is frozen by default.
        least = 2 if self.before == "mlp" and self.idle_adapter == "frozen" else 1
        if self.head == TEXT and self.blocks < least:
            raise UserError(
                f"st_adapter:blocks is {self.blocks}, expected at least {least}: no adapter learns, and head=text has "
                "no parameters."
            )


class STAdapterSpec(HeadSpec):
    """Card, recipes and options of the method."""

    name = "st_adapter"
    card = MethodCard(
        title="ST-Adapter",
        paper="Pan et al., ST-Adapter: Parameter-Efficient Image-to-Video Transfer Learning, NeurIPS 2022",
        family="adapting",
        source="linziyi96/st-adapter, models_adapter.py, main.py, video_dataset/",
        unverified=(
            f"{OWN_HEAD}, with CLIP's scale frozen; the rows of FROSTER take another adapter and learned texts, and "
            "its training script is not public; CLIP is kept in fp32 here and in fp16 in the original; no published "
            "checkpoint was available"
        ),
    )
    recipes = ST_ADAPTER
    options_type = STAdapterOptions
    protocol_options: ClassVar = {
        "supervised/k400": {"head": "classes", "fixed_classes": 400},
        "supervised/ssv2": {"head": "classes", "fixed_classes": 174, "before": "attn+mlp"},
        "mini": {"bottleneck": 64},
    }
    random_draws = True
    checkpoint_normalize = "clip"
    frozen_clip = True
    parameters_vit_b16 = (156_730_881, 6_517_632)
