"""Attention maps of the class token on a clip, drawn side by side for several methods, e.g. untuned and tuned CLIP."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from harness.base.atomic import write_bytes
from harness.base.errors import UserError
from harness.engine.method import ClipMethod

GAP = 4
HEADER = 14
FRAME_MILLISECONDS = 250
TOP_PERCENTILE = 99.0
"""The scale of a film ends at this percentile: single patches have many times the attention of all others."""
SUFFIXES = (".gif", ".mp4")


@dataclass(frozen=True)
class AttentionMaps:
    """Attention maps of one clip under several methods.

    Args:
        frames: (T, H, W, 3) uint8 RGB frames, resized and cropped as for the models.
        maps: Title -> (T, h, w) shares of the class token's attention on patches; they sum to 1 per frame.
        times: T labels of the frames.
        predictions: Title -> the predicted class with its probability.
    """

    frames: NDArray[np.uint8]
    maps: dict[str, NDArray[np.float32]]
    times: tuple[str, ...] = ()
    predictions: dict[str, str] = field(default_factory=dict)


@torch.no_grad()
def class_token_attention(method: ClipMethod, video: Tensor) -> NDArray[np.float32]:
    """Attention of the class token on the patches in the last vision block, mean over heads.

    Prompt and message tokens receive attention too, so the map of each frame is scaled to sum to 1 over its patches.

    Args:
        method: A method on a ViT with a class token; it is set to eval mode.
        video: (1, T, 3, H, W), normalised.

    Returns:
        (T, h, w), where h x w is the grid of patches.

    Raises:
        UserError: The vision tower is not a ViT with a class token.
    """
    patch_height, patch_width = method.backbone.require_vit("The attention map").conv1.kernel_size
    height, width = video.shape[-2] // patch_height, video.shape[-1] // patch_width
    maps = method.eval().patch_attention(video)[0].unflatten(1, (height, width))
    maps = maps / maps.sum(dim=(1, 2), keepdim=True)
    shares: NDArray[np.float32] = maps.float().cpu().numpy()
    return shares


def compare_attention(methods: dict[str, tuple[ClipMethod, Tensor]], frames: NDArray[np.uint8]) -> AttentionMaps:
    """Attention maps of one clip under each method.

    Args:
        methods: Title -> method and its input (1, T, 3, H, W), normalised as the method expects, in the order of the
            drawing.
        frames: The frames of the input, (T, 3, H, W) or (T, H, W, 3) uint8 RGB.
    """
    shown = frames.transpose(0, 2, 3, 1) if frames.shape[1] == 3 and frames.shape[-1] != 3 else frames
    maps = {title: class_token_attention(method, video) for title, (method, video) in methods.items()}
    return AttentionMaps(np.ascontiguousarray(shown), maps)


def render(attention: AttentionMaps, path: Path, size: int = 224) -> Path:
    """Draw the maps over the frames as a film: the clip and all methods side by side, one image per frame.

    All methods and frames share a scale, which the last line of each image states.

    Args:
        attention: Maps of one clip.
        path: Path that ends in `.gif` (endless loop) or `.mp4` (H.264 if PyAV supports it); the file is written
            atomically.
        size: Side of a frame in pixels.

    Raises:
        UserError: The path has another suffix.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path.name} is neither .gif nor .mp4.", "Choose one of these suffixes.")
    top = max(float(np.percentile(np.stack(list(attention.maps.values())), TOP_PERCENTILE)), 1e-12)
    columns = [
        [Image.fromarray(f).resize((size, size), Image.Resampling.BILINEAR) for f in attention.frames],
        *(
            [_overlay(f, m / top, size) for f, m in zip(attention.frames, maps, strict=True)]
            for maps in attention.maps.values()
        ),
    ]
    patches = next(iter(attention.maps.values()))[0].size
    scale = f"red: at least {top * patches:.1f} times the attention of a patch if all have the same"
    images = [
        _side_by_side([column[t] for column in columns], ["clip", *attention.maps], scale)
        for t in range(len(columns[0]))
    ]
    buffer = io.BytesIO()
    if path.suffix.lower() == ".mp4":
        _film(images, buffer)
    else:
        images[0].save(
            buffer, format="GIF", save_all=True, append_images=images[1:], duration=FRAME_MILLISECONDS, loop=0
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, buffer.getvalue())
    return path


def _film(images: list[Image.Image], buffer: io.BytesIO) -> None:
    """Write images of one size as an MP4 with the frame duration of the GIF."""
    codec: Literal["libx264", "mpeg4"] = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    width, height = images[0].size
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=Fraction(1000, FRAME_MILLISECONDS))
        # The pixel format has one colour value per 2 x 2 pixels, so both sides must be even.
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        for image in images:
            even = Image.new("RGB", (stream.width, stream.height), "white")
            even.paste(image)
            container.mux(stream.encode(av.VideoFrame.from_image(even)))
        container.mux(stream.encode())


def _overlay(frame: NDArray[np.uint8], strength: NDArray[np.float32], size: int) -> Image.Image:
    """A frame that is darker where attention is low and redder where it is high; strengths above 1 count as 1."""
    mask = Image.fromarray(np.minimum(strength, 1.0).astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC)
    share = np.clip(np.asarray(mask), 0.0, 1.0)[..., None]
    picture = np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.BILINEAR), dtype=np.float32)
    heat = np.array([255.0, 60.0, 20.0], dtype=np.float32)
    mixed = picture * (0.35 + 0.4 * share) + heat * 0.45 * share
    return Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))


def _side_by_side(images: list[Image.Image], titles: list[str], last: str) -> Image.Image:
    """Images of one size below their titles, with a last line."""
    size = images[0].width
    sheet = Image.new("RGB", (len(images) * (size + GAP) - GAP, size + 2 * HEADER), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (image, title) in enumerate(zip(images, titles, strict=True)):
        draw.text((number * (size + GAP) + 1, 1), title, fill="black")
        sheet.paste(image, (number * (size + GAP), HEADER))
    draw.text((1, HEADER + size + 1), last, fill="black")
    return sheet
