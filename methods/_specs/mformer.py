"""Specification of Motionformer."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from harness.api import LabelSet, MethodCard, MethodSpec, NetworkInput, OwnNetwork
from methods._specs._mformer import CONFIGS, JOINT, MformerOptions
from methods._specs._outputs import RANDOM, require_outputs

if TYPE_CHECKING:
    from torch import nn

SOURCE = "https://dl.fbaipublicfiles.com/motionformer/"
CLIPS = 10
"""Temporal views of the published evaluation on Kinetics."""


class MformerSpec(MethodSpec):
    """Card and options of the method; it is evaluated with a checkpoint and has no recipe."""

    name = "mformer"
    card = MethodCard(
        title="Motionformer",
        paper="Patrick et al., Keeping Your Eye on the Ball: Trajectory Attention in Video Transformers, NeurIPS 2021",
        class_text="none",
        extra_data=(
            "ImageNet: the published weights start from a ViT-B/16 of timm",
            "what the checkpoint was trained on; it is not audited here",
        ),
        family="unimodal",
        source="facebookresearch/Motionformer, slowfast/models/vit_helper.py and video_model_builder.py",
        unverified=(
            "evaluation only, there is no recipe; no published checkpoint was available; that the outputs are in the "
            "order of the dataset's classes is taken on trust unless `classes` names them; attention=orthoformer "
            "draws its first landmarks at random in each pass of the original, here they are fixed; Nystrom, "
            "Performer, divided attention and the weights for SSv2 and EPIC-Kitchens are left out; "
            "the licence of code and weights is stated as Apache-2.0 and as CC-NC 4.0"
        ),
    )
    options_type = MformerOptions
    uses_clip = False
    open_vocabulary = False

    @classmethod
    def own_model(cls, options: MformerOptions) -> OwnNetwork:  # type: ignore[override]
        """Return the network of the options, which replaces CLIP.

        Raises:
            UserError: The checkpoint is missing.
        """
        size = CONFIGS[options.config]
        fetch = f"Fetch a file, such as {SOURCE}{size.file}" if size.file else "None is published: use your own"
        given = f"{cls.name}:config={options.config},checkpoint="
        # Files hold patch layers and tables that one setting or the other leaves unused.
        unused = ["patch_embed." if options.tubelet > 1 else "patch_embed_3d."]
        unused += ["pos_embed"] if options.positions == JOINT else []
        # Class names are not part of the network.
        settings = tuple((k, v) for k, v in vars(options).items() if k not in ("config", "checkpoint", "classes"))
        network = OwnNetwork(
            f"mformer-{options.config}",
            NetworkInput(size.frames, size.size, f"motionformer:{size.stride}", CLIPS, "slowfast", "exact"),
            options.fixed_classes, settings, options.checkpoint, partial(_build, options), tuple(unused),
        )  # fmt: skip
        without = f"To run the pipeline without weights: {given}{RANDOM}."
        network.require_checkpoint(f"{fetch}, and give its path: {given}FILE. {without}")
        return network

    @classmethod
    def check_classes(cls, options: MformerOptions, label_set: LabelSet) -> None:  # type: ignore[override]
        """Refuse a label set whose size is not that of the head."""
        require_outputs(cls.name, f"{cls.name}-{options.config}", options.fixed_classes, label_set)

    @classmethod
    def card_for(cls, options: MformerOptions) -> MethodCard:  # type: ignore[override]
        """Return the card with the name of the network, and a remark if it has random weights."""
        names = {"hr": "Mformer-HR", "base": "Mformer", "large": "Mformer-L", "tiny": "Mformer-tiny"}
        weights = " (random weights)" if options.checkpoint == RANDOM else ""
        return replace(cls.card, title=names[options.config] + weights)


def _build(options: MformerOptions) -> nn.Module:
    """Return the network of the options with initial values."""
    from methods._trajectory import Motionformer  # imports torch, which a plan does not need

    return Motionformer(options, CONFIGS[options.config])
