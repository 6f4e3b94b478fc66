"""Specification of Open-VCLIP."""

from dataclasses import dataclass

from harness.api import MethodCard, MethodOptions, MethodSpec, option
from methods._recipes_slowfast import OPEN_VCLIP


@dataclass(frozen=True)
class OpenVClipOptions(MethodOptions):
    """Attention and interpolated loss; the defaults are the published values."""

    neighbours: int = option(1, "frames before and behind a frame that its tokens attend to (published: 1)", (0, 1, 2))
    mixed_loss: float = option(
        0.5, "weight of the loss at weights mixed with CLIP's; 0 for the plain loss", bounds=(0, None)
    )
    largest_share: float = option(
        0.6,
        "largest share of CLIP's weights in the mixed weights, drawn uniformly from 0",
        bounds=(0, 1),
        unused_with={"mixed_loss": (0,)},
    )


class OpenVClipSpec(MethodSpec):
    """Card, recipes and options of the method."""

    name = "open_vclip"
    card = MethodCard(
        title="Open-VCLIP",
        paper="Weng et al., Open-VCLIP: Transforming CLIP to an Open-vocabulary Video Model via Interpolated Weight "
        "Optimization, ICML 2023",
        class_text="templates",
        family="tuning",
        source="wengzejia1/Open-VCLIP, slowfast/models/temporalclip_video_model.py, tools/{train,test}_net.py",
        unverified=(
            "how it was trained for the base-to-novel table of FROSTER is not public; no published checkpoint was "
            "available; frames, input statistics and number of views are those that all methods share unless the "
            "published ones are requested"
        ),
    )
    recipes = OPEN_VCLIP
    options_type = OpenVClipOptions
    random_draws = True
    checkpoint_normalize = "clip"
    parameters_vit_b16 = (149_620_737, 86_192_641)
