"""The published pipelines for training and evaluation, made of mmaction2's transforms.

Faults of mmaction2 that this module avoids, numbered as in docs/stack.md: D6 decoding from memory crashes on truncated
AVI files; D7 wrong frame counts in headers (reader `exact`), frames read out of order; D11 the same augmentation in
every epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypedDict

import numpy as np
from mmaction.datasets import VideoDataset
from mmaction.datasets.transforms import DecordDecode, DecordInit
from mmaction.registry import TRANSFORMS
from numpy.typing import NDArray

import harness.engine.video.mm_setup  # noqa: F401  (before mmaction2)
from harness.base.errors import UserError
from harness.engine.video.augment import RandAugmentClip, ShortSideCrop, ShortSideViews
from harness.engine.video.batches import Draw
from harness.engine.video.decord_reader import explained, open_decord
from harness.engine.video.exact_reader import Batch, SequentialVideo
from harness.engine.video.frame_folder_reader import FrameFolder
from harness.engine.video.part_of_clip import CutPart, ShiftToPart
from harness.engine.video.published_frames import FloatResizedCrop, RawMultiScaleCrop, SquashedFrames
from harness.engine.video.transforms import (
    Clip,
    ClipGrayScale,
    OwnResize,
    PackClip,
    PackedClip,
    PerFrameColorJitter,
    SampleDense,
    SampleSegments,
    SampleViews,
    resize_side,
    seeded_draws,
)
from harness.engine.video.view_transforms import ApplyViewTransform
from harness.plugins.registered_transforms import transforms
from harness.spec import Recipe, Views
from harness.spec.augmentation import ERASING, AugmentationStep, parse_augmentation

if TYPE_CHECKING:
    import decord

Step = dict[str, str | float | bool | tuple[float, ...]]
"""A transform as mmaction2's registry takes it: its name under `type`, and its arguments."""

REFERENCE = 224
"""Side of the input to which the short sides of an augmentation refer."""


class DataInfo(TypedDict):
    """A clip in mmaction2's format."""

    filename: str
    label: int


class OpenedClip(Clip):
    """The dictionary of a clip whose file is open."""

    filename: str


class Reader(Protocol):
    """A reader of one video, as mmaction2's transforms use it."""

    def get_batch(self, indices: NDArray[np.int64], /) -> Batch:
        """Return the frames of ascending indices."""
        ...


@TRANSFORMS.register_module(force=True)
class HarnessDecordInit(DecordInit):  # type: ignore[misc]
    """mmaction2's DecordInit that opens a file by path: decoding from memory crashes on truncated AVI files (D6)."""

    def _get_video_reader(self, filename: str) -> decord.VideoReader | FrameFolder:
        path = Path(filename)
        return FrameFolder(path) if path.is_dir() else open_decord(path, self.num_threads)


@TRANSFORMS.register_module(force=True)
class HarnessExactInit(DecordInit):  # type: ignore[misc]
    """The reader `exact`: frames of a sequential decode with decord's interface (D7)."""

    def _get_video_reader(self, filename: str) -> SequentialVideo | FrameFolder:
        path = Path(filename)
        return FrameFolder(path) if path.is_dir() else SequentialVideo(filename)


