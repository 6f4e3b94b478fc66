"""Specification of ViCLIP."""

from dataclasses import dataclass

from harness.api import MethodCard, MethodOptions, MethodSpec, UserError, option

ENSEMBLE = "action16"


@dataclass(frozen=True)
class ViClipOptions(MethodOptions):
    """Options of texts and patches."""

    ensemble: str = option(
        ENSEMBLE, "action16: mean of cosines over ActionCLIP's 16 templates (published); none: the bare class name",
        (ENSEMBLE, "none"),
    )  # fmt: skip
    tubelet: int = option(1, "frames of a patch (published: 1)", bounds=(1, None))


class ViClipSpec(MethodSpec):
    """Card and options of the method."""

    name = "viclip"
    card = MethodCard(
        title="ViCLIP",
        paper="Wang et al., InternVid: A Large-scale Video-Text Dataset for Multimodal Understanding and Generation, "
        "ICLR 2024",
        class_text="templates",
        extra_data=("InternVid: videos of YouTube, from which UCF-101, HMDB-51 and Kinetics are not excluded",),
        family="adapting",
        source="OpenGVLab/InternVideo, InternVideo1/Pretrain/ViCLIP (models/backbones/clip, tasks/retrieval_utils.py)",
        unverified=(
            "without --checkpoint the weights are CLIP's, and the row is not that of ViCLIP; its scripts mix the "
            "checkpoint with CLIP by one half, which is not done here, and whether the published files are mixed is "
            "not known; frames are squashed to a square by a bicubic resize on bytes in the original; no published "
            "checkpoint was available"
        ),
    )
    options_type = ViClipOptions
    parameters_vit_b16 = (149_643_266, 0)

    @classmethod
    def check_frames(cls, options: ViClipOptions, frames: int) -> None:  # type: ignore[override]
        """Refuse a number of frames that the tubelet does not divide."""
        if frames % options.tubelet:
            raise UserError(
                f"{cls.name}:tubelet is {options.tubelet}, which does not divide the {frames} frames of the view.",
                f"Set a tubelet that divides them, or a multiple of {options.tubelet} with --views frames=N.",
            )
