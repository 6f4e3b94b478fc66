"""Colours, shapes and motions of the embedded benchmark as plain geometry.

A motion maps time in [0, 1] to a `Pose`. A shape is a list of contours around the origin with a radius of about one. A
mirrored clip belongs to the same class, because training flips clips.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 48, 44),
    "green": (52, 170, 72),
    "blue": (50, 92, 214),
    "yellow": (236, 206, 52),
    "purple": (150, 62, 186),
    "orange": (240, 140, 40),
    "cyan": (60, 196, 206),
}


@dataclass(frozen=True)
class Pose:
    """Pose of the object at one instant; lengths in short sides of the picture, angles in radians."""

    x: float = 0.0
    y: float = 0.0
    angle: float = 0.0
    wide: float = 1.0
    high: float = 1.0
    opacity: float = 1.0


@dataclass(frozen=True)
class Path:
    """The free parameters of a motion in one clip, drawn once for each clip, so that no two clips are equal."""

    phase: float
    cycles: float
    side: float  # -1 or +1; a mirrored clip is a different clip of the same class
    reach: float
    tremor: tuple[float, ...]


def draw_path(rng: np.random.Generator) -> Path:
    """Return the parameters of one clip, drawn from `rng`."""
    return Path(
        phase=float(rng.uniform()),
        cycles=float(rng.uniform(1.2, 2.2)),
        side=float(rng.choice((-1.0, 1.0))),
        reach=float(rng.uniform(0.8, 1.2)),
        tremor=tuple(float(v) for v in rng.uniform(0.0, 1.0, 4)),
    )


def _bouncing(t: float, p: Path) -> Pose:
    lift = abs(math.sin(math.pi * (p.cycles * t * 1.3 + p.phase)))
    squash = max(0.0, 1.0 - lift * 3.0) * 0.45
    drift = 0.10 * p.side * (t - 0.5)
    return Pose(drift, 0.17 - 0.42 * p.reach * lift + 0.10 * squash, 0.0, 1.0 + squash, 1.0 - squash)


def _spinning(t: float, p: Path) -> Pose:
    return Pose(angle=p.side * math.tau * (p.cycles * t + p.phase))


def _swinging(t: float, p: Path) -> Pose:
    theta = 0.75 * p.reach * math.sin(math.tau * (p.cycles * t + p.phase))
    return Pose(0.42 * math.sin(theta), -0.32 + 0.42 * math.cos(theta), -theta)


def _growing(t: float, p: Path) -> Pose:
    size = 0.45 + 1.25 * p.reach * ((p.cycles * 0.6 * t + p.phase) % 1.0)
    return Pose(wide=size, high=size)


def _sliding(t: float, p: Path) -> Pose:
    sweep = abs(((p.cycles * 0.6 * t + p.phase) % 1.0) * 2.0 - 1.0) * 2.0 - 1.0
    return Pose(p.side * 0.34 * p.reach * sweep, 0.10)


def _shaking(t: float, p: Path) -> Pose:
    a, b, c, d = p.tremor
    fast = math.tau * (7.0 + 3.0 * a) * t
    return Pose(
        0.075 * p.reach * math.sin(fast + math.tau * b),
        0.035 * math.sin(1.7 * fast + math.tau * c),
        0.28 * math.sin(1.3 * fast + math.tau * d),
    )


def _orbiting(t: float, p: Path) -> Pose:
    turn = p.side * math.tau * (p.cycles * t + p.phase)
    return Pose(0.25 * p.reach * math.cos(turn), 0.25 * p.reach * math.sin(turn), 0.0, 0.8, 0.8)


def _blinking(t: float, p: Path) -> Pose:
    return Pose(opacity=0.15 + 0.85 * (0.5 + 0.5 * math.sin(math.tau * (1.6 * p.cycles * t + p.phase))))


def _rolling(t: float, p: Path) -> Pose:
    slide = _sliding(t, p)
    return Pose(slide.x, slide.y, slide.x / 0.17)


MOTIONS: dict[str, Callable[[float, Path], Pose]] = {
    "bouncing": _bouncing,
    "spinning": _spinning,
    "swinging": _swinging,
    "growing": _growing,
    "sliding": _sliding,
    "shaking": _shaking,
    "orbiting": _orbiting,
    "blinking": _blinking,
    "rolling": _rolling,
}


def _polygon(points: list[tuple[float, float]]) -> Floats:
    return np.asarray(points, np.float32)


def _round(radius: float, count: int = 24) -> Floats:
    turns = [math.tau * i / count for i in range(count)]
    return _polygon([(radius * math.cos(a), radius * math.sin(a)) for a in turns])


def _star() -> Floats:
    corners = [((1.1, 0.46)[i % 2], math.pi * i / 5) for i in range(10)]
    return _polygon([(r * math.sin(a), -r * math.cos(a)) for r, a in corners])


def _heart() -> Floats:
    turns = [math.tau * i / 28 for i in range(28)]
    return _polygon(
        [
            (
                math.sin(a) ** 3,
                -(13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)) / 15.0,
            )
            for a in turns
        ]
    )


def _crescent() -> Floats:
    # Horns up: the contour follows the outer arc, then returns along the inner arc of a raised circle.
    outer = [(math.cos(a), math.sin(a)) for a in (math.radians(d) for d in range(-35, 216, 10))]
    inner = [(0.78 * math.cos(a), -0.45 + 0.72 * math.sin(a)) for a in (math.radians(d) for d in range(190, -11, -10))]
    return _polygon([*outer, *inner])


def _cross(arm: float = 0.36) -> Floats:
    corner = [(arm, -arm), (arm, -1.0), (-arm, -1.0), (-arm, -arm), (-1.0, -arm), (-1.0, arm)]
    return _polygon([*corner, *((-x, -y) for x, y in corner)])


# Contours are filled by the even-odd rule, so the second contour of the ring is its hole. The point is the position of
# a dark spot, which makes the rotation of a circle visible. Every shape is mirror-symmetric: a flipped clip keeps its
# class.
SHAPES: dict[str, tuple[list[Floats], tuple[float, float]]] = {
    "circle": ([_round(0.95)], (0.0, -0.5)),
    "square": ([_polygon([(-0.84, -0.84), (0.84, -0.84), (0.84, 0.84), (-0.84, 0.84)])], (0.0, -0.45)),
    "triangle": ([_polygon([(0.0, -1.1), (1.05, 0.75), (-1.05, 0.75)])], (0.0, -0.3)),
    "star": ([_star()], (0.0, -0.45)),
    "cross": ([_cross()], (0.0, -0.62)),
    "ring": ([_round(1.0), _round(0.55)], (0.0, -0.77)),
    "heart": ([_heart()], (0.0, -0.05)),
    "crescent": ([_crescent()], (0.0, 0.62)),
}
