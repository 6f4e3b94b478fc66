"""The methods and protocols that were imported so far: registered by their decorators, by kind and name."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TypeVar

from harness.base.errors import UserError, described
from harness.plugins.registered_transforms import forget_transforms
from harness.plugins.sources import is_name

logger = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]
KINDS = {"method": "methods", "protocol": "protocols"}
T = TypeVar("T")

classes: dict[str, dict[str, type]] = {kind: {} for kind in KINDS}
"""Registered classes by kind and name."""
files: dict[str, dict[str, Path]] = {kind: {} for kind in KINDS}
"""Files that registered them, by kind and name."""
_warned: set[str] = set()


def register_method(name: str, version: int | None = None) -> Callable[[type[T]], type[T]]:
    """A class decorator that registers a `ClipMethod` under a name.

    Args:
        name: Name of the method.
        version: Raised when the method's numbers change; None for the `version` that the class sets, or 1.
    """
    return _register("method", name, version)


def register_protocol(name: str, version: int | None = None) -> Callable[[type[T]], type[T]]:
    """A class decorator that registers a `Protocol` under a name.

    Args:
        name: Name of the protocol.
        version: Raised when the protocol's numbers change; None for the `version` that the class sets, or 1.
    """
    return _register("protocol", name, version)


def _register(kind: str, name: str, version: int | None) -> Callable[[type[T]], type[T]]:
    def decorate(cls: type[T]) -> type[T]:
        # The file and not the class object: importing a file twice makes another class, which may replace the first.
        file = Path(sys.modules[cls.__module__].__file__ or "").resolve()
        if not is_name(name):
            raise UserError(f"{name!r} is not a {kind} name ({file}).", "Use letters, digits, '_' and '-'.")
        # Looked up as a file, because the built-in plugin may not be imported yet.
        builtin = ROOT / KINDS[kind] / f"{name}.py"
        if builtin.is_file() and file != builtin:
            raise UserError(f"{name!r} is a built-in {kind}; {file} cannot take its name.", "Choose another name.")
        known = files[kind].get(name)
        if known is not None and known != file:
            raise UserError(
                f"The {kind} {name!r} of {file} is already registered by {known}.", "Rename one of the two."
            )
        checked = _version(cls, f"The {kind} {name!r} ({file})", version)
        cls.name, cls.version = name, checked  # type: ignore[attr-defined]
        classes[kind][name] = cls
        files[kind][name] = file
        return cls

    return decorate


def _version(cls: type, subject: str, given: int | None) -> int:
    """The version of a plugin: the one that its decorator or its class states, else 1.

    A class states its version itself, or inherits it from a base class that is not registered. The version of a
    registered plugin that it extends belongs to the numbers of that plugin and is not inherited.

    Raises:
        UserError: The version is not a whole number from 1, or the decorator and the class state different versions.
    """
    bases = cls.__mro__ if isinstance(cls, type) else ()
    others = {ancestor for base in bases if base is not cls and is_registered(base) for ancestor in base.__mro__}
    own = [base for base in bases if base not in others and base.__module__.partition(".")[0] != "harness"]
    stated = next((vars(base)["version"] for base in own if "version" in vars(base)), None)
    for version in (given, stated):
        if version is not None and (type(version) is not int or version < 1):
            raise UserError(
                f"{subject} has the version {version!r}, expected a whole number from 1.", "Set `version = 1`."
            )
    if given is not None and stated is not None and given != stated:
        raise UserError(
            f"{subject} has two versions: {stated} on the class and {given} in its decorator.",
            "Leave `version` out of one of them.",
        )
    return given or stated or 1


def is_registered(cls: type) -> bool:
    """Whether a class is a registered method or protocol."""
    return any(cls is known for kind in KINDS for known in classes[kind].values())


def names_of(kind: str, file: Path) -> list[str]:
    """The names that a file registered, sorted."""
    return sorted(name for name, known in files[kind].items() if known == file)


def forget(file: Path | None) -> None:
    """Remove the plugins that a file registered."""
    for kind in KINDS:
        for name in [name for name, known in files[kind].items() if known == file]:
            del classes[kind][name], files[kind][name]
    forget_transforms(file)


@contextmanager
def loading(subject: str, hint: str, file: Path | None) -> Iterator[None]:
    """Context of a plugin's import: it writes nothing to stdout, and a failed import leaves nothing registered.

    Args:
        subject: Name of the plugin, for the message.
        hint: The way to fix it, if the error itself has no hint.
        file: The plugin's file. Other plugins that it imported stay registered.

    Raises:
        UserError: One line with the reason, whatever the plugin raised, `SystemExit` included.
    """
    try:
        with redirect_stdout(sys.stderr):  # stdout is for data
            yield
    # SystemExit as well: a plugin that calls sys.exit() must not end the harness.
    except BaseException as error:
        forget(file)
        if isinstance(error, KeyboardInterrupt):
            raise
        reason = described(error, file).rstrip(".")
        raise UserError(
            f"{subject} does not load: {reason}.", error.hint if isinstance(error, UserError) and error.hint else hint
        ) from error


def warn_once(line: str) -> None:
    """Log a warning, unless it was logged before in this process."""
    if line not in _warned:
        _warned.add(line)
        logger.warning("%s", line)


def forget_warnings() -> None:
    """Log every warning again."""
    _warned.clear()
