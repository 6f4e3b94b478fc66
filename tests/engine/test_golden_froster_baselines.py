"""The adapters that FROSTER compares with, by the methods of this project that have the same arithmetic."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.api import ClipMethod
from tests.engine import golden
from tests.engine.test_golden_slowfast import FROSTER, entries_of, videos

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    # Half the width before the attention; FROSTER writes the convolution in two dimensions.
    "stadapt_zeroinit": ("st_adapter", {"before": "attn", "bottleneck": 96}),
    # AIM without positions of frames, which start at zero here, with half the adapter of the MLP.
    "aim": ("aim", {"scale": 0.5, "frames": 8}),
    # AdapterFormer: the adapter of the MLP alone. The other ones of AIM change nothing before a fit.
    "adapter": ("aim", {"scale": 0.5, "frames": 8}),
}
PARTS = {
    "stadapt_down_1": "pre_attn.fc1", "stadapt_conv3d_1": "pre_attn.conv", "stadapt_up_1": "pre_attn.fc2",
    **{
        f"{kind}_adapter.adapter.{layer}": f"{own}_Adapter.D_fc{number}"
        for kind, own in (("t", "T"), ("s", "S"), ("ffn", "MLP")) for layer, number in ((0, 1), (2, 2))
    },
}  # fmt: skip
"""Names of a block's tensors in FROSTER and here."""


def own_values(shared: Path, variant: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a variant under the names of the method."""
    prefix = f"adapters/{variant}/model.visual.transformer.resblocks."
    values = {}
    for name, value in golden.tensors(shared, "froster_extra").items():
        if name.startswith(prefix):
            number, _, rest = name.removeprefix(prefix).partition(".")
            part, _, kind = rest.rpartition(".")
            (own,) = (n for n in state if n.startswith(f"adapters.{number}.") and n.endswith(f"{PARTS[part]}.{kind}"))
            values[own] = value.reshape(state[own].shape)  # linear layers are convolutions of one pixel there
    return values


@cache
@torch.no_grad()
def froster_texts(shared: Path) -> tuple[ClipMethod, Tensor]:
    """FROSTER on CLIP, and its classifier of 29 texts per class."""
    froster = golden.method(shared, "froster")
    return froster, froster.encode_text(entries_of(shared))


@pytest.mark.parametrize("variant", METHODS)
@torch.no_grad()
def test_the_adapters_of_froster(shared: Path, variant: str) -> None:
    data, (name, options) = golden.arrays(shared, FROSTER), METHODS[variant]
    built, froster, texts = golden.method(shared, name, head="text", **options), *froster_texts(shared)
    golden.set_values(built, own_values(shared, variant, built.state_dict()))
    frames = built.encode_frames(videos(shared))
    golden.close(frames, data[f"adapters/{variant}/frame_features"], 3e-5, f"{variant} frame features")
    logits = froster.score(froster.pool(frames), texts)
    golden.close(logits, data[f"adapters/{variant}/logits"], 1e-4, f"{variant} logits")
