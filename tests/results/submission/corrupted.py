"""Damaged and dishonest submissions, each made by code and meant for one rule."""

from __future__ import annotations

import copy
import gzip
import json
import os
import pickle
import stat
import struct
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from results.canonical import fingerprint
from results.predictions import ID_COLUMNS, PROBABILITY_COLUMNS
from results.submission.pack import write_submission
from tests.results.submission.forge import Forge, forge, listed, tensors, write_zip

Maker = Callable[[Path], Path]
CASES: dict[str, tuple[str, Maker]] = {}
"""Name to the rule that must refuse it and the function that makes it in a folder."""


@cache
def _template(protocol: str) -> Forge:
    return forge(protocol)


def fresh(protocol: str = "b2n") -> Forge:
    """A valid submission to spoil."""
    return copy.deepcopy(_template(protocol))


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
            write_submission(folder / "a.zip", manifest, files)
            return folder / "a.zip"

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

# the container ------------------------------------------------------------------------------------------------------


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
    ("note", "notes.txt"), ("hidden file", ".gitattributes"), ("waiver inside", "results/waivers/mine.json"),
    ("spreadsheet", "records/scores.xlsx"),
):  # fmt: skip
    raw("F006", f"{_name} that is no part")(lambda path=_path: [*members(), (path, b"{}")])


@forged("F006", "fit that no record rests on")
def _(made: Forge) -> None:
    fit = copy.deepcopy(next(iter(made.fits.values())))
    fit["recipe"]["seed"] = fit["identity"]["recipe"]["seed"] = 7
    fit["key"] = fingerprint(fit["identity"], 16)
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


# files and their form ----------------------------------------------------------------------------------------------


@raw("F008", "no manifest")
def _() -> list[tuple[str | zipfile.ZipInfo, bytes]]:
    return members(lambda files: files.pop("submission.json"))


refiled("F008", "no card")(lambda files, _: files.pop("card.json"))
refiled("F008", "record without predictions")(lambda files, _: files.pop(table_name(files)))


@forged("F008", "record without its fit")
def _(made: Forge) -> None:
    key = next(iter(made.fits))
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


