"""The augmentation of a fit as a text: a name, or steps that are applied in their order.

published                                       the pipeline of ViFi-CLIP and X-CLIP
none                                            the evaluation view
short_side:224-256                              SlowFast's jitter of the short side, then a random crop
rand-m7-n4-mstd0.5-inc1+resized_crop:0.08-1     RandAugment, then a random resized crop
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from harness.base.errors import UserError

NAMES = ("published", "none")
CROPS = ("multi_scale", "multi_scale_raw", "short_side", "resized_crop")
"""Steps that cut a square of the side of the input; an augmentation has exactly one of them. The flip follows it."""
PIXELS = ("color_jitter", "grey", "rand")
"""Steps that change pixel values of 0..255."""
ERASING = "erasing"
INTERPOLATIONS = ("bilinear", "bicubic")
GRAMMAR = (
    "published, none, or steps joined by +: one crop of multi_scale, multi_scale_raw, short_side:MIN-MAX[:bicubic] "
    "(pixels of an input of 224) and resized_crop:MIN-MAX[:bilinear|:bicubic] (shares of the area; with an "
    "interpolation of the decoded frame); and color_jitter, grey:P, rand-mM-nN[-mstdS][-inc1] "
    "(RandAugment), erasing:P"
)
PUBLISHED = "multi_scale+color_jitter+grey:0.2"
"""The steps of `published`."""
_NUMBER = r"\d+(?:\.\d+)?"
_RAND = re.compile(rf"rand((?:-(?:mstd|inc|m|n){_NUMBER})+)")
# The longer names first: `m` is also the beginning of `mstd`.
_RAND_PART = re.compile(rf"(mstd|inc|m|n)({_NUMBER})")


@dataclass(frozen=True)
class AugmentationStep:
    """A step of an augmentation.

    Args:
        name: A crop (`multi_scale`, `multi_scale_raw`, `short_side`, `resized_crop`), `color_jitter`, `grey`, `rand` or
            `erasing`.
        low: Smallest short side in pixels of an input of 224, or smallest share of the area; of `grey` and `erasing`
            the probability.
        high: Largest short side or share.
        interpolation: Resize of `short_side`; of `resized_crop` empty for mmaction2's crop of the resized frame.
        magnitude: M of RandAugment, 0 to 10.
        layers: N of RandAugment: operations of a clip.
        deviation: Standard deviation of the magnitude.
        increasing: Whether each operation is stronger at a higher magnitude.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    interpolation: str = ""
    magnitude: float = 0.0
    layers: int = 0
    deviation: float = 0.0
    increasing: bool = False


@dataclass(frozen=True)
class Augmentation:
    """The steps of an augmentation; empty for `none`."""

    steps: tuple[AugmentationStep, ...]

    @property
    def erasing(self) -> float:
        """Probability that a box of a clip is erased."""
        return next((step.low for step in self.steps if step.name == ERASING), 0.0)


@cache
def parse_augmentation(text: str) -> Augmentation:
    """The steps of an augmentation.

    Args:
        text: A value of `Recipe.augmentation`.

    Raises:
        UserError: The text names an unknown step, a step has values out of range, or the steps do not go together.
    """
    if text == "none":
        return Augmentation(())
    steps = tuple(_step(part.strip(), text) for part in (PUBLISHED if text == "published" else text).split("+"))
    names = [step.name for step in steps]
    crops = [name for name in names if name in CROPS]
    if len(crops) != 1:
        raise _refused(text, f"has {len(crops)} crops, expected one of {', '.join(CROPS)}")
    if repeated := [name for name in names if names.count(name) > 1]:
        raise _refused(text, f"has the step {repeated[0]} {names.count(repeated[0])} times, expected it once")
    if ERASING in names[:-1]:
        raise _refused(text, f"has steps after {ERASING}, expected it at the end, because it erases normalised frames")
    # The resize gives fractions of grey levels, which operations on 0..255 do not take.
    for number, step in enumerate(steps):
        if step.interpolation and (late := [name for name in names[number:] if name in PIXELS]):
            raise _refused(text, f"has the step {late[0]} after {step.name}, expected it before")
    return Augmentation(steps)


def _step(part: str, text: str) -> AugmentationStep:
    name, colon, value = part.partition(":")
    if part in ("multi_scale", "multi_scale_raw", "color_jitter"):
        return AugmentationStep(part)
    if name in ("grey", ERASING) and colon:
        if not (re.fullmatch(_NUMBER, value) and 0 < float(value) <= 1):
            raise _refused(text, f"has {part}, expected a probability above 0 and at most 1, such as {name}:0.25")
        return AugmentationStep(name, float(value))
    if name in ("short_side", "resized_crop") and colon:
        return _crop(name, value, part, text)
    if match := _RAND.fullmatch(part):
        return _rand(match[1], part, text)
    raise _refused(text, f"has the step {part!r}")


def _crop(name: str, value: str, part: str, text: str) -> AugmentationStep:
    sizes, _, interpolation = value.partition(":")
    bounds = [float(bound) for bound in sizes.split("-") if re.fullmatch(_NUMBER, bound)]
    share = name == "resized_crop"
    if len(bounds) != 2 or not 0 < bounds[0] <= bounds[1] or (share and bounds[1] > 1):
        example = "resized_crop:0.08-1 with shares of the area" if share else "short_side:224-256 with ascending pixels"
        raise _refused(text, f"has {part}, expected {example}")
    if not share and bounds[0] < 224:
        raise _refused(text, f"has {part}, expected a short side from 224, the side of the crop")
    if interpolation and interpolation not in INTERPOLATIONS:
        raise _refused(text, f"has {part}, expected the interpolation {' or '.join(INTERPOLATIONS)}")
    return AugmentationStep(name, bounds[0], bounds[1], interpolation or ("" if share else "bilinear"))


def _rand(values: str, part: str, text: str) -> AugmentationStep:
    found = _RAND_PART.findall(values)
    given = {key: float(number) for key, number in found}
    whole = given.get("n", 0.0).is_integer() and given.get("inc", 0.0) in (0, 1)
    if len(given) != len(found) or not {"m", "n"} <= set(given) or not whole:
        raise _refused(text, f"has {part}, expected rand-mM-nN[-mstdS][-inc1], such as rand-m7-n4-mstd0.5-inc1")
    if not 0 <= given["m"] <= 10 or given["n"] < 1:
        raise _refused(text, f"has {part}, expected a magnitude m from 0 to 10 and n of at least 1")
    return AugmentationStep(
        "rand", magnitude=given["m"], layers=int(given["n"]), deviation=given.get("mstd", 0.0),
        increasing=bool(given.get("inc", 0)),
    )  # fmt: skip


def _refused(text: str, problem: str) -> UserError:
    return UserError(f"recipe.augmentation is {text!r}, which {problem}.", f"Expected {GRAMMAR}.")
