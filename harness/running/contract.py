"""The contract check of plugins in a run: once for each state of a plugin's code, with the outcome in the cache.

A method that breaks the contract, such as one whose scores depend on the batch, gives numbers that look right. `run`
therefore checks each new plugin for a second or two, and warns. The built-in methods are checked by the tests.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from harness import __version__
from harness.base.atomic import write_json
from harness.base.canonical import fingerprint
from harness.cells.cell import MethodRow
from harness.engine.contract.checks import CHECKS, check_method
from harness.engine.method import method_class
from harness.machine.settings import Settings
from harness.plugins import registry
from results.codec import encode

PACKAGES = ("torch", "open_clip_torch", "numpy")
"""Packages whose version can change the outcome of a check."""


@dataclass(frozen=True)
class _Failed:
    """A check that a method fails: its name and the explanation."""

    name: str
    explanation: str


def contract_warnings(rows: Iterable[MethodRow], settings: Settings) -> Iterator[str]:
    """One line for each plugin that breaks the contract of methods.

    A method with its own model is not checked, because its model would have to be loaded. `check method` checks it.

    Args:
        rows: Methods with their options; several rows of one method and equal options are checked once.
        settings: The outcome is kept in the cache folder.
    """
    seen: set[str] = set()
    for row in rows:
        if not row.spec.uses_clip or registry.origin_of("method", row.name) == "built-in":
            continue
        file = settings.cache.path / "contract" / f"{_key(row)}.json"
        if file.name in seen:
            continue
        seen.add(file.name)
        failed = _read(file)
        if failed is None:
            failed = _check(row)
            # A cache that cannot be written costs a second in the next run; it must not end this one.
            with contextlib.suppress(OSError):
                write_json(file, [[check.name, check.explanation] for check in failed])
        if failed:
            yield _warning(row, failed)


def _key(row: MethodRow) -> str:
    """Everything that the outcome depends on: code, options, the checks themselves, and packages."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    checks = [check.__name__ for check in CHECKS]
    return fingerprint([encode(row.method_id), __version__, checks, versions], 16)


def _check(row: MethodRow) -> list[_Failed]:
    # The clips of the check have their own number of frames.
    options = {name: value for name, value in row.options.as_dict().items() if name != "frames"}
    # The checks set seeds; a fit that follows must not depend on whether its method was checked before it.
    with torch.random.fork_rng(devices=[]):
        checks = check_method(method_class(row.name), options)
    return [_Failed(check.name, check.explanation) for check in checks if not check.ok and not check.waits_for]


def _read(file: Path) -> list[_Failed] | None:
    """The outcome in the cache; None if there is none, or if the file is damaged."""
    try:
        return [_Failed(str(name), str(explanation)) for name, explanation in json.loads(file.read_bytes())]
    except (OSError, ValueError, TypeError):
        return None


def _warning(row: MethodRow, failed: list[_Failed]) -> str:
    source = registry.sources("method")[row.name]
    first = failed[0]
    more = f" It fails {len(failed) - 1} more: {', '.join(check.name for check in failed[1:])}." if failed[1:] else ""
    return (
        f"The method {row.name!r} of {source.origin} breaks the contract of methods, so that its numbers may not be "
        f"comparable. It fails the check {first.name}: {first.explanation.rstrip('.')}.{more} "
        f"See: python -m harness check method {source.origin if not source.module else row.name}"
    )