@refiled("F011", "unknown entry of the manifest")
def _(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    manifest["waivers"] = ["P006"]


@refiled("F011", "unknown entry of a record")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    edit_json(files, record_name(files), lambda record: record["protocol"].update(remarks=["verified by us"]))


@refiled("F012", "NaN for a metric")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    edit_json(files, record_name(files), lambda record: record["metrics"].update(top1=float("nan")))


@refiled("F012", "number beyond all numbers")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    name = record_name(files)
    files[name] = files[name].replace(b'"fit_seconds": 4.5', b'"fit_seconds": 1e999')


@refiled("F012", "text for a number")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    edit_json(files, record_name(files), lambda record: record["metrics"].update(top1="99"))


@refiled("F012", "metric above a hundred")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    edit_json(files, record_name(files), lambda record: record["metrics"].update(top1=101.0))


@refiled("F012", "record without an overlap section")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    edit_json(files, record_name(files), lambda record: record.pop("overlap"))


raw("F013", "file changed after packing")(
    lambda: members(lambda files: files.update({"card.json": files["card.json"] + b"\n"}))
)
raw("F013", "file removed after packing")(
    lambda: members(lambda files: files.pop("environment.json"))
)
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
_table_case("table with an infinite probability", _text(lambda t: t[:-9] + b"inf\n"))
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


# arithmetic ---------------------------------------------------------------------------------------------------------


@forged("A001", "better predictions under the old hash")
def _(made: Forge) -> None:
    item = made.of("novel")
    old = item.record["predictions"]
    item.frame["id1"] = item.frame["label"]
    item.record["predictions"] = old


@forged("A002", "easy video twice, hard one left out")
def _(made: Forge) -> None:
    item = made.of("novel")
    right = (item.frame["id1"] == item.frame["label"]).to_numpy()
    item.frame.loc[(~right).nonzero()[0][0]] = item.frame.loc[right.nonzero()[0][0]]
    item.derive()


@forged("A003", "prediction left out")
def _(made: Forge) -> None:
    item = made.of("novel")
    item.frame = item.frame.iloc[:-1]
    item.measure()
    item.name()


@forged("A004", "labels moved to the predictions")
def _(made: Forge) -> None:
    item = made.of("novel")
    wrong = item.frame.index[item.frame["id1"] != item.frame["label"]][:10]
    item.frame.loc[wrong, "label"] = item.frame.loc[wrong, "id1"]
    item.measure()
    item.name()


@forged("A005", "id beyond the classes")
def _(made: Forge) -> None:
    item = made.of("novel")
    item.frame.loc[0, "id5"] = 400
    item.name()


@forged("A005", "one class in all five places")
def _(made: Forge) -> None:
    item = made.of("novel")
    for column in ID_COLUMNS[1:]:
        item.frame[column] = item.frame["id1"]
    item.derive()


@forged("A006", "probabilities that add up to more than one")
def _(made: Forge) -> None:
    item = made.of("novel")
    item.frame[PROBABILITY_COLUMNS] = 0.9
    item.name()


@forged("A006", "probabilities out of order")
def _(made: Forge) -> None:
    item = made.of("novel")
    item.frame[["p1", "p5"]] = item.frame[["p5", "p1"]].to_numpy()
    item.name()


for _metric, _gain in (("top1", 1.0), ("top5", 0.5), ("mean_class", 1e-6)):

    @forged("A007", f"{_metric} raised")
    def _(made: Forge, metric: str = _metric, gain: float = _gain) -> None:
        made.of("novel").record["metrics"][metric] += gain


@forged("A007", "accuracy of another part")
def _(made: Forge) -> None:
    made.of("novel").record["metrics"] = dict(made.of("base").record["metrics"])


@forged("A008", "undecodable videos not named")
def _(made: Forge) -> None:
    item = made.of("novel")
    item.frame.loc[:2, ID_COLUMNS], item.frame.loc[:2, PROBABILITY_COLUMNS] = -1, 0.0
    item.derive()
    item.record["data"] |= {"n_undecodable": 0, "undecodable": []}


def _score(column: str, edit: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, bytes], dict[str, Any]], None]:
    return lambda _files, manifest: edit(next(s for s in manifest["scores"] if s["column"] == column))


refiled("A009", "mean of the best repeats")(_score("novel", lambda s: s.update(mean=s["mean"] + 2.0)))
refiled("A009", "harmonic mean that is none")(_score("hm", lambda s: s.update(mean=s["mean"] + 0.1)))
refiled("A009", "interval too narrow")(_score("novel", lambda s: s.update(low=s["mean"], high=s["mean"])))
refiled("A009", "spread made smaller")(_score("base", lambda s: s.update(spread=s["spread"] / 2)))
refiled("A009", "more repeats than there are")(_score("base", lambda s: s.update(n=10)))


