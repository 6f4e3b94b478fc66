"""A finished fit as a method again: built from what `fit.json` says, on the backbone it was fitted on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import registry
from harness.base.errors import UserError
from harness.cells import MethodRow
from harness.engine.fit import WEIGHTS, load_fit, read_trained
from harness.engine.method import ClipMethod
from harness.execute import build_row
from harness.plan import FIT_FILE, read_fit
from harness.plugins.code_hash import code_sha256
from harness.request import MINI_ARCH, BackboneChoice, MethodChoice
from harness.settings import Settings
from harness.spec.options import build_options


def fit_row(folder: Path, backbone: BackboneChoice | None = None) -> MethodRow:
    """The method row of a finished fit: name and options as fitted.

    Args:
        folder: Of the fit.
        backbone: Needed where the fit's weights came from a file, whose place `fit.json` does not hold.

    Raises:
        UserError: No finished fit, or a backbone other than the fit's.
    """
    found = read_fit(folder)
    if found is None:
        raise UserError(f"{folder} holds no finished fit ({FIT_FILE}).", "Give the folder of a fit below runs/.")
    return described_row(found["identity"]["method"], str(folder), backbone)


def described_row(of: Mapping[str, Any], where: str, backbone: BackboneChoice | None = None) -> MethodRow:
    """The method row that an identity describes: name, options and backbone.

    Args:
        of: The entry `method` of a fit's or a record's identity.
        where: For messages.
        backbone: Needed where the weights came from a file, whose place an identity does not hold.

    Raises:
        UserError: A backbone other than the one described, or none where the weights came from a file.
    """
    spec = registry.method_spec(of["name"])
    options, usual = (build_options(spec.options_type, values, of["name"]) for values in (of["options"], {}))
    arch, weights = of["backbone"]["arch"], of["backbone"]["weights"]
    if backbone is None and arch != MINI_ARCH and from_file(of["backbone"]) and spec.own_model(options) is None:
        known_as = "" if arch == "inferred" else f" --arch {arch}"
        raise UserError(
            f"{where} starts from the weights of a file with sha256 {weights}.",
            f"Give that file:{known_as} --weights FILE.",
        )
    model = spec.own_model(options) or backbone or BackboneChoice(arch, None if arch == MINI_ARCH else weights)
    if model.identity() != of["backbone"]:
        raise UserError(
            f"{where} is on the backbone {of['backbone']}, asked for is {model.identity()}.",
            "Give the --arch and --weights of the fit.",
        )
    return MethodRow(MethodChoice(of["name"], of["options"]), model, spec, options, usual, code_sha256(spec))


def from_file(backbone: Mapping[str, Any]) -> bool:
    """Whether the weights of a described backbone are those of a file, known by its content."""
    return re.fullmatch(r"[0-9a-f]{64}", str(backbone["weights"])) is not None


def find_fits(runs: Path, methods: Sequence[str], names: Sequence[str]) -> list[Path]:
    """The folders of finished fits that were named.

    Args:
        runs: The run folder.
        methods: Keep only fits of these methods; of any if empty.
        names: Folders, or beginnings of names or keys of fits below `runs`; if empty, the methods' only fits.

    Raises:
        UserError: Nothing was named, a name fits none or several, or a folder holds a fit of another method.
    """
    if not names and not methods:
        raise UserError("No fit was named.", "Give --fit DIR, or --method M where it has one fit.")
    there = {path.parent: read_fit(path.parent) or {} for path in sorted(runs.glob(f"*/*/*/{FIT_FILE}"))}
    mine = {folder: fit for folder, fit in there.items() if not methods or _method(fit) in methods}
    if not names:
        return [_only(f"method {one}", [f for f, fit in mine.items() if _method(fit) == one]) for one in methods]
    return [_named(Path(name), mine, methods) for name in names]


def _named(name: Path, there: Mapping[Path, dict[str, Any]], methods: Sequence[str]) -> Path:
    if name.is_dir():
        method = _method(read_fit(name) or {})
        if methods and method and method not in methods:
            raise UserError(f"{name} holds a fit of {method}, asked for is {' or '.join(methods)}.")
        return name
    starts = [f for f, fit in there.items() if f.name.startswith(str(name)) or fit["key"].startswith(str(name))]
    return _only(f"--fit {name}", starts)


def _only(what: str, found: list[Path]) -> Path:
    if len(found) != 1:
        some = ", ".join(str(path) for path in found[:4]) or "none"
        message = f"{what}: expected one finished fit, found {len(found)}: {some}."
        raise UserError(message, "Give its folder with --fit.")
    return found[0]


def _method(fit: Mapping[str, Any]) -> str:
    return str(fit.get("identity", {}).get("method", {}).get("name", ""))


def restore(folder: Path, row: MethodRow, settings: Settings) -> ClipMethod:
    """The method of a finished fit with its trained tensors, on its parent fit's weights where it has one.

    Raises:
        UserError: The parent fit is not below the same run folder, or weights are missing or of another method.
    """
    method = build_row(row, settings)
    found: dict[str, Any] = read_fit(folder) or {}
    init = found.get("identity", {}).get("init", "clip")
    if init != "clip":
        method.adopt(read_trained(_folder_of(init, folder) / WEIGHTS))
    load_fit(method, folder, found["weights"]["sha256"] if found else None)
    return method


def _folder_of(key: str, beside: Path) -> Path:
    """The folder of the fit with a key, in the same run folder as another fit."""
    for path in sorted(beside.resolve().parents[1].glob(f"*/*/{FIT_FILE}")):
        found = read_fit(path.parent)
        if found is not None and found["key"] == key:
            return path.parent
    raise UserError(f"The fit {key}, from which {beside} starts, is not below {beside.resolve().parents[1]}.")
