"""`submit pack`: the records of one method with all that belongs to them, as one zip file.

Equal inputs give equal bytes: names are sorted, times fixed, nothing of this machine is added.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.base.errors import UserError, unknown_name
from results.record import Record, find_records, read_record
from results.submission.check_arithmetic import card_of, environments_of
from results.submission.layout import SCHEMA
from results.submission.scores import scores_of
from results.submission.submission import MANIFEST, Measured, Submission, parent_of

FIT_FILE = "fit.json"
EPOCH = (2020, 1, 1, 0, 0, 0)
"""The time of every member."""


@dataclass(frozen=True)
class Choice:
    """What is packed and what is said about it.

    Args:
        method: Registered name.
        protocols, datasets: Only these; empty for all.
        version: Of the method; None for the newest that is there.
        weights: Whether to add the fits' weights.
        submitter, code: Who hands it in, and where its code is public.
        harness: Version of the harness.
    """

    method: str
    protocols: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    version: int | str | None = None
    weights: bool = False
    submitter: str = ""
    code: str = ""
    harness: str = ""


@dataclass
class Packed:
    """What was packed: the file, its records, and what was left out and why."""

    path: Path
    records: int = 0
    fits: int = 0
    left_out: list[str] = field(default_factory=list)


def pack(runs: Path, choice: Choice, out: Path) -> Packed:
    """Write the submission of a method; the newest record of each cell counts.

    Raises:
        UserError: No record of the method, a record that is not valid, or a fit whose file or weights are missing.
    """
    packed = Packed(out)
    chosen = _choose(runs, choice, packed)
    files: dict[str, bytes | Path] = {}
    submission = Submission(out)
    fits = _fits(runs)
    for path, record in chosen:
        files[f"records/{path.name}"] = json_bytes(_as_measured(record))
        files[f"records/{record.predictions['file']}"] = path.with_name(record.predictions["file"])
        submission.measured.append(Measured(f"records/{path.name}", record))
        if record.fit:
            _add_fit(str(record.fit["key"]), fits, choice.weights, files, path)
    method = chosen[0][1].method
    files["card.json"] = json_bytes(card_of(chosen[0][1]))
    environments = environments_of(submission.measured)
    files["environment.json"] = json_bytes({"schema": SCHEMA, "environments": environments})
    manifest = {
        "schema": SCHEMA, "method": method["name"], "version": method["version"], "title": method["title"],
        "submitter": choice.submitter, "code": choice.code, "harness": choice.harness, "scores": scores_of(submission),
    }  # fmt: skip
    write_submission(out, manifest, files)
    packed.records, packed.fits = len(chosen), sum(name.startswith("fits/") for name in files)
    return packed


def _as_measured(record: Record) -> dict[str, Any]:
    """A record without what a board added when it took the record over."""
    value = {**record.as_dict(), "status": "submitted"}
    value["protocol"] = {name: entry for name, entry in value["protocol"].items() if name != "remarks"}
    return value


def _choose(runs: Path, choice: Choice, packed: Packed) -> list[tuple[Path, Record]]:
    """The newest record of each cell of the method, by file name."""
    records = [(path, read_record(path)) for path in find_records(runs)]
    mine = [(p, r) for p, r in records if r.method["name"] == choice.method]
    if not mine:
        names = sorted({str(r.method["name"]) for _, r in records})
        error = unknown_name("measured method", choice.method, names)
        run = f"Measure it first: python -m harness run --method {choice.method} --protocol b2n"
        raise UserError(f"{runs} holds no record of {choice.method!r}.", f"{error.hint} {run}")
    newest = max(mine, key=lambda item: (item[1].created, str(item[0])))[1].method["version"]
    version = newest if choice.version is None else choice.version
    kept: dict[str, tuple[Path, Record]] = {}
    for path, record in sorted(mine, key=lambda item: (item[1].created, str(item[0]))):
        if record.method["version"] != version:
            packed.left_out.append(f"{path}: version {record.method['version']}, packed is {version}")
        elif choice.protocols and record.protocol["id"] not in choice.protocols:
            packed.left_out.append(f"{path}: protocol {record.protocol['id']}")
        elif choice.datasets and record.data["dataset"] not in choice.datasets:
            packed.left_out.append(f"{path}: dataset {record.data['dataset']}")
        else:
            kept[record.cell] = path, record
    if not kept:
        raise UserError(f"No record of {choice.method!r} is left by this choice.", "\n  ".join(packed.left_out[:5]))
    chosen = sorted(kept.values(), key=lambda item: item[0].name)
    names = [path.name for path, _ in chosen]
    if len(set(names)) != len(names):
        raise UserError(f"Two records have one name: {next(n for n in names if names.count(n) > 1)}.")
    return chosen


def _fits(runs: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """The finished fits below a run folder by key."""
    found = {}
    for path in sorted(runs.rglob(FIT_FILE)):
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read: {error}", "Remove the file to fit again.") from None
        if isinstance(value, dict) and isinstance(value.get("key"), str):
            found[value["key"]] = path, value
    return found


def _add_fit(
    key: str, fits: Mapping[str, tuple[Path, dict[str, Any]]], weights: bool, files: dict[str, bytes | Path], by: Path
) -> None:
    """Add a fit and the fits that it starts from."""
    while key and f"fits/{key}.json" not in files:
        if key not in fits:
            raise UserError(f"The fit {key}, on which {by} rests, has no {FIT_FILE}.", "Fit again with --force.")
        path, fit = fits[key]
        files[f"fits/{key}.json"] = json_bytes(fit)
        if weights:
            file = path.with_name(str(fit["weights"]["file"]))
            if not file.is_file():
                raise UserError(f"The weights {file} are missing.", "Fit again with --force, or leave out --weights.")
            files[f"weights/{key}.safetensors"] = file
        key, by = parent_of(fit), path


def json_bytes(value: Any) -> bytes:
    """JSON as all files of a submission are written."""
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_submission(out: Path, manifest: Mapping[str, Any], files: Mapping[str, bytes | Path]) -> None:
    """Write a zip file of a manifest (without `files`) and files, with sorted names and fixed times, atomically."""
    listed = {}
    for name, content in files.items():
        digest, size = _hash(content)
        listed[name] = {"sha256": digest, "bytes": size}
    members = {**files, MANIFEST: json_bytes({**manifest, "files": listed})}
    partial = out.with_name(f".{out.name}.partial")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(partial, "w") as archive:
            for name in sorted(members):
                _write_member(archive, name, members[name])
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def _write_member(archive: zipfile.ZipFile, name: str, content: bytes | Path) -> None:
    info = zipfile.ZipInfo(name, EPOCH)
    info.external_attr = 0o100644 << 16
    info.create_system = 3
    packed_already = name.endswith((".gz", ".safetensors"))
    info.compress_type = zipfile.ZIP_STORED if packed_already else zipfile.ZIP_DEFLATED
    with archive.open(info, "w", force_zip64=isinstance(content, Path)) as target:
        for piece in _pieces(content):
            target.write(piece)


def _pieces(content: bytes | Path) -> Iterable[bytes]:
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
        while piece := file.read(2**20):
            yield piece


def _hash(content: bytes | Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for piece in _pieces(content):
        digest.update(piece)
        size += len(piece)
    return digest.hexdigest(), size