@refiled("A009", "column left out")
def _(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    manifest["scores"] = [s for s in manifest["scores"] if s["column"] != "joint"]


@forged("A010", "strict score raised")
def _(made: Forge) -> None:
    made.of("joint").record["overlap"]["top1_strict"] += 5.0


@forged("A011", "cell key of another cell")
def _(made: Forge) -> None:
    item = made.of("novel")
    item.record["cell"] = item.record["cell"][:8] + "0" * 8


@forged("A012", "identity with other options than the record")
def _(made: Forge) -> None:
    for item in made.items:
        item.record["method"]["options"] = {"width": 8}


@forged("A013", "signature of another method")
def _(made: Forge) -> None:
    item = made.of("novel")
    item.record["signature"] = item.record["signature"].replace("mymethod", "vificlip")


@forged("A013", "signature with fewer frames")
def _(made: Forge) -> None:
    item = made.of("novel")
    item.record["signature"] = item.record["signature"].replace("4x1x1", "8x1x1")


@forged("A014", "class names changed under the old hash")
def _(made: Forge) -> None:
    made.of("novel").record["data"]["classes"][0] = "something easier"


@forged("A015", "record with another learning rate than its fit")
def _(made: Forge) -> None:
    item = made.of("novel")
    item.record["fit"]["recipe"] = {**item.record["fit"]["recipe"], "lr": 1e-6}


@forged("A015", "fit with an identity that is not its key's")
def _(made: Forge) -> None:
    next(iter(made.fits.values()))["identity"]["engine"] = 2


@forged("A015", "weights of another fit")
def _(made: Forge) -> None:
    made.weights[next(iter(made.weights))] = tensors(99.0)


@forged("A015", "fewer trained parameters than the fit has")
def _(made: Forge) -> None:
    made.change(lambda record: record["method"].update(params_trained=1))


@refiled("A016", "card with another title")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    edit_json(files, "card.json", lambda card: card.update(title="Better method"))


@refiled("A016", "environment of another machine")
def _(files: dict[str, bytes], _manifest: dict[str, Any]) -> None:
    edit_json(files, "environment.json", lambda value: value["environments"][0].update(device="TPU"))


# protocol -----------------------------------------------------------------------------------------------------------

_change = [
    ("P001", "protocol of one's own", lambda r: r["protocol"].update(id="b2n_easy")),
    ("P001", "version of the protocol that is not current", lambda r: r["protocol"].update(version=7)),
    ("P002", "dataset of one's own", lambda r: r["data"].update(dataset="my_videos")),
    ("P003", "list of one's own", lambda r: r["data"].update(list_origin="own")),
    ("P009", "evaluation videos in training", lambda r: r["overlap"].update(train_videos=12)),
    ("P010", "closed division with more frames", lambda r: r["views"].update(frames=32)),
    ("P010", "closed division with more views", lambda r: r["views"].update(clips=4, sampling="uniform")),
    ("P011", "closed division with a language model", lambda r: r["method"].update(class_text="llm-rewritten")),
    ("P013", "closed division with extra data", lambda r: r["method"].update(extra_data=["k710"])),
    ("P014", "closed division from a file", lambda r: r["fit"].update(init="checkpoint")),
    ("P015", "status verified by oneself", lambda r: r.update(status="verified")),
    ("P015", "status reproduced by oneself", lambda r: r.update(status="reproduced")),
    ("P016", "origin built-in claimed", lambda r: r["method"].update(origin="built-in")),
    ("P018", "columns without the harmonic mean", lambda r: r["protocol"].update(columns=r["protocol"]["columns"][:2])),
    ("P019", "videos missing and marked", lambda r: r["protocol"].update(incomplete=["3 of 240 videos missing"])),
    ("P020", "embedded benchmark passed off as real", lambda r: r["data"].update(embedded=False)),
]  # fmt: skip
for _rule, _name, _edit in _change:
    forged(_rule, _name)(lambda made, edit=_edit: made.change(edit))


@forged("P003", "hard videos left out of the list")
def _(made: Forge) -> None:
    item = made.of("novel")
    wrong = item.frame.index[item.frame["id1"] != item.frame["label"]][:20]
    item.frame = item.frame.drop(wrong).reset_index(drop=True)
    item.derive()


@forged("P003", "labels moved, with all hashes")
def _(made: Forge) -> None:
    item = made.of("novel")
    wrong = item.frame.index[item.frame["id1"] != item.frame["label"]][:10]
    item.frame.loc[wrong, "label"] = item.frame.loc[wrong, "id1"]
    item.derive()


@forged("P004", "class names improved, with all hashes")
def _(made: Forge) -> None:
    for index in (1, 2, 3):
        item = made.of("novel", index)
        item.record["data"]["classes"] = [f"video of a {name}" for name in item.record["data"]["classes"]]
        item.derive()


def _train(fit: dict[str, Any], **changes: Any) -> None:
    if fit["train"]["list"] == "base_s1":
        fit["train"] |= changes


@forged("P005", "trained on all clips of the base classes")
def _(made: Forge) -> None:
    made.refit(lambda fit: _train(fit, list="base_train", n=278, n_used=278))


@forged("P005", "training list with more clips")
def _(made: Forge) -> None:
    made.refit(lambda fit: _train(fit, sha256="c" * 64, n=250, n_used=250))


@forged("P006", "worst repeat left out")
def _(made: Forge) -> None:
    key = made.of("novel", 2).record["fit"]["key"]
    made.items = [item for item in made.items if item.record["fit"]["key"] != key]
    del made.fits[key], made.weights[key]


@forged("P006", "joint column left out")
def _(made: Forge) -> None:
    made.items = [item for item in made.items if item.record["protocol"]["part"] != "joint"]


@forged("P006", "only the K that look well", "few_shot")
def _(made: Forge) -> None:
    kept = [item for item in made.items if item.record["fit"]["shots"] in (2, 16)]
    keys = {item.record["fit"]["key"] for item in kept}
    made.items = kept
    made.fits = {key: fit for key, fit in made.fits.items() if key in keys}
    made.weights = {key: data for key, data in made.weights.items() if key in keys}


@forged("P007", "second try of a repeat")
def _(made: Forge) -> None:
    other = copy.deepcopy(made)
    other.refit(lambda fit: (fit["recipe"].update(lr=1e-3), fit["weights"].update(sha256="d" * 64)))
    tried = [item for item in other.items if item.record["repeat"]["index"] == 2]
    for item in tried:
        item.frame = item.frame.copy()
        item.frame["p5"] = 0.0
        item.derive()
    key = tried[0].record["fit"]["key"]
    made.items += tried
    made.fits[key] = other.fits[key]


@forged("P008", "one set of weights as three fits")
def _(made: Forge) -> None:
    same = next(iter(made.fits.values()))["weights"]["sha256"]
    data = next(iter(made.weights.values()))
    made.refit(lambda fit: fit["weights"].update(sha256=same))
    made.weights = dict.fromkeys(made.weights, data)


@forged("P008", "predictions of one fit for two repeats")
def _(made: Forge) -> None:
    for part in ("base", "novel", "joint"):
        made.of(part, 2).frame = made.of(part, 1).frame.copy()
        made.of(part, 2).derive()


@forged("P008", "fit of another repeat")
def _(made: Forge) -> None:
    for item in made.items:
        item.record["fit"]["repeat"] = {"kind": "seed", "index": item.record["repeat"]["index"]}


@forged("P009", "seen classes not named")
def _(made: Forge) -> None:
    for index in (1, 2, 3):
        item = made.of("joint", index)
        item.record["overlap"] |= {"seen_classes": [], "top1_strict": None}


@forged("P012", "closed division with a chosen checkpoint")
def _(made: Forge) -> None:
    made.refit(lambda fit: fit["recipe"].update(selection="best"))


@forged("P016", "name of a built-in method")
def _(made: Forge) -> None:
    def rename(holder: dict[str, Any]) -> None:
        holder["name"] = "vificlip"

    made.change(lambda record: rename(record["method"]))
    made.refit(lambda fit: rename(fit["identity"]["method"]))


@forged("P017", "two programs under one name")
def _(made: Forge) -> None:
    # A second row that is complete in itself, of other code.
    other = copy.deepcopy(made)
    for item in other.items:
        item.record["method"]["source_sha256"] = "e" * 64
        item.identify()
    other.refit(lambda fit: fit["identity"]["method"].update(code="e" * 64))
    made.items += other.items
    made.fits |= other.fits
    made.weights |= other.weights


@refiled("P017", "manifest of another method")
def _(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    manifest["method"] = "theirmethod"


@forged("P019", "fitted on a part of the list")
def _(made: Forge) -> None:
    made.refit(lambda fit: fit["train"].update(n_used=100))


@forged("P021", "half of a row on another backbone")
def _(made: Forge) -> None:
    made.of("novel").record["backbone"]["weights_sha256"] = "f" * 64


@forged("P021", "tiny CLIP that is not the shipped one")
def _(made: Forge) -> None:
    def other(method: dict[str, Any]) -> None:
        method["backbone"] = {"arch": "mini-clip", "weights": "a" * 64}

    for item in made.items:
        other(item.record["identity"]["method"])
        item.identify()
    made.refit(lambda fit: other(fit["identity"]["method"]))


@forged("P022", "nothing trained in a fit")
def _(made: Forge) -> None:
    made.refit(lambda fit: fit["parameters"].update(trained=0))
    made.change(lambda record: record["method"].update(params_trained=0))
