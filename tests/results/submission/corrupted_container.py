"""Damage to the container: the zip file and the folder."""

from __future__ import annotations

import copy
import gzip
import os
import stat
import zipfile
from pathlib import Path
from typing import Any

from results.measurement import FitDescription, fit_key
from tests.results.submission.archives import write_zip
from tests.results.submission.corrupted import (
    PICKLE,
    case,
    edit_json,
    entry,
    extracted,
    forged,
    fresh,
    members,
    raw,
    record_name,
    refiled,
    table_name,
)
from tests.results.submission.forge import Forge, decoded


@case("F001", "not an archive")
def _(folder: Path) -> Path:
    (folder / "a.zip").write_text("results are attached to the mail")
    return folder / "a.zip"


@case("F001", "cut archive")
def _(folder: Path) -> Path:
    data = fresh().write(folder / "a.zip").read_bytes()
    (folder / "a.zip").write_bytes(data[: len(data) // 2])
    return folder / "a.zip"


@case("F001", "program in front of the archive")
def _(folder: Path) -> Path:
    data = fresh().write(folder / "a.zip").read_bytes()
    (folder / "a.zip").write_bytes(b"#!/bin/sh\ntouch executed\nexit\n" + data)
    return folder / "a.zip"


@case("F001", "encrypted member")
def _(folder: Path) -> Path:
    path = write_zip(folder / "a.zip", members())
    data = bytearray(path.read_bytes())
    place = data.rindex(b"PK\x01\x02", 0, data.rindex(b"card.json"))
    data[place + 8] |= 1
    path.write_bytes(bytes(data))
    return path


@raw("F002", "member that grows two hundredfold")
def _() -> list[tuple[str | zipfile.ZipInfo, bytes]]:
    info = entry("card.json", 0o644)
    info.compress_type = zipfile.ZIP_DEFLATED
    return [(n, d) if n != "card.json" else (info, b" " * 6_000_000) for n, d in members()]


@refiled("F002", "table that grows without end")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    def edit(record: dict[str, Any]) -> None:
        import hashlib

        record["predictions"]["sha256"] = hashlib.sha256(files[table_name(files)]).hexdigest()

    files[table_name(files)] = gzip.compress(b"\0" * 70_000_000, 1, mtime=0)
    edit_json(files, record_name(files), edit)


@case("F002", "members that share their data")
def _(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for name, data in members():
            archive.writestr(name, data)
        again = copy.copy(archive.infolist()[0])
        again.filename = again.orig_filename = "records/again.record.json"
        archive.filelist.append(again)
    return folder / "a.zip"


@raw("F002", "thousands of files")
def _() -> list[tuple[str | zipfile.ZipInfo, bytes]]:
    return [*members(), *((f"records/x{i}.record.json", b"{}") for i in range(5001))]


@raw("F002", "a card of nine megabytes")
def _() -> list[tuple[str | zipfile.ZipInfo, bytes]]:
    return members(lambda files: files.update({"card.json": b" " * 9_000_000}))


@raw("F003", "link in an archive")
def _() -> list[tuple[str | zipfile.ZipInfo, bytes]]:
    return [*members(), (entry("records/x.record.json", 0o644, stat.S_IFLNK), b"/etc/passwd")]


@case("F003", "link in a folder")
def _(folder: Path) -> Path:
    target = extracted(folder)
    (target / "records" / "x.record.json").symlink_to("/etc/passwd")
    return target


@case("F003", "pipe in a folder")
def _(folder: Path) -> Path:
    target = extracted(folder)
    os.mkfifo(target / "records" / "x.record.json")
    return target


for _name, _path in (
    ("path with dots", "records/../../outside.record.json"), ("absolute path", "/tmp/outside.record.json"),
    ("path of another system", "C:\\outside.record.json"), ("empty part in a path", "records//x.record.json"),
):  # fmt: skip
    raw("F004", _name)(lambda path=_path: [*members(), (path, b"{}")])


@raw("F005", "one name twice")
def _() -> list[tuple[str | zipfile.ZipInfo, bytes]]:
    return [*members(), ("card.json", b"{}")]


@raw("F005", "names that differ in case")
def _() -> list[tuple[str | zipfile.ZipInfo, bytes]]:
    return [*members(), ("Card.json", b"{}")]


for _name, _path in (
    ("note", "notes.txt"), ("hidden file", ".gitattributes"), ("reproduction", "results/reproductions/mine.json"),
    ("spreadsheet", "records/scores.xlsx"),
):  # fmt: skip
    raw("F006", f"{_name} that is no part")(lambda path=_path: [*members(), (path, b"{}")])


@forged("F006", "fit that no record rests on")
def _(made: Forge) -> None:
    fit = copy.deepcopy(next(iter(made.fits.values())))
    fit["described"]["training"]["recipe"]["seed"] = 7
    fit["key"] = fit_key(decoded(fit["described"], FitDescription))
    made.fits[fit["key"]] = fit


for _name, _path, _data in (
    ("pickle", "weights/model.pkl", PICKLE), ("checkpoint", "weights/model.pth", PICKLE),
    ("script", "setup.py", b"import os\nos.system('touch executed')\n"),
    ("library", "records/plugin.so", b"\x7fELF" + bytes(60)),
    ("pickle named safetensors", f"weights/{'a' * 16}.safetensors", PICKLE),
    ("checkpoint named safetensors", f"weights/{'b' * 16}.safetensors", b"PK\x03\x04" + bytes(60)),
    ("program named predictions", "records/x.predictions.csv.gz", b"MZ" + bytes(60)),
    ("page named record", "records/x.record.json", b"<html><script>"),
):  # fmt: skip
    raw("F007", _name)(lambda path=_path, data=_data: [*members(), (path, data)])


@raw("F007", "execute permission")
def _() -> list[tuple[str | zipfile.ZipInfo, bytes]]:
    return [(entry("card.json", 0o755), d) if n == "card.json" else (n, d) for n, d in members()]