@TRANSFORMS.register_module(force=True)
class HarnessDecode(DecordDecode):  # type: ignore[misc]
    """mmaction2's DecordDecode that decodes each frame once and in ascending order, as the original code does.

    On files with packed B-frames or a wrong number of frames, decord returns other frames when it seeks back, as
    mmaction2's decoding does between the temporal views of a clip.
    """

    def transform(self, results: OpenedClip) -> OpenedClip:
        """Add `imgs`, the frames of `frame_inds`."""
        with explained(Path(results["filename"])):
            opened: OpenedClip = super().transform(results)
        return opened

    def _decord_load_frames(self, container: Reader, frame_inds: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        ascending, positions = np.unique(frame_inds, return_inverse=True)
        # Copies, because transforms may change an image in place.
        return list(container.get_batch(ascending).asnumpy()[positions])


for _transform in (
    SampleViews, SampleDense, SampleSegments, PerFrameColorJitter, ClipGrayScale, RandAugmentClip, ShortSideCrop,
    ShortSideViews, OwnResize, FloatResizedCrop, RawMultiScaleCrop, SquashedFrames, PackClip, ApplyViewTransform,
    CutPart, ShiftToPart,
):  # fmt: skip
    TRANSFORMS.register_module(name=f"Harness{_transform.__name__}", module=_transform, force=True)


def eval_pipeline(views: Views, size: int, transform: str = "") -> list[Step]:
    """Return the published evaluation pipeline: centre frames, short side 256/224 of the size, centre crop.

    With three crops the short side is the size itself, with one crop if `views.resize` says so. The output is
    (crops * clips * frames, 3, size, size), in which the crop changes slowest.

    Args:
        views: The views.
        size: Side of the square input in pixels.
        transform: Name of a view transform, which changes the cropped frames; empty for none.
    """
    sample: Step
    if views.clips == 1 and views.sampling == "centre":
        sample = dict(type="SampleFrames", clip_len=1, frame_interval=1, num_clips=views.frames, test_mode=True)
    else:
        sample = dict(type="HarnessSampleViews", frames=views.frames, clips=views.clips, sampling=views.sampling)
    resize = _resize_steps(views, size, rounded=bool(transform))
    return [
        *_reader(views), sample, dict(type="HarnessDecode"), *resize, *_transform_step(transform, views),
        dict(type="FormatShape", input_format="NCHW"), dict(type="HarnessPackClip"),
    ]  # fmt: skip


def _resize_steps(views: Views, size: int, rounded: bool) -> list[Step]:
    """The resize and the crops of an eval; `rounded` keeps resizes without rounding on grey levels."""
    # Three crops lie along the long side, so that the short side must have the size of a crop.
    short = size if views.crops == 3 or views.resize in ("input", "pillow_input") else resize_side(size)
    crop: Step = dict(type="ThreeCrop" if views.crops == 3 else "CenterCrop", crop_size=size)
    pillow: Step = dict(type="HarnessOwnResize", size=short, resize="shortest", interpolation="bicubic", square=size)
    if views.normalize == "model":  # as open_clip's preprocessing; a frame of the side of the input needs no crop
        pillow = _own_resize(views, size)
    if views.normalize == "model" or views.resize in ("pillow", "pillow_input"):
        return [pillow | {"crop": False}, crop] if views.crops == 3 else [pillow]
    if views.resize in ("slowfast", "floats", "floats_bicubic"):
        squares: Step = dict(type="HarnessShortSideViews", size=size, crops=views.crops, rounded=rounded)
        if views.resize != "slowfast":
            bicubic = views.resize == "floats_bicubic"
            squares |= dict(interpolation="bicubic" if bicubic else "bilinear", centre_down=True)
        return [squares]
    if views.resize.startswith("squash"):
        return [dict(type="HarnessSquashedFrames", size=size, kind=views.resize)]
    return [dict(type="Resize", scale=(-1, short)), crop]


def _transform_step(name: str, views: Views) -> list[Step]:
    """The step of a view transform; empty for none."""
    if not name:
        return []
    file = str(transforms[name].file) if name in transforms else ""
    return [dict(type="HarnessApplyViewTransform", name=name, frames=views.frames, file=file)]


def fit_pipeline(views: Views, size: int, recipe: Recipe) -> list[Step]:
    """Return the training pipeline of a recipe's augmentation: as published, its steps, or an evaluation view for none.

    Args:
        views: The views, of which frames, statistics, reader and sampling by a rule are used.
        size: Side of the square input in pixels.
        recipe: Recipe of the fit.
    """
    augmentation = parse_augmentation(recipe.augmentation)
    if not augmentation.steps:
        return eval_pipeline(views.training, size)
    sample: Step = dict(type="SampleFrames", clip_len=1, frame_interval=1, num_clips=views.frames)
    if views.dense:
        sample = dict(type="HarnessSampleDense", frames=views.frames, sampling=views.sampling)
    elif views.in_segments:
        sample = dict(type="HarnessSampleSegments", frames=views.frames, sampling=views.sampling)
    steps = [step for part in augmentation.steps for step in _augmentation_steps(part, views, size, recipe.flip)]
    return [
        *_reader(views), sample, dict(type="HarnessDecode"), *steps, dict(type="FormatShape", input_format="NCHW"),
        dict(type="HarnessPackClip"),
    ]  # fmt: skip


def _augmentation_steps(part: AugmentationStep, views: Views, size: int, flip: bool) -> list[Step]:
    """The transforms of a step of an augmentation; the flip belongs to the crop."""
    if part.name == "color_jitter":
        return [dict(type="HarnessPerFrameColorJitter")]
    if part.name == "grey":
        return [dict(type="HarnessClipGrayScale", probability=part.low)]
    if part.name == "rand":
        return [
            dict(
                type="HarnessRandAugmentClip", size=size, magnitude=part.magnitude, layers=part.layers,
                deviation=part.deviation, increasing=part.increasing,
            )
        ]  # fmt: skip
    if part.name == ERASING:  # on the device, because it erases normalised frames
        return []
    flipped: list[Step] = [dict(type="Flip", flip_ratio=0.5)] if flip else []
    if part.name == "short_side":
        low, high = part.low / REFERENCE * size, part.high / REFERENCE * size
        return [
            dict(type="HarnessShortSideCrop", size=size, low=low, high=high, interpolation=part.interpolation),
            *flipped,
        ]
    if part.name == "multi_scale_raw":
        return [dict(type="HarnessRawMultiScaleCrop", size=size), *flipped]
    if part.interpolation:  # a resized crop of the frame itself, without rounding
        box: Step = dict(type="HarnessFloatResizedCrop", size=size, low=part.low, high=part.high)
        return [box | {"interpolation": part.interpolation}, *flipped]
    first: Step = dict(type="Resize", scale=(-1, resize_side(size)))
    if views.normalize == "model":
        first = _own_resize(views, resize_side(size)) | {"crop": False}
    crop: Step = dict(type="RandomResizedCrop", area_range=(part.low, part.high))
    if part.name == "multi_scale":
        crop = dict(
            # Parameters of ViFi-CLIP's `datasets/build.py`.
            type="MultiScaleCrop", input_size=size, scales=(1, 0.875, 0.75, 0.66), max_wh_scale_gap=1,
            random_crop=False, num_fixed_crops=5,
        )  # fmt: skip
    return [first, crop, dict(type="Resize", scale=(size, size), keep_ratio=False), *flipped]


def _own_resize(views: Views, size: int) -> Step:
    own = views.input
    if not own.resize:
        raise UserError(
            "The views are normalize=model without the settings of a model.",
            "Take the views from the backbone: BackboneChoice(arch, weights).views_of(views).",
        )
    return dict(type="HarnessOwnResize", size=size, resize=own.resize, interpolation=own.interpolation, crop=True)


def _reader(views: Views) -> list[Step]:
    return [dict(type="HarnessDecordInit" if views.reader == "decord" else "HarnessExactInit")]


class ListVideoDataset(VideoDataset):  # type: ignore[misc]
    """mmaction2's VideoDataset over rows in memory, indexed by `Draw`.

    Rows are an argument, not an annotation file, because mmaction2's file format cannot hold blanks in paths. Each
    clip has its own seed (D11).

    Args:
        rows: (path on disk or None, class id) per video.
        pipeline: mmaction2's transforms.
        seed: Base seed of all draws.
    """

    def __init__(self, rows: list[tuple[Path | None, int]], pipeline: list[Step], seed: int) -> None:
        self.rows, self.seed = rows, seed
        # Built here from mmaction2's own registry, because mmengine would look them up in its current default scope.
        transforms = [TRANSFORMS.build(step) for step in pipeline]
        super().__init__(ann_file="", pipeline=transforms, test_mode=True, serialize_data=False)

    def load_data_list(self) -> Sequence[DataInfo]:
        """Return the rows in mmaction2's format."""
        # FFmpeg reads a relative name up to a colon (`12:30/a.avi`, `http://...`) as a protocol.
        return [{"filename": "" if path is None else str(path.absolute()), "label": label} for path, label in self.rows]

    def video(self, draw: Draw) -> Path | None:
        """Return the file of a draw; None for a row without a file."""
        return self.rows[draw.index][0]

    def __getitem__(self, draw: Draw) -> PackedClip:
        if self.video(draw) is None:
            raise FileNotFoundError("not found under the folder of the dataset")
        return self.packed(draw)

    def packed(self, draw: Draw) -> PackedClip:
        """Return the clip of a draw, with its own random numbers."""
        # In evaluation the epoch is -1 and the draw depends on the row alone: views are the same in every run.
        number = draw.index if draw.epoch < 0 else draw.position
        # Plus 1, because parts of a seed cannot be negative.
        with seeded_draws(self.seed, draw.epoch + 1, number):
            clip: PackedClip = self.prepare_data(draw.index)
        return clip
