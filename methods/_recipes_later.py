"""Published recipes of OST and EZ-CLIP as data with their source. A source that begins with `own` is not published.

OST: tomchen-ctj/OST, `configs/**`; 8 ranks of 4 clips whose features are gathered, so that 32 clips are one group of
the loss. EZ-CLIP: Shahzadnit/EZ-CLIP, `configs/**`, `utils/solver.py`.
"""

from dataclasses import replace

from harness.api import Recipe

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
    mixup=0.0, cutmix=0.0, schedule="stepped_cosine", source="EZ-CLIP configs/K-400/k400_train",
)  # fmt: skip
"""One group is the whole batch: the loss takes its negatives from all of it."""
_COMPLETE = "own: EZ-CLIP configs/base_to_nove/{} is written for the complete base list, not for 16 clips per class"
_EZ_B2N = replace(_EZ, epochs=50, micro_batch=20, source=_COMPLETE.format("hmdb"))
_EZ_FEW_SHOT = replace(
    _EZ, epochs=180, micro_batch=10, source="own: not published; configs/few_shot/hmdb_base_fs, written for K = 2"
)
EZ_CLIP = {
    "zero_shot": _EZ,
    "supervised": replace(_EZ, source="own: not published; the settings of configs/K-400/k400_train"),
    "b2n": _EZ_B2N,
    "b2n/ucf101": replace(_EZ_B2N, lr=1e-5, micro_batch=60, source=_COMPLETE.format("ucf")),
    "b2n/k400": replace(_EZ_B2N, epochs=100, lr=5e-6, micro_batch=50, source=_COMPLETE.format("k400")),
    "b2n/ssv2": replace(_EZ_B2N, epochs=100, lr=1e-5, micro_batch=50, source=_COMPLETE.format("ssv2")),
    "few_shot": _EZ_FEW_SHOT,
    "few_shot/hmdb51": replace(_EZ_FEW_SHOT, source="EZ-CLIP configs/few_shot/hmdb_base_fs (published for K = 2)"),
    "few_shot/ucf101": replace(
        _EZ_FEW_SHOT, epochs=100, micro_batch=4,
        source="EZ-CLIP configs/few_shot/ucf_fs (published for ViT-L/14 and K = 8)",
    ),
    "mini": replace(_EZ, epochs=11, lr=3e-3, micro_batch=16, source="own: scaled to the embedded tiny model"),
}  # fmt: skip
