"""Damage to files and their form."""

from __future__ import annotations

import gzip
import json
import re
import struct
import zipfile
from collections.abc import Callable
from typing import Any

from tests.results.submission.archives import listed, tensors
from tests.results.submission.corrupted import (
    edit_json,
    forged,
    fresh_files,
    members,
    raw,
    record_name,
    refiled,
    table_name,
)
from tests.results.submission.forge import Forge, with_parent


@raw("F008", "no manifest")
def _() -> list[tuple[str | zipfile.ZipInfo, bytes]]:
    return members(lambda files: files.pop("submission.json"))


refiled("F008", "no card")(lambda files, _: files.pop("card.json"))
refiled("F008", "record without predictions")(lambda files, _: files.pop(table_name(files)))


@forged("F008", "record without its fit")
def _(made: Forge) -> None:
    key = next(iter(made.fits))
    del made.fits[key], made.weights[key]


@forged("F008", "fit without the parent fit that it starts from")
def _(made: Forge) -> None:
    with_parent(made)
    parents = {fit["described"]["training"]["start"]["key"] for fit in made.fits.values()} - {""}
    for key in parents:
        del made.fits[key], made.weights[key]


@refiled("F009", "key given twice")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    files["card.json"] = files["card.json"].replace(b'"family"', b'"title": "Other", "family"')


@refiled("F009", "broken text")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    files["card.json"] = files["card.json"].replace(b"My method", b"My \xff method")


@refiled("F009", "nested without end")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    files["card.json"] = b'{"schema":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@refiled("F009", "title that turns the reading direction")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    edit_json(files, "card.json", lambda card: card.update(title="My \u202edohtem"))


@refiled("F010", "layout of another version")
def _(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    manifest["schema"] = 2


@refiled("F010", "record of an older version")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    edit_json(files, record_name(files), lambda record: record.update(schema=2))


@refiled("F011", "unknown entry of the manifest")
def _(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    manifest["exceptions"] = ["P006"]


@refiled("F011", "unknown entry of a record")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    edit_json(files, record_name(files), lambda record: record["measurement"]["protocol"].update(division="closed"))


@refiled("F011", "unknown entry of a fit")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    name = next(name for name in files if name.startswith("fits/"))
    edit_json(files, name, lambda fit: fit["described"]["training"].update(note="published weights"))


@refiled("F012", "NaN for a metric")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    edit_json(files, record_name(files), lambda record: record["metrics"].update(top1=float("nan")))


@refiled("F012", "number beyond all numbers")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    name = record_name(files)
    files[name] = files[name].replace(b'"eval_seconds": 1.0', b'"eval_seconds": 1e999')


@refiled("F012", "text for a number")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    edit_json(files, record_name(files), lambda record: record["metrics"].update(top1="99"))


@refiled("F012", "metric above a hundred")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    edit_json(files, record_name(files), lambda record: record["metrics"].update(top1=101.0))


@refiled("F012", "record without an overlap section")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    edit_json(files, record_name(files), lambda record: record.pop("overlap"))


for _name, _edit in (
    ("title of a novel", lambda r: r["method"].update(title="My method" * 300)),
    ("name of the method that is a path", lambda r: r["measurement"]["method"].update(name="../mymethod")),
    ("protocol of a name with blanks", lambda r: r["measurement"]["protocol"].update(name="b2n easy")),
    ("hash of the list in words", lambda r: r["measurement"]["evaluation"]["list"].update(sha256="the published one")),
    ("hash of the code cut", lambda r: r["measurement"]["method"].update(code="abc")),
    ("hash of the predictions in capitals", lambda r: r["predictions"].update(sha256="A" * 64)),
    ("more videos evaluated than listed", lambda r: r["measurement"]["evaluation"].update(evaluated=10_000)),
    ("trained without facts of the fit", lambda r: r.update(fit=None)),
    ("selection on the evaluation list", lambda r: r["measurement"]["training"]["recipe"].update(selection="best")),
):  # fmt: skip
    refiled("F012", _name)(lambda files, _manifest, edit=_edit: edit_json(files, record_name(files), edit))


for _name, _value in (("repeat of no known kind", {"kind": "lucky"}), ("repeat number zero", {"index": 0})):
    forged("F012", _name)(
        lambda made, value=_value: made.change(lambda record: record["measurement"]["protocol"]["repeat"].update(value))
    )


raw("F013", "file changed after packing")(
    lambda: members(lambda files: files.update({"card.json": files["card.json"] + b"\n"}))
)
raw("F013", "file removed after packing")(lambda: members(lambda files: files.pop("environment.json")))
raw("F013", "file added after packing")(
    lambda: [*members(lambda files: files.pop("submission.json")), ("submission.json", _unlisted())]
)


def _unlisted() -> bytes:
    """The manifest of a submission without one of its weight files."""
    files, manifest = fresh_files()
    files.pop(next(n for n in files if n.startswith("weights/")))
    return json.dumps(listed(files, manifest)).encode()


def _weights_case(name: str, data: bytes) -> None:
    def edit(made: Forge) -> None:
        key = next(iter(made.weights))
        made.weights[key] = data
        import hashlib

        def follow(fit: dict[str, Any]) -> None:
            if fit["key"] == key:
                fit["weights"]["sha256"] = hashlib.sha256(data).hexdigest()

        made.refit(follow)

    forged("F014", name)(edit)


_TENSOR = '"{}":{{"dtype":"F32","shape":[2],"data_offsets":[{},{}]}}'
_HEADER = f"{{{_TENSOR.format('a', 0, 8)},{_TENSOR.format('b', 4, 12)}}}".encode()
_weights_case("weights that are cut", tensors()[:-3])
_weights_case("weights with a header beyond the file", struct.pack("<Q", 2**40) + tensors()[8:])
_weights_case("weights that overlap", struct.pack("<Q", len(_HEADER)) + _HEADER + bytes(12))
_weights_case("weights with data behind the last tensor", tensors() + b"cat /etc/passwd")


def _table_case(name: str, edit: Callable[[bytes], bytes]) -> None:
    import hashlib

    def change(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
        table = table_name(files)
        files[table] = edit(files[table])
        sha = hashlib.sha256(files[table]).hexdigest()
        edit_json(files, record_name(files), lambda record: record["predictions"].update(sha256=sha))

    refiled("F015", name)(change)


def _text(edit: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda data: gzip.compress(edit(gzip.decompress(data)), mtime=0)


_table_case("table with another column", _text(lambda t: t.replace(b"\n", b",note\n", 1)))
_table_case("table with an infinite probability", _text(lambda t: re.sub(rb",0\.\d{6}", b",inf", t, count=1)))
_table_case("table with a fraction for an id", _text(lambda t: t.replace(b".avi,", b".avi,0.5", 1)))
_table_case("table with data behind its end", lambda data: data + b"more")
_table_case("table that is cut", lambda data: data[: len(data) // 2])
_table_case("table that is plain text", gzip.decompress)
_table_case("table with a huge id", _text(lambda t: t.replace(b".avi,", b".avi,99999999999999999999", 1)))


@refiled("F016", "record under another name")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    name = record_name(files)
    files[name.replace("novel", "base")] = files.pop(name)


@refiled("F016", "fit under another name")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    name = next(name for name in files if name.startswith("fits/"))
    files["fits/0123456789abcdef.json"] = files[name]
    del files[name]
