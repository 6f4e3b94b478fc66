"""Published optimisation settings shared by the fine-tuning methods, as data with their source.

Source of the published values: muzairkhattak/ViFi-CLIP, `configs/**` and `utils/config.py` (all 67 files compared);
8 ranks, micro-batches of 4 clips, AdamW (0.9, 0.98), weight decay 0.001, 5 warm-up epochs, smoothing 0.1,
mixup 0.8, cutmix 1.0. The `mini` recipe is this project's own, for the embedded tiny model.
"""

from harness.api import Recipe

VIFI_B2N = Recipe(epochs=11, lr=2e-6, accumulate=2, source="ViFi-CLIP configs/base2novel/finetuning_base2novel")
VIFI_FEW_SHOT = Recipe(epochs=50, lr=2e-6, accumulate=2, source="ViFi-CLIP configs/few_shot/finetuning_few_shot")
VIFI_ZERO_SHOT = Recipe(epochs=10, lr=8e-6, accumulate=8, source="ViFi-CLIP configs/zero_shot/train/k400")
VIFI_SUPERVISED = Recipe(epochs=30, lr=2.2e-5, accumulate=16, source="ViFi-CLIP configs/fully_supervised/k400")
SINGLE_SUPERVISED = Recipe(
    epochs=30, lr=8e-6, accumulate=8, source="ViFi-CLIP configs/fully_supervised/k400 (image or text only)"
)
MINI = Recipe(epochs=11, lr=3e-4, ranks=1, accumulate=4, source="own: scaled to the embedded tiny model")

BOTH_ENCODERS = {
    "b2n": VIFI_B2N,
    "few_shot": VIFI_FEW_SHOT,
    "zero_shot": VIFI_ZERO_SHOT,
    "supervised": VIFI_SUPERVISED,
    "mini": MINI,
}
ONE_ENCODER = {**BOTH_ENCODERS, "supervised": SINGLE_SUPERVISED}
