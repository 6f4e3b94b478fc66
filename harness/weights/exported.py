"""Facts that an exported weight file states about its fit: method, options, classes, views and recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import UserError
from harness.spec import Recipe, Views
from harness.weights.describe import describe
from results.codec import DecodeError, decode, encode
from results.measurement import Value

ENTRY = "fit"
"""Entry of the metadata with the facts as JSON."""


@dataclass(frozen=True)
class ExportedFit:
    """The facts of a fit in its exported weights.

    Args:
        method: Registered name of the method.
        options: Values of its options; files by their hash.
        arch: Architecture.
        weights: Weights that the fit started from: a tag, or the hash of a file.
        classes: Class names of the training list in the order of their ids.
        views: Views of the fit.
        training_list: Dataset and list, e.g. `ucf101/base_s1`.
        recipe: Optimisation settings.
        key: Key of the fit.
    """

    method: str
    options: dict[str, Value]
    arch: str
    weights: str
    classes: tuple[str, ...]
    views: Views
    training_list: str
    recipe: Recipe
    key: str


def metadata_of(fit: ExportedFit) -> dict[str, str]:
    """The entry of a file's metadata that `read_exported` reads."""
    return {ENTRY: json.dumps(encode(fit), ensure_ascii=False, sort_keys=True)}


def read_exported(file: str | Path) -> ExportedFit | None:
    """The facts that a weight file states; None if it is not the export of a fit.

    Raises:
        UserError: The file is missing or damaged, or its facts are not valid.
    """
    metadata: Mapping[str, str] = describe(file).file.metadata
    if ENTRY not in metadata:
        return None
    try:
        return decode(json.loads(metadata[ENTRY]), ExportedFit)
    except (ValueError, RecursionError, DecodeError) as error:
        raise UserError(
            f"The metadata of {file} are not those of an exported fit: {error}.",
            "Name method and classes: --method NAME --labels FILE; or export the fit again.",
        ) from None
