"""Published recipes of OST, EZ-CLIP, TC-CLIP and MoTE as data with their source.

A source that begins with `own` is not published.

OST: tomchen-ctj/OST, `configs/**`; 8 ranks of 4 clips whose features are gathered, so that 32 clips are one group of
the loss. EZ-CLIP: Shahzadnit/EZ-CLIP, `configs/**`, `utils/solver.py`.
"""

from dataclasses import replace

from harness.api import Recipe
from methods._recipes import MINI

_OST = Recipe(
    epochs=10, lr=8e-6, micro_batch=32, ranks=1, accumulate=8, smoothing=0.0, mixup=0.0, cutmix=0.0,
    source="OST configs/zero_shot/train/k400/16_32_ost, tested as in configs/zero_shot/eval (0.2 of CLIP's weights)",
)  # fmt: skip
_OST_FEW_SHOT = replace(
    _OST, epochs=50, lr=5e-6, accumulate=2, source="OST configs/few_shot (hmdb51, ucf101, ssv2: 16_32_ost_K)"
)
OST = {
    "zero_shot": replace(_OST, initial_share=0.2),
    "few_shot": _OST_FEW_SHOT,
    "few_shot/hmdb51/4": replace(_OST_FEW_SHOT, lr=3.5e-6),
    "few_shot/ssv2/16": replace(_OST_FEW_SHOT, lr=2.5e-6),
    "b2n": replace(
        _OST_FEW_SHOT, epochs=11, source="own: not published; the few-shot settings with the 11 epochs of ViFi-CLIP"
    ),
    "supervised": replace(
        _OST, epochs=30, source="own: not published; the settings of the K-400 fit with 30 epochs"
    ),
    "mini": replace(
        _OST, epochs=11, lr=8e-4, micro_batch=16, accumulate=1, source="own: scaled to the embedded tiny model"
    ),
}  # fmt: skip

_EZ = Recipe(
    epochs=150, lr=1e-4, micro_batch=80, ranks=1, accumulate=1, weight_decay=0.2, min_lr_ratio=0.0, smoothing=0.0,
    mixup=0.0, cutmix=0.0, schedule="stepped_cosine", augmentation="multi_scale_raw+color_jitter+grey:0.2",
    source="EZ-CLIP configs/K-400/k400_train",
)  # fmt: skip
"""One group is the whole batch: the loss takes its negatives from all of it."""
_COMPLETE = "own: EZ-CLIP configs/base_to_nove/{} is written for the complete base list, not for 16 clips per class"
_EZ_B2N = replace(_EZ, epochs=50, micro_batch=20, source=_COMPLETE.format("hmdb"))
_EZ_FEW_SHOT = replace(
    _EZ, epochs=180, micro_batch=10, source="own: not published; configs/few_shot/hmdb_base_fs, written for K = 2"
)
_EZ_UCF = replace(
    _EZ_FEW_SHOT, epochs=100, micro_batch=4, source="EZ-CLIP configs/few_shot/ucf_fs (published for ViT-L/14 and K = 8)"
)
EZ_CLIP = {
    "zero_shot": _EZ,
    "supervised": replace(_EZ, source="own: not published; the settings of configs/K-400/k400_train"),
    "b2n": _EZ_B2N,
    "b2n/ucf101": replace(_EZ_B2N, lr=1e-5, micro_batch=60, source=_COMPLETE.format("ucf")),
    "b2n/k400": replace(_EZ_B2N, epochs=100, lr=5e-6, micro_batch=50, source=_COMPLETE.format("k400")),
    "b2n/ssv2": replace(_EZ_B2N, epochs=100, lr=1e-5, micro_batch=50, source=_COMPLETE.format("ssv2")),
    "few_shot": _EZ_FEW_SHOT,
    "few_shot/hmdb51": replace(_EZ_FEW_SHOT, source="own: published for K = 2; EZ-CLIP configs/few_shot/hmdb_base_fs"),
    "few_shot/hmdb51/2": replace(_EZ_FEW_SHOT, source="EZ-CLIP configs/few_shot/hmdb_base_fs (published for K = 2)"),
    "few_shot/ucf101": replace(
        _EZ_UCF, source="own: published for K = 8 and ViT-L/14; EZ-CLIP configs/few_shot/ucf_fs"
    ),
    "few_shot/ucf101/8": _EZ_UCF,
    "mini": replace(
        _EZ, epochs=11, lr=3e-3, micro_batch=16, augmentation="published",
        source="own: scaled to the embedded tiny model",
    ),
}  # fmt: skip

_TC_CLIP = Recipe(epochs=10, lr=8e-6, ranks=4, accumulate=16, source="TC-CLIP configs/zero_shot.yaml")
TC_CLIP = {
    "zero_shot": _TC_CLIP,
    "few_shot": replace(_TC_CLIP, epochs=50, lr=2e-6, accumulate=4, source="TC-CLIP configs/few_shot.yaml"),
    "few_shot/ssv2": replace(
        _TC_CLIP, epochs=50, lr=2e-6, accumulate=4, flip=False, source="TC-CLIP configs/few_shot.yaml (SSv2: no flip)"
    ),
    "b2n": replace(
        _TC_CLIP, epochs=12, lr=3.33e-6, warmup_epochs=2, accumulate=4, source="TC-CLIP configs/base2novel.yaml"
    ),
    "b2n/ssv2": replace(
        _TC_CLIP, epochs=12, lr=3.33e-6, warmup_epochs=2, accumulate=4, flip=False,
        source="TC-CLIP configs/base2novel.yaml (SSv2: no flip)",
    ),
    "supervised": replace(
        _TC_CLIP, epochs=30, lr=2.2e-5, accumulate=32, source="TC-CLIP configs/fully_supervised.yaml"
    ),
    "mini": replace(MINI, lr=2e-4),
}  # fmt: skip
"""Source: naver-ai/tc-clip at 8728fe4, configs/*.yaml and scripts/train, 4 GPUs x 4 clips; `last` replaces its choice
of the best epoch on the evaluation list."""

_MOTE = Recipe(
    epochs=30, lr=5e-5, warmup_epochs=5, micro_batch=64, ranks=3, accumulate=1, weight_decay=0.2, betas=(0.9, 0.999),
    min_lr_ratio=0.0, augmentation="resized_crop:0.08-1+grey:0.2", smoothing=0.0, mixup=0.0, cutmix=0.0,
    schedule="stepped_cosine",
    source="MoTE configs/k400 (ViT-B/16)",
)  # fmt: skip
_OWN = "own: not published; the settings of MoTE's K-400 configuration"
MOTE = {
    "supervised": _MOTE,
    "zero_shot": replace(
        _MOTE, initial_share=0.01,
        source="MoTE configs/k400 (ViT-B/16); test_zeroshot.py mixes 1 % of CLIP into the vision tower",
    ),
    "few_shot": replace(_MOTE, epochs=50, ranks=1, source=f"{_OWN}, 50 epochs"),
    "b2n": replace(_MOTE, epochs=12, warmup_epochs=2, ranks=1, source=f"{_OWN}, 12 epochs"),
    "mini": replace(
        MINI, lr=1e-3, micro_batch=16, accumulate=1, weight_decay=0.2, betas=(0.9, 0.999), smoothing=0.0, mixup=0.0,
        cutmix=0.0, min_lr_ratio=0.0,
    ),
}  # fmt: skip
"""Source: ZMHH-H/MoTE at 1d3fa01, configs and utils/solver.py, 3 GPUs x 64 clips; `last` replaces its best epoch."""
