"""View transforms that plugins register: functions that change the frames of a view before they are normalised."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.errors import UserError, unknown_name
from harness.plugins.code_hash import file_code_sha256
from harness.plugins.registered_transforms import RegisteredTransform, transforms
from harness.plugins.sources import is_name
from harness.spec.view_transforms import BUILT_IN, CLEAN

if TYPE_CHECKING:
    from harness.plugins.registered_transforms import FrameFunction

CODE_DIGITS = 8


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
        if name in transforms and transforms[name].file != file:
            raise UserError(
                f"The view transform {name!r} of {file} is already registered by {transforms[name].file}.",
                "Rename one of the two.",
            )
        transforms[name] = RegisteredTransform(name, function, file)
        return function

    return decorate


def transform_identity(name: str) -> str:
    """The text by which measurements state a view transform; empty for none.

    Args:
        name: Name of a built-in or registered transform; empty for none.

    Raises:
        UserError: There is no such transform, or the file of the plugin cannot be read or does not parse.
    """
    if not name or name in BUILT_IN:
        return name
    if name not in transforms:
        raise unknown_name("view transform", name, [*BUILT_IN, *transforms])
    return f"{name}#{file_code_sha256(transforms[name].file)[:CODE_DIGITS]}"


def transform_name(identity: str) -> str:
    """The name of a transform from the text of a measurement."""
    return identity.partition("#")[0]


def view_transforms(plugins: bool = True) -> tuple[str, ...]:
    """The names of the view transforms: the built-in ones, then those of the plugins that were imported so far.

    Args:
        plugins: Whether to include those of plugins.
    """
    return (*BUILT_IN, *sorted(transforms)) if plugins else BUILT_IN
