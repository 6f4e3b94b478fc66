"""A valid submission to spoil, and the ways to name what was spoilt."""

from __future__ import annotations

import copy
import json
import os
import pickle
import stat
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tests.results.submission.archives import listed, seal, write_zip
from tests.results.submission.forge import Forge, Item, forge
from tests.results.submission.forged_tables import nudged

Maker = Callable[[Path], Path]
CASES: dict[str, tuple[str, Maker]] = {}
"""Name to the rule that must refuse it and the function that makes it in a folder."""


@cache
def _template(protocol: str) -> bytes:
    return pickle.dumps(forge(protocol))


def fresh(protocol: str = "b2n") -> Forge:
    """A valid submission to spoil."""
    made: Forge = pickle.loads(_template(protocol))  # faster than a deep copy
    return made


@cache
def _template_files() -> tuple[dict[str, bytes], dict[str, Any]]:
    made = fresh()
    return made.files(), made.manifest


def fresh_files() -> tuple[dict[str, bytes], dict[str, Any]]:
    """Files and manifest of a valid submission to spoil."""
    files, manifest = _template_files()
    return dict(files), copy.deepcopy(manifest)


def case(rule: str, name: str) -> Callable[[Maker], Maker]:
    """Register a function that makes a whole submission."""

    def add(make: Maker) -> Maker:
        assert name not in CASES, name
        CASES[name] = rule, make
        return make

    return add


def forged(rule: str, name: str, protocol: str = "b2n") -> Callable[[Callable[[Forge], Any]], None]:
    """Register an edit of records, tables or fits; hashes and summaries are computed afterwards, as a forger would."""

    def add(edit: Callable[[Forge], Any]) -> None:
        def make(folder: Path) -> Path:
            made = fresh(protocol)
            edit(made)
            return made.write(folder / "a.zip")

        case(rule, name)(make)

    return add


def refiled(rule: str, name: str) -> Callable[[Callable[[dict[str, bytes], dict[str, Any]], Any]], None]:
    """Register an edit of files and manifest; the list of hashes is written afterwards."""

    def add(edit: Callable[[dict[str, bytes], dict[str, Any]], Any]) -> None:
        def make(folder: Path) -> Path:
            files, manifest = fresh_files()
            edit(files, manifest)
            return seal(folder / "a.zip", files, manifest)

        case(rule, name)(make)

    return add


def members(edit: Callable[[dict[str, bytes]], Any] | None = None) -> list[tuple[str | zipfile.ZipInfo, bytes]]:
    """All members of a valid submission; `edit` changes files after the manifest has listed them."""
    files, manifest = fresh_files()
    files["submission.json"] = json.dumps(listed(files, manifest)).encode()
    if edit:
        edit(files)
    return list(files.items())


def raw(rule: str, name: str) -> Callable[[Callable[[], list[tuple[str | zipfile.ZipInfo, bytes]]]], None]:
    """Register a zip file of exactly the members given."""

    def add(give: Callable[[], list[tuple[str | zipfile.ZipInfo, bytes]]]) -> None:
        case(rule, name)(lambda folder: write_zip(folder / "a.zip", give()))

    return add


def extracted(folder: Path) -> Path:
    """A valid submission as a folder."""
    target = folder / "submission"
    for name, data in members():
        assert isinstance(name, str)
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(data)
    return target


def record_name(files: dict[str, bytes], part: str = "-novel-") -> str:
    """The first record of a part."""
    return next(name for name in sorted(files) if name.endswith(".record.json") and part in name)


def table_name(files: dict[str, bytes]) -> str:
    """The predictions beside `record_name`."""
    return record_name(files).replace(".record.json", ".predictions.csv.gz")


def edit_json(files: dict[str, bytes], name: str, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Edit one JSON file."""
    value = json.loads(files[name])
    edit(value)
    files[name] = json.dumps(value).encode()


def entry(name: str, mode: int = 0, kind: int = stat.S_IFREG) -> zipfile.ZipInfo:
    """A member with a file type and permissions."""
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (kind | mode) << 16
    return info


class Shell:
    """Pickled, it runs a command when it is loaded."""

    def __reduce__(self) -> Any:
        return os.system, ("touch executed",)


PICKLE = pickle.dumps(Shell())


def start(kind: str, **values: Any) -> dict[str, Any]:
    return {"kind": kind, "name": "", "key": "", "weights_sha256": "", "complete": True, **values}


def untrained() -> Forge:
    return forge("b2n", "mini_target", trained=False)


def new_predictions(item: Item) -> None:
    item.frame = nudged(item.frame)
    item.derive()
