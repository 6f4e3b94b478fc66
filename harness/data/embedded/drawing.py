"""Drawing of pictures and clips of one moving object, for the embedded benchmark.

A *still* is sharp, on a plain or slightly graded background, with the marks of a cartoon (arcs around a spinning
object). A *clip* shows the same compositions without the marks, with motion blur, clutter, jitter, low contrast and
noise; `ClipLook` holds the parameters of this gap. All functions are pure functions of their random generator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.data.embedded.shapes_and_motions import COLOURS, MOTIONS, SHAPES, Path, Pose, draw_path

Image = NDArray[np.uint8]
Rgb = tuple[int, int, int]

_SHIFT = 4  # cv2 takes sub-pixel coordinates as integers with this many fractional bits
_SIZES = (
    (80, 64),
    (88, 72),
    (96, 64),
    (64, 80),
)  # width, height in pixels: not square, so crops matter
_OUTLINE: Rgb = (24, 24, 24)  # the same around every colour, so that a shape is learned quickly
_FRAMES = (12, 16)  # shortest and longest clip
_NOISE_SHIFT = 8  # pixels by which the noise of a clip moves at most between two frames


@dataclass(frozen=True)
class ClipLook:
    """Parameters of the gap between clips and stills; the defaults define the datasets of this version."""

    subframes: int = 2  # drawings averaged into one frame: motion blur
    clutter: float = 45.0  # amplitude of the smooth background texture, grey levels
    blobs: int = 3  # soft distractors in the background
    contrast: tuple[float, float] = (0.45, 0.70)
    noise: tuple[float, float] = (6.0, 12.0)  # standard deviation, grey levels
    softness: tuple[float, float] = (0.6, 1.2)  # Gaussian blur of the lens, pixels
    prop: float = 0.1  # visibility of strings, floors and shadows, which stills draw at 1.0


@dataclass(frozen=True)
class Actor:
    """Properties that all clips of one group share: the look of the object and of the background."""

    colour: Rgb
    ground: Rgb
    radius: float  # in short sides of the picture
    texture: int  # seed of the background


def draw_actor(rng: np.random.Generator, colour: str | None = None) -> Actor:
    """Return an actor drawn from `rng`, in the named colour or in a random colour."""
    name = colour or str(rng.choice(list(COLOURS)))
    tinted = tuple(int(np.clip(v + rng.integers(-18, 19), 0, 255)) for v in COLOURS[name])
    grey = float(rng.uniform(165, 235))  # light, so that the dark outline stands out
    ground = tuple(int(np.clip(grey + rng.uniform(-14, 14), 0, 255)) for _ in range(3))
    return Actor(
        (tinted[0], tinted[1], tinted[2]),
        (ground[0], ground[1], ground[2]),
        float(rng.uniform(0.18, 0.23)),
        int(rng.integers(2**31)),
    )


class Stage:
    """Canvas size and origin: converts poses, in short sides around the origin, to pixels."""

    def __init__(self, width: int, height: int, origin: tuple[float, float]) -> None:
        """Set the canvas size in pixels and the origin in short sides from the centre."""
        self.unit = float(min(width, height))
        self.cx, self.cy = 0.5 * width + origin[0] * self.unit, 0.5 * height + origin[1] * self.unit

    def point(self, x: float, y: float) -> tuple[int, int]:
        """Return the fixed-point pixel coordinates of a point given in short sides."""
        scale = 1 << _SHIFT
        return round((self.cx + x * self.unit) * scale), round((self.cy + y * self.unit) * scale)

    def line(self, canvas: Image, start: tuple[float, float], stop: tuple[float, float], colour: Rgb) -> None:
        """Draw a thin anti-aliased line between two points given in short sides."""
        cv2.line(canvas, self.point(*start), self.point(*stop), colour, 1, cv2.LINE_AA, _SHIFT)

    def arc(
        self,
        canvas: Image,
        at: tuple[float, float],
        radii: tuple[float, float],
        span: tuple[float, float],
        colour: Rgb,
        thickness: int = 1,
    ) -> None:
        """Draw an arc of an ellipse, `span` in degrees clockwise from the right; thickness -1 fills it."""
        scale = self.unit * (1 << _SHIFT)
        axes = (round(radii[0] * scale), round(radii[1] * scale))
        cv2.ellipse(canvas, self.point(*at), axes, 0.0, span[0], span[1], colour, thickness, cv2.LINE_AA, _SHIFT)

    def contours(self, shape: str, pose: Pose, radius: float) -> tuple[list[NDArray[np.int32]], tuple[int, int]]:
        """Return the contours of a posed shape and its dark spot in fixed-point pixels."""
        curves, spot = SHAPES[shape]
        cos, sin = math.cos(pose.angle), math.sin(pose.angle)
        turn = np.array([[cos, sin], [-sin, cos]], np.float64)
        stretch = np.array([pose.wide, pose.high]) * radius * self.unit
        centre = np.array([self.cx + pose.x * self.unit, self.cy + pose.y * self.unit])
        scale = 1 << _SHIFT
        placed = [np.rint(((c * stretch) @ turn + centre) * scale).astype(np.int32) for c in curves]
        dot = np.rint(((np.array(spot) * stretch) @ turn + centre) * scale)
        return placed, (int(dot[0]), int(dot[1]))


def _mix(a: Rgb, b: Rgb, share: float) -> Rgb:
    r, g, h = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return r, g, h


def _ink(ground: Rgb, strength: float) -> Rgb:
    """Return the colour of strings and floors, which differs from the background by `strength`."""
    return _mix(ground, (20, 20, 20) if sum(ground) > 380 else (235, 235, 235), strength)


def _draw_props(canvas: Image, stage: Stage, motion: str, pose: Pose, actor: Actor, strength: float) -> None:
    """Draw the parts of the scene that belong to a motion: string, floor, shadow, pivot."""
    ink, r = _ink(actor.ground, strength), actor.radius
    if motion == "swinging":
        stage.line(canvas, (0.0, -0.32), (pose.x, pose.y), ink)
    elif motion == "bouncing":
        width = r * (1.15 - 0.9 * max(0.0, 0.17 - pose.y))
        stage.arc(canvas, (pose.x, 0.19 + r), (width, 0.16 * r), (0, 360), _mix(actor.ground, ink, 0.6), -1)
    elif motion in ("sliding", "rolling"):
        stage.line(canvas, (-1.0, 0.10 + r), (1.0, 0.10 + r), ink)
    elif motion == "orbiting":
        stage.arc(canvas, (0.0, 0.0), (0.03, 0.03), (0, 360), ink, -1)


def _draw_marks(canvas: Image, stage: Stage, shape: str, motion: str, pose: Pose, actor: Actor, path: Path) -> None:
    """Draw the marks of a motion as in a cartoon; only stills have them."""
    ink, r = _ink(actor.ground, 0.75), actor.radius
    at = (pose.x, pose.y)
    if motion in ("spinning", "rolling"):
        for begin in (20, 200):
            stage.arc(canvas, at, (1.45 * r, 1.45 * r), (begin, begin + 110), ink)
    elif motion == "swinging":
        stage.arc(canvas, (0.0, -0.32), (0.42 + 1.3 * r, 0.42 + 1.3 * r), (55, 125), ink)
    elif motion == "orbiting":
        stage.arc(canvas, (0.0, 0.0), (0.25 * path.reach, 0.25 * path.reach), (0, 360), ink)
    elif motion == "bouncing":
        for dx in (-0.6, 0.0, 0.6):
            stage.line(canvas, (at[0] + dx * r, at[1] - 1.4 * r), (at[0] + dx * r, at[1] - 2.1 * r), ink)
    elif motion == "blinking":
        for turn in range(8):
            c, s = math.cos(turn * math.pi / 4), math.sin(turn * math.pi / 4)
            stage.line(
                canvas, (at[0] + 1.35 * r * c, at[1] + 1.35 * r * s), (at[0] + 1.75 * r * c, at[1] + 1.75 * r * s), ink
            )
    elif motion == "growing":
        for factor in (1.3, 1.6):
            larger = Pose(pose.x, pose.y, pose.angle, pose.wide * factor, pose.high * factor)
            cv2.polylines(canvas, stage.contours(shape, larger, r)[0][:1], True, ink, 1, cv2.LINE_AA, _SHIFT)
    elif motion == "shaking":
        for side in (-1.0, 1.0):
            moved = Pose(pose.x + side * 0.45 * r, pose.y, pose.angle + 0.1 * side)
            cv2.polylines(canvas, stage.contours(shape, moved, r)[0][:1], True, ink, 1, cv2.LINE_AA, _SHIFT)
    if motion in ("sliding", "rolling"):
        for dy in (-0.6, 0.0, 0.6):
            start = at[0] - path.side * 1.5 * r
            stage.line(canvas, (start, at[1] + dy * r), (start - path.side * r, at[1] + dy * r), ink)


def _draw_object(canvas: Image, stage: Stage, shape: str, pose: Pose, actor: Actor) -> None:
    curves, spot = stage.contours(shape, pose, actor.radius)
    layer = canvas if pose.opacity >= 1.0 else canvas.copy()
    cv2.fillPoly(layer, curves, actor.colour, cv2.LINE_AA, _SHIFT)
    cv2.polylines(layer, curves, True, _OUTLINE, 2, cv2.LINE_AA, _SHIFT)
    size = round(0.2 * actor.radius * math.sqrt(pose.wide * pose.high) * stage.unit * (1 << _SHIFT))
    cv2.circle(layer, spot, size, _mix(actor.colour, (10, 10, 10), 0.75), -1, cv2.LINE_AA, _SHIFT)
    if layer is not canvas:
        cv2.addWeighted(layer, pose.opacity, canvas, 1.0 - pose.opacity, 0.0, dst=canvas)


def draw_still(
    rng: np.random.Generator, shape: str, motion: str, colour: str, side: int = 64, marks: float = 0.5
) -> Image:
    """Return one sharp RGB picture (side, side, 3), uint8, of a coloured shape during a motion.

    Args:
        rng: Source of the pose, the ground and the size.
        shape: A key of `SHAPES`.
        motion: A key of `MOTIONS`.
        colour: A key of `COLOURS`.
        side: Width and height in pixels.
        marks: Probability that cartoon marks are drawn.
    """
    actor, path = draw_actor(rng, colour), draw_path(rng)
    stage = Stage(side, side, (float(rng.uniform(-0.08, 0.08)), float(rng.uniform(-0.06, 0.06))))
    canvas: Image = np.full((side, side, 3), actor.ground, np.uint8)
    if rng.uniform() < 0.5:  # a slight gradient towards one side
        ramp = np.linspace(-1.0, 1.0, side, dtype=np.float32) * float(rng.uniform(5.0, 20.0))
        grade = ramp[:, None, None] if rng.uniform() < 0.5 else ramp[None, :, None]
        canvas = np.clip(canvas + grade, 0, 255).astype(np.uint8)
    pose = MOTIONS[motion](float(rng.uniform()), path)
    _draw_props(canvas, stage, motion, pose, actor, 0.9)
    if rng.uniform() < marks:
        _draw_marks(canvas, stage, shape, motion, pose, actor, path)
    _draw_object(canvas, stage, shape, pose, actor)
    return canvas


def _background(actor: Actor, width: int, height: int, look: ClipLook) -> Image:
    """Return the cluttered background of a clip (height, width, 3); clips of one actor differ only in its size."""
    rng = np.random.default_rng(actor.texture)
    coarse = rng.standard_normal((6, 7, 3), np.float32) * look.clutter
    coarse = 0.7 * coarse.mean(axis=2, keepdims=True) + 0.5 * coarse  # mostly light and dark, a little tint
    ground = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) + np.array(actor.ground, np.float32)
    for _ in range(look.blobs):
        layer = ground.copy()
        at = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        axes = (int(rng.uniform(4, 14)), int(rng.uniform(4, 14)))
        tint = tuple(float(v) for v in rng.uniform(30, 225, 3))
        cv2.ellipse(layer, at, axes, float(rng.uniform(0, 180)), 0, 360, tint, -1)
        ground = 0.6 * ground + 0.4 * cv2.GaussianBlur(layer, (0, 0), 1.5)
    clipped: Image = np.clip(ground, 0, 255).astype(np.uint8)
    return clipped


def draw_clip(rng: np.random.Generator, actor: Actor, shape: str, motion: str, look: ClipLook | None = None) -> Image:
    """Return the RGB frames of one clip (T, H, W, 3), uint8, of an actor's shape in a motion; T, H and W vary.

    Args:
        rng: Source of all differences between the clips of one actor.
        actor: The object and its background, shared by a group of clips.
        shape: A key of `SHAPES`.
        motion: A key of `MOTIONS`.
        look: Parameters of the gap to stills.
    """
    look = look or ClipLook()
    width, height = _SIZES[int(rng.integers(len(_SIZES)))]
    count = int(rng.integers(_FRAMES[0], _FRAMES[1] + 1))
    path = draw_path(rng)
    origin = (float(rng.uniform(-0.08, 0.08)), float(rng.uniform(-0.06, 0.06)))
    contrast, noise, soft = (float(rng.uniform(*span)) for span in (look.contrast, look.noise, look.softness))
    lift = float(rng.uniform(-15.0, 15.0))
    ground = _background(actor, width, height, look)
    # One field for a clip, read at another offset in each frame: new numbers for each frame take longer than drawing.
    field = rng.standard_normal((height + _NOISE_SHIFT, width + _NOISE_SHIFT, 3), np.float32) * np.float32(noise)
    frames = np.empty((count, height, width, 3), np.uint8)
    shutter = 0.7 / count / look.subframes  # open for 70 % of the frame interval
    for index in range(count):
        shake = rng.integers(-1, 2, 2) / min(width, height)  # the camera moves by a pixel
        stage = Stage(width, height, (origin[0] + float(shake[0]), origin[1] + float(shake[1])))
        shutter_sum = np.zeros((height, width, 3), np.float32)
        for part in range(look.subframes):
            pose = MOTIONS[motion](index / count + part * shutter, path)
            canvas = ground.copy()
            _draw_props(canvas, stage, motion, pose, actor, look.prop)
            _draw_object(canvas, stage, shape, pose, actor)
            cv2.accumulate(canvas, shutter_sum)
        picture = cv2.GaussianBlur(shutter_sum, (0, 0), soft) * (contrast / look.subframes)
        picture += 128.0 * (1.0 - contrast) + lift
        top, left = (int(offset) for offset in rng.integers(0, _NOISE_SHIFT + 1, 2))
        picture += field[top : top + height, left : left + width]
        frames[index] = np.clip(picture, 0, 255)
    return frames
