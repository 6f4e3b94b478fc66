"""The view transforms of the plugins that were imported so far, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FrameFunction = Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]]


@dataclass(frozen=True)
class RegisteredTransform:
    """A view transform of a plugin.

    Args:
        name: Registered name.
        function: Maps the frames (T, H, W, 3) uint8 RGB of a view, and a generator that is seeded from the name of the
            video, to frames of the same shape and type.
        file: File of the plugin.
    """

    name: str
    function: FrameFunction
    file: Path


transforms: dict[str, RegisteredTransform] = {}


def transforms_of(file: Path) -> list[str]:
    """The transforms that a file registered, sorted."""
    return sorted(name for name, transform in transforms.items() if transform.file == file)


def forget_transforms(file: Path | None) -> None:
    """Remove the transforms that a file registered."""
    for name in [name for name, transform in transforms.items() if transform.file == file]:
        del transforms[name]
