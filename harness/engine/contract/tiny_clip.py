"""A small random CLIP with two blocks per tower, on which checks and tests run without weights and videos."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import torch
from torch import Tensor

from harness.engine.model.backbone import Backbone, BackboneFacts, clip_from_openai_names
from harness.engine.model.weights import state_sha256, strict_load


@cache
def tiny_state(seed: int) -> dict[str, Tensor]:
    """OpenAI-named tensors drawn by NumPy, whose stream does not change between versions of torch."""
    rng = np.random.default_rng(seed)
    state: dict[str, Tensor] = {}

    def draw(name: str, *shape: int, std: float, mean: float = 0.0) -> None:
        # Rounded to float16, as OpenAI's weights are.
        values = rng.normal(mean, std, shape).astype(np.float16).astype(np.float32)
        state[name] = torch.from_numpy(values)

    def blocks(prefix: str, width: int, layers: int) -> None:
        for i in range(layers):
            root = f"{prefix}transformer.resblocks.{i}."
            draw(root + "attn.in_proj_weight", 3 * width, width, std=width**-0.5)
            draw(root + "attn.in_proj_bias", 3 * width, std=0.02)
            draw(root + "attn.out_proj.weight", width, width, std=width**-0.5)
            draw(root + "attn.out_proj.bias", width, std=0.02)
            draw(root + "mlp.c_fc.weight", 4 * width, width, std=width**-0.5)
            draw(root + "mlp.c_fc.bias", 4 * width, std=0.02)
            draw(root + "mlp.c_proj.weight", width, 4 * width, std=(4 * width) ** -0.5)
            draw(root + "mlp.c_proj.bias", width, std=0.02)
            for norm in ("ln_1", "ln_2"):
                draw(f"{root}{norm}.weight", width, std=0.05, mean=1.0)
                draw(f"{root}{norm}.bias", width, std=0.05)

    width, text_width, dim, patch, grid = 128, 64, 64, 8, 4
    draw("visual.conv1.weight", width, 3, patch, patch, std=0.1)
    draw("visual.class_embedding", width, std=1.0)
    draw("visual.positional_embedding", grid * grid + 1, width, std=0.3)
    draw("visual.proj", width, dim, std=width**-0.5)
    blocks("visual.", width, 2)
    # The size of CLIP's vocabulary, because the real tokenizer makes the ids.
    draw("token_embedding.weight", 49408, text_width, std=0.5)
    draw("positional_embedding", 77, text_width, std=0.1)
    draw("text_projection", text_width, dim, std=text_width**-0.5)
    blocks("", text_width, 2)
    for name, size in (("visual.ln_pre", width), ("visual.ln_post", width), ("ln_final", text_width)):
        draw(f"{name}.weight", size, std=0.05, mean=1.0)
        draw(f"{name}.bias", size, std=0.05)
    state["logit_scale"] = torch.tensor(3.0)
    return state


def tiny_backbone(seed: int = 0) -> Backbone:
    """An untrained CLIP with two blocks per tower and an input of 32 pixels, equal on every machine."""
    # A copy takes a tenth of the time of a new model, and a check of a method starts from many.
    return copy.deepcopy(_prototype(seed))


@cache
def _prototype(seed: int) -> Backbone:
    state = tiny_state(seed)
    clip = clip_from_openai_names(state).eval()
    strict_load(clip, state, "the seeded weights")
    facts = BackboneFacts("tiny", "tiny", f"seed {seed}", state_sha256(dict(clip.state_dict())), 32, True)
    return Backbone(clip, facts)
