"""Published recipes as data with their source. A source that begins with `own` names recipes that are not published.

ViFi-CLIP: muzairkhattak/ViFi-CLIP, `configs/**` and `utils/config.py` (all 67 files compared); 8 ranks, groups of 4
clips, AdamW (0.9, 0.98), weight decay 0.001, 5 warm-up epochs, smoothing 0.1, mixup 0.8, cutmix 1.0. X-CLIP:
microsoft/VideoX and the paper. ActionCLIP: sallymmx/ActionCLIP, `configs/**`, `utils/solver.py`. Efficient-Prompt:
ju-chen/Efficient-Prompt, README and `src/main.py`. The `mini` recipes are this project's own, for the embedded tiny
model.
"""

from dataclasses import replace

from harness.api import Recipe

VIFI_B2N = Recipe(epochs=11, lr=2e-6, accumulate=2, source="ViFi-CLIP configs/base2novel/finetuning_base2novel")
VIFI_FEW_SHOT = Recipe(epochs=50, lr=2e-6, accumulate=2, source="ViFi-CLIP configs/few_shot/finetuning_few_shot")
VIFI_ZERO_SHOT = Recipe(epochs=10, lr=8e-6, accumulate=8, source="ViFi-CLIP configs/zero_shot/train/k400")
VIFI_SUPERVISED = Recipe(epochs=30, lr=2.2e-5, accumulate=16, source="ViFi-CLIP configs/fully_supervised/k400")
SINGLE_SUPERVISED = Recipe(
    epochs=30, lr=8e-6, accumulate=8, source="ViFi-CLIP configs/fully_supervised/k400 (image or text only)"
)
MINI = Recipe(
    epochs=3, lr=6e-4, warmup_epochs=1, ranks=1, accumulate=2, augmentation="none", mixup=0.0, cutmix=0.0,
    source="own: scaled to the embedded tiny model; no augmentation, so that each clip is decoded once for all epochs",
)  # fmt: skip

BOTH_ENCODERS = {
    "b2n": VIFI_B2N,
    "few_shot": VIFI_FEW_SHOT,
    "zero_shot": VIFI_ZERO_SHOT,
    "supervised": VIFI_SUPERVISED,
    "mini": MINI,
}
ONE_ENCODER = {**BOTH_ENCODERS, "supervised": SINGLE_SUPERVISED}


PROMPTS = {
    "b2n": Recipe(epochs=11, lr=4e-2, accumulate=2, source="ViFi-CLIP configs/base2novel/prompting_base2novel"),
    "few_shot": Recipe(epochs=50, lr=8e-3, accumulate=2, source="ViFi-CLIP configs/few_shot/prompting_few_shot"),
}
# Stage two adapts to a target, so that the tiny model too has no recipe for protocols that fit on the source.
PROMPTS |= dict.fromkeys(("mini/b2n", "mini/few_shot"), replace(MINI, lr=1e-1))

XCLIP_FEW_SHOT = Recipe(epochs=50, lr=2e-6, accumulate=2, source="X-CLIP configs/hmdb51, configs/ucf101 (16_32)")
XCLIP = {
    "supervised": Recipe(epochs=30, lr=8e-6, accumulate=8, source="X-CLIP configs/k400/16_16"),
    "zero_shot": Recipe(epochs=10, lr=8e-6, accumulate=8, source="X-CLIP issue 68: k400/16_32 with 10 epochs"),
    "few_shot": XCLIP_FEW_SHOT,
    "few_shot/ssv2": replace(XCLIP_FEW_SHOT, source="own: not published for SSv2; as for HMDB-51"),
    "b2n": replace(
        XCLIP_FEW_SHOT, epochs=11,
        source="own: not published; the few-shot settings of X-CLIP with the 11 epochs of ViFi-CLIP",
    ),
    "mini": replace(MINI, lr=2e-4),
}  # fmt: skip

_ACTIONCLIP = Recipe(
    epochs=50, lr=5e-6, micro_batch=64, ranks=1, accumulate=1, weight_decay=0.2, min_lr_ratio=0.0,
    smoothing=0.0, mixup=0.0, cutmix=0.0, schedule="stepped_cosine",
)  # fmt: skip
"""One group is the whole batch: the loss takes its negatives from all of it."""
ACTIONCLIP = {
    "supervised": replace(
        _ACTIONCLIP, micro_batch=128,
        source="ActionCLIP configs/k400/k400_train (published for ViT-B/32 and 8 frames; none for ViT-B/16)",
    ),
    "zero_shot": replace(
        _ACTIONCLIP, micro_batch=128, source="own: its zero-shot models are those of configs/k400/k400_train"
    ),
    "few_shot": replace(_ACTIONCLIP, source="own: not published; configs/hmdb51/hmdb_train (batch 64, 50 epochs)"),
    "few_shot/ucf101": replace(
        _ACTIONCLIP, micro_batch=32, source="own: not published; configs/ucf101/ucf_train (batch 32, 50 epochs)"
    ),
    "b2n": replace(_ACTIONCLIP, source="own: not published; configs/hmdb51/hmdb_train (batch 64, 50 epochs)"),
    "mini": replace(
        _ACTIONCLIP, epochs=11, lr=2e-4, micro_batch=16, source="own: scaled to the embedded tiny model"
    ),
}  # fmt: skip

_EFFICIENT_PROMPT = Recipe(
    epochs=20, lr=1e-4, warmup_epochs=0, micro_batch=64, ranks=1, accumulate=1, weight_decay=0.01, betas=(0.9, 0.999),
    smoothing=0.0, mixup=0.0, cutmix=0.0, schedule="constant", augmentation="none",
    source=(
        "own: Efficient-Prompt README (HMDB-51 split 1: batch 64, 1100 iterations, about 20 epochs, no augmentation; "
        "its cosine over 200000 iterations is constant over them); nothing is published for this protocol"
    ),
)  # fmt: skip
EFFICIENT_PROMPT = {
    "supervised": _EFFICIENT_PROMPT,
    "zero_shot": _EFFICIENT_PROMPT,
    "few_shot": replace(_EFFICIENT_PROMPT, epochs=50),
    "b2n": replace(_EFFICIENT_PROMPT, epochs=50),
    "mini": replace(
        _EFFICIENT_PROMPT, epochs=20, lr=3e-3, micro_batch=16, source="own: scaled to the embedded tiny model"
    ),
}  # fmt: skip

_EMBEDDING = Recipe(
    epochs=1, lr=1e-3, warmup_epochs=0, micro_batch=64, ranks=1, accumulate=1, weight_decay=0.0, betas=(0.9, 0.999),
    smoothing=0.0, mixup=0.0, cutmix=0.0, schedule="constant", augmentation="none",
)  # fmt: skip
CLOSED_FORM = {
    "zero_shot": replace(
        _EMBEDDING, micro_batch=1, lr=1.0, source="own: a closed form has no settings; every clip counts once"
    )
}
"""No optimiser runs: one pass over the features, whatever `lr`, batch and schedule say."""
SJE = {
    "zero_shot": replace(_EMBEDDING, epochs=10, source="own: not published for features of CLIP"),
    "mini/zero_shot": replace(_EMBEDDING, epochs=20, micro_batch=16, source="own: scaled to the embedded tiny model"),
}
DEM = {
    "zero_shot": replace(
        _EMBEDDING, epochs=10, lr=1e-4, source="own: not published for features of CLIP; rate and batch of the paper"
    ),
    "mini/zero_shot": replace(_EMBEDDING, epochs=20, micro_batch=16, source="own: scaled to the embedded tiny model"),
}
