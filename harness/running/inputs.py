"""Paths of the files that a fit was given, kept in its folder: a measurement holds hashes and no paths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from harness.base.atomic import write_json
from harness.cells.backbone import BackboneChoice
from harness.cells.cell import MethodRow
from harness.weights.describe import is_path, path_of

INPUTS_FILE = "inputs.json"
WEIGHTS_INPUT, BASE_INPUT = "weights", "base"


def write_inputs(folder: Path, row: MethodRow) -> None:
    """Write the paths of a row's weight file and of the files that its options name; no file without such paths."""
    paths = {
        f.name: str(Path(value).resolve())
        for f in fields(row.options)
        if f.metadata.get("file") and Path(value := str(getattr(row.options, f.name))).is_file()
    }
    if isinstance(row.backbone, BackboneChoice):
        for name, given in ((WEIGHTS_INPUT, row.backbone.weights), (BASE_INPUT, row.backbone.base)):
            if given is not None and is_path(given):
                paths[name] = str(path_of(given).resolve())
            elif given is not None and name == BASE_INPUT:
                paths[name] = given
    if paths:
        write_json(folder / INPUTS_FILE, paths)


def read_inputs(folder: Path) -> Mapping[str, str]:
    """The noted paths by option name, `weights` for the backbone's file; empty if none was noted."""
    try:
        content = json.loads((folder / INPUTS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(k): str(v) for k, v in content.items()} if isinstance(content, dict) else {}
