"""View transforms that plugins register: functions that change the frames of a view before they are normalised."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.errors import UserError, unknown_name
from harness.plugins.code_hash import file_code_sha256
from harness.plugins.registered import forgetters
from harness.plugins.sources import is_name
from harness.spec.view_transforms import BUILT_IN, CLEAN

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FrameFunction = Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]]

CODE_DIGITS = 8


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

    @property
    def identity(self) -> str:
        """Name and hash of the code, as measurements state the transform: `mirrored#1a2b3c4d`.

        Raises:
            UserError: The file of the plugin cannot be read or does not parse.
        """
        return f"{self.name}#{file_code_sha256(self.file)[:CODE_DIGITS]}"


registered: dict[str, RegisteredTransform] = {}
"""View transforms of the plugins that were imported so far, by name."""


def register_view_transform(name: str) -> Callable[[FrameFunction], FrameFunction]:
    """A decorator that registers a function as a view transform.

    The function takes the sampled frames of one view, (T, H, W, 3) uint8 RGB as the model sees them before they are
    normalised, and a `numpy.random.Generator`, which is seeded from the name of the video; it returns frames of the
    same shape and type. `--protocol probes --part NAME` evaluates finished fits with the transform, and a protocol
    names it in `Eval(..., transform=NAME)`. Its name and the hash of its code are part of the measurement.

    Args:
        name: Name of the transform.

    Raises:
        UserError: The name is not valid, or it is the name of another transform.
    """

    def decorate(function: FrameFunction) -> FrameFunction:
        file = Path(sys.modules[function.__module__].__file__ or "").resolve()
        if not is_name(name):
            raise UserError(
                f"{name!r} is not a name of a view transform ({file}).", "Use letters, digits, '_' and '-'."
            )
        if name in (*BUILT_IN, CLEAN):
            raise UserError(
                f"{name!r} is a built-in view transform; {file} cannot take its name.", "Choose another name."
            )
        if name in registered and registered[name].file != file:
            raise UserError(
                f"The view transform {name!r} of {file} is already registered by {registered[name].file}.",
                "Give one of them another name.",
            )
        registered[name] = RegisteredTransform(name, function, file)
        return function

    return decorate


def transform_identity(name: str) -> str:
    """The text by which measurements state a view transform; empty for none.

    Args:
        name: Name of a built-in or registered transform; empty for none.

    Raises:
        UserError: There is no such transform.
    """
    if not name or name in BUILT_IN:
        return name
    if name not in registered:
        raise unknown_name("view transform", name, [*BUILT_IN, *registered])
    return registered[name].identity


def transform_name(identity: str) -> str:
    """The name of a transform from the text of a measurement."""
    return identity.partition("#")[0]


def names_of_file(file: Path) -> list[str]:
    """The transforms that a file registered, sorted."""
    return sorted(name for name, transform in registered.items() if transform.file == file)


def forget_transforms(file: Path | None) -> None:
    """Remove the transforms that a file registered."""
    for name in [name for name, transform in registered.items() if transform.file == file]:
        del registered[name]


forgetters.append(forget_transforms)


def view_transforms(plugins: bool = True) -> tuple[str, ...]:
    """The names of the view transforms: the built-in ones, then those of the plugins that were imported so far.

    Args:
        plugins: Whether to include those of plugins.
    """
    return (*BUILT_IN, *sorted(registered)) if plugins else BUILT_IN
