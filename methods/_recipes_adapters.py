"""Recipes of methods that train small parts of a frozen CLIP: LoRA, ST-Adapter and AIM.

CLIP-LoRA: MaxZanella/CLIP-LoRA, `lora.py` and `run_utils.py`. ST-Adapter: linziyi96/st-adapter, scripts for K-400 and
SSv2. AIM: taoyang1122/adapt-image-models, `configs/recognition/vit`. The original pipelines resize with antialiasing of
other libraries; see the cards for further differences.
"""

from dataclasses import replace

from harness.api import Recipe

_PLAIN = Recipe(
    epochs=1, lr=1e-3, warmup_epochs=0, ranks=1, accumulate=1, weight_decay=0.01, betas=(0.9, 0.999), min_lr_ratio=0.0,
    smoothing=0.0, mixup=0.0, cutmix=0.0, schedule="slowfast_cosine",
)  # fmt: skip
"""AdamW with a cosine at each update, without label smoothing and blending."""

_LORA = replace(
    _PLAIN, lr=2e-4, micro_batch=32, min_lr_ratio=0.005, augmentation="resized_crop:0.08-1",
    source="own: CLIP-LoRA publishes pictures; its rate, decay, batch and cosine to 1e-6, epochs of ViFi-CLIP",
)  # fmt: skip
LORA = {
    "supervised": replace(_LORA, epochs=30),
    "zero_shot": replace(_LORA, epochs=10),
    "few_shot": replace(_LORA, epochs=50),
    "b2n": replace(_LORA, epochs=11),
    "mini": replace(
        _LORA,
        epochs=20,
        lr=1e-3,
        micro_batch=16,
        augmentation="published",
        source="own: scaled to the embedded tiny model",
    ),
}

_ST_ADAPTER = replace(
    _PLAIN, epochs=12, lr=7.5e-4, warmup_epochs=2, micro_batch=64, ranks=3, no_decay=("biases",),
    augmentation="short_side:224-258:bicubic", source="ST-Adapter script for K-400 (ViT-B/16, adapter12x384)",
)  # fmt: skip
_OWN = "own: nothing is published for class texts; the K-400 script of ST-Adapter, rate by its rule for the batch"
ST_ADAPTER = {
    "supervised": _ST_ADAPTER,
    "supervised/ssv2": replace(
        _ST_ADAPTER, epochs=50, lr=1e-3, ranks=4, flip=False,
        augmentation="rand-m7-n4-mstd0.5-inc1+resized_crop:0.08-1:bicubic",
        source="ST-Adapter script for SSv2 (ViT-B/16, adapter24x384)",
    ),
    "zero_shot": replace(_ST_ADAPTER, source=_OWN),
    "few_shot": replace(_ST_ADAPTER, epochs=50, lr=2.5e-4, ranks=1, source=_OWN),
    "b2n": replace(_ST_ADAPTER, lr=2.5e-4, ranks=1, source=_OWN),
    "mini": replace(
        _ST_ADAPTER, epochs=20, lr=1e-3, micro_batch=16, ranks=1, augmentation="published",
        source="own: scaled to the embedded tiny model",
    ),
}  # fmt: skip

_AIM = replace(
    _PLAIN, epochs=30, lr=3e-4, warmup_epochs=2.5, warmup_lr_ratio=0.1, micro_batch=8, ranks=8, weight_decay=0.05,
    no_decay=("last_norm",), schedule="epoch_cosine", augmentation="resized_crop:0.08-1",
    source="AIM configs/recognition/vit, ViT-B/16 on K-400 (L/14: --recipe lr_factors=tower=0.1)",
)  # fmt: skip
_OWN = "own: nothing is published for class texts; the K-400 configuration of AIM"
AIM = {
    "supervised": _AIM,
    "supervised/ssv2": replace(
        _AIM, epochs=50, flip=False, smoothing=0.1, augmentation="rand-m7-n4+resized_crop:0.08-1+erasing:0.25",
        source="AIM configs/recognition/vit, ViT-B/16 on SSv2",
    ),
    "zero_shot": replace(_AIM, source=_OWN),
    "few_shot": replace(_AIM, epochs=50, source=_OWN),
    "b2n": replace(_AIM, source=_OWN),
    "mini": replace(
        _AIM, epochs=20, lr=1e-3, micro_batch=16, ranks=1, augmentation="published",
        source="own: scaled to the embedded tiny model",
    ),
}  # fmt: skip

_VITA_CLIP = replace(
    _PLAIN, epochs=32, lr=4e-4, micro_batch=16, ranks=2, accumulate=8, weight_decay=0.05, flip=False,
    augmentation="rand-m7-n4-mstd0.5-inc1+resized_crop:0.08-1:bilinear",
    source="Vita-CLIP train_scripts/k400_train.sh: 30,000 updates of 256 clips are 32 epochs of K-400",
)  # fmt: skip
_OWN = "own: nothing is published for this protocol; rate, decay and augmentation of the K-400 script"
VITA_CLIP = {
    "supervised": _VITA_CLIP,
    "zero_shot": replace(_VITA_CLIP, source="own: its zero-shot models are not public; the K-400 script"),
    "few_shot": replace(_VITA_CLIP, epochs=50, accumulate=2, source=_OWN),
    "b2n": replace(_VITA_CLIP, epochs=11, accumulate=2, source=_OWN),
    "mini": replace(
        _VITA_CLIP, epochs=20, lr=1e-3, micro_batch=16, ranks=1, accumulate=1, augmentation="published",
        source="own: scaled to the embedded tiny model",
    ),
}  # fmt: skip
