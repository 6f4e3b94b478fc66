"""Recipes of the methods that were published with the SlowFast code: Open-VCLIP and FROSTER.

wengzejia1/Open-VCLIP, script/training; Visual-AI/FROSTER, script/training. ViT-B/16, 8 processes, AdamW (0.9, 0.999),
weight decay 0.01 except on vectors and biases, clipping at 1, linear warm-up of 2 epochs from a hundredth of the rate,
then a cosine to a hundredth. Epochs 2 and later are averaged.
"""

from dataclasses import replace

from harness.api import Recipe

_SLOWFAST = Recipe(
    epochs=22, lr=3.33e-6, warmup_epochs=2, micro_batch=8, ranks=8, accumulate=1, weight_decay=0.01, betas=(0.9, 0.999),
    min_lr_ratio=0.01, warmup_lr_ratio=0.01, clip_norm=1.0, smoothing=0.0, mixup=0.0, cutmix=0.0,
    augmentation="short_side:224-256", schedule="slowfast_cosine", average="2-22",
)  # fmt: skip
_MINI = replace(
    _SLOWFAST, epochs=11, lr=4e-4, micro_batch=16, ranks=1, average="2-11",
    source="own: scaled to the embedded tiny model",
)  # fmt: skip

_OPEN_VCLIP = replace(_SLOWFAST, initial_share=0.5)
OPEN_VCLIP = {
    "zero_shot": replace(_OPEN_VCLIP, source="Open-VCLIP script/training/temporal_b16"),
    "supervised": replace(
        _OPEN_VCLIP, source="own: its model of script/training/temporal_b16, which is trained on K-400 for zero-shot"
    ),
    "b2n": replace(
        _OPEN_VCLIP, epochs=12, micro_batch=4, average="2-12",
        source="own: not published; epochs and batch of FROSTER, which reports it",
    ),
    "few_shot": replace(
        _OPEN_VCLIP, epochs=50, micro_batch=4, average="2-50",
        source="own: not published; as b2n, 50 epochs of ViFi-CLIP",
    ),
    "mini": replace(_MINI, initial_share=0.5),
}  # fmt: skip

_B2N = replace(
    _SLOWFAST, epochs=12, micro_batch=4, average="2-12", source="FROSTER script/training/train_clip_B2N (HMDB, K400)"
)
FROSTER = {
    "zero_shot": replace(_SLOWFAST, source="FROSTER script/training/train_clip"),
    "supervised": replace(
        _SLOWFAST, source="own: its model of script/training/train_clip, which is trained on K-400 for zero-shot"
    ),
    "b2n": _B2N,
    "b2n/ucf101": replace(_B2N, micro_batch=8, source="FROSTER script/training/train_clip_B2N_ucf"),
    "b2n/ssv2": replace(
        _B2N, average="none", source="FROSTER script/training/train_clip_B2N_ssv2: its test script takes the last epoch"
    ),
    "few_shot": replace(
        _B2N, epochs=50, average="2-50", source="own: not published; as b2n, 50 epochs of ViFi-CLIP"
    ),
    "mini": _MINI,
}  # fmt: skip
