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
