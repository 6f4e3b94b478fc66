"""Random damage: the checker gives a verdict, writes nothing, runs nothing, whatever it is given."""

from __future__ import annotations

import copy
import gzip
import json
import os
import sys
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from results.measurement import FitDescription, Measurement, cell_key, fit_key
from results.measurement_words import signature
from results.record import Record
from results.submission.check import Checked
from results.submission.contents import printable
from results.submission.layout import record_stem
from tests.results.submission.archives import listed, write_zip
from tests.results.submission.corrupted import PICKLE, entry, fresh
from tests.results.submission.forge import decoded
from tests.results.submission.installed_facts import check

ACTS = (
    "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pickle.find_class", "ctypes.dlopen",
    "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.chmod", "os.truncate", "shutil.move",
    "socket.connect",
)  # fmt: skip
"""Audit events of the interpreter that a check never causes; writing opens are looked at apart."""
_watched: list[str] | None = None


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _watched is None:
        return
    if event == "open":
        name, mode, flags = arguments
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        if writes or (isinstance(mode, str) and set(mode) & set("wax+")):
            _watched.append(f"open {name!r} {mode}")
    elif event in ACTS:
        _watched.append(f"{event} {arguments!r:.80}")


sys.addaudithook(_watch)


def watched_check(path: Path) -> tuple[Checked, list[str]]:
    """The verdict, and what the check did besides reading."""
    global _watched
    _watched = []
    try:
        checked = check(path)
        checked.text(), checked.as_dict()
        return checked, list(_watched)
    finally:
        _watched = None


@cache
def _small() -> tuple[tuple[tuple[str, bytes], ...], str]:
    """Files and manifest of a submission of one record with 48 videos."""
    made = fresh("few_shot")
    first = made.items[0]
    made.keep(lambda item: item is first)
    made.items[0].frame = made.items[0].frame.iloc[::10].reset_index(drop=True)
    made.derive()
    return tuple(made.files().items()), json.dumps(made.manifest)


@pytest.fixture(scope="module", autouse=True)
def _warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Modules are imported before anything is watched."""
    check(fresh("few_shot").write(tmp_path_factory.mktemp("warm") / "a.zip")).text()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.just(10**400) | st.just("../x"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.text(max_size=30) | st.sampled_from(
    ["../x.py", "/etc/x", "records/x.pkl", "weights/x.so", "fits/" + "a" * 16 + ".json", "card.json", "a\0b", "con"]
)
MODES = st.sampled_from([(0o644, 0o100000)] * 12 + [(0o755, 0o100000), (0, 0), (0o644, 0o120000)])
BYTES = st.binary(max_size=40) | st.sampled_from([PICKLE, b"\x7fELF", b"#!/bin/sh\n", b"{}", b"PK\x03\x04"])


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """All places inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*place, key)
        yield from _places(inner, (*place, key))


def _damage_json(draw: st.DataObject, data: bytes) -> bytes:
    """One entry replaced, removed or added."""
    value = json.loads(data)
    place = draw.draw(st.sampled_from(list(_places(value))))
    holder = value
    for key in place[:-1]:
        holder = holder[key]
    act = draw.draw(st.sampled_from(["replace", "remove", "add"]))
    if act == "replace":
        holder[place[-1]] = draw.draw(JSON)
    elif act == "remove":
        del holder[place[-1]]
    elif isinstance(holder, dict):
        holder[draw.draw(st.text(max_size=10))] = draw.draw(JSON)
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _rekeyed(data: bytes) -> bytes:
    """A damaged record or fit with the keys that follow from it, so that the rules on its content are reached."""
    value = json.loads(data)
    if (m := decoded(value.get("measurement"), Measurement)) is not None:
        value |= {"key": cell_key(m), "signature": signature(m)}
    if (described := decoded(value.get("described"), FitDescription)) is not None:
        value["key"] = fit_key(described)
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _renamed(files: dict[str, bytes]) -> dict[str, bytes]:
    """Files under the names that their keys ask for, where they have keys."""
    found = {}
    for name, data in files.items():
        value = _json(data) if name.endswith(".json") else {}
        if (record := decoded(value, Record)) is not None:
            name = f"records/{record_stem(record)}.record.json"
        elif name.startswith("fits/") and isinstance(value.get("key"), str):
            name = f"fits/{value['key']}.json"
        found[name] = data
    return found


def _json(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _damage_bytes(draw: st.DataObject, data: bytes) -> bytes:
    """Bytes overwritten, cut out, put in, or the rest cut off."""
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(data)))
        length = draw.draw(st.integers(0, 60))
        act = draw.draw(st.sampled_from(["overwrite", "cut", "insert", "end"]))
        new = draw.draw(BYTES)
        if act == "overwrite":
            data = data[:at] + new + data[at + len(new) :]
        elif act == "cut":
            data = data[:at] + data[at + length :]
        elif act == "insert":
            data = data[:at] + new + data[at:]
        else:
            data = data[:at]
    return data


def damaged(draw: st.DataObject, folder: Path) -> Path:
    """A submission with some damage, with a manifest that knows of it or not."""
    given_files, manifest_text = _small()
    files, manifest = dict(given_files), json.loads(manifest_text)
    sealed = draw.draw(st.booleans())
    before = copy.deepcopy(files)
    for _ in range(draw.draw(st.integers(1, 2))):
        name = draw.draw(st.sampled_from(sorted(files)))
        data, act = files[name], draw.draw(st.sampled_from(["json", "bytes", "table", "rename", "add", "remove"]))
        if act == "json" and name.endswith(".json") and data == before.get(name):
            files[name] = _damage_json(draw, data)
            if draw.draw(st.booleans()):
                files[name] = _rekeyed(files[name])
        elif act == "table" and name.endswith(".gz") and data == before.get(name):
            files[name] = gzip.compress(_damage_bytes(draw, gzip.decompress(data)), mtime=0)
        elif act == "rename":
            files[draw.draw(NAMES)] = files.pop(name)
        elif act == "add":
            files[draw.draw(NAMES)] = draw.draw(BYTES)
        elif act == "remove":
            del files[name]
        else:
            files[name] = _damage_bytes(draw, data)
        if not files:
            break
    if draw.draw(st.booleans()):
        files = _renamed(files)
    whole = listed(files if sealed else before, manifest)
    text = json.dumps(whole).encode("utf-8", "surrogatepass")
    if draw.draw(st.integers(0, 5)) == 0:
        text = _damage_json(draw, text)
    members: list[tuple[str | zipfile.ZipInfo, bytes]] = [
        (entry(name, *draw.draw(MODES)), data) for name, data in [*files.items(), ("submission.json", text)]
    ]
    path = write_zip(folder / "a.zip", members)
    if draw.draw(st.integers(0, 3)) == 0:
        path.write_bytes(_damage_bytes(draw, path.read_bytes()))
    return path


def _examine(draw: st.DataObject, factory: pytest.TempPathFactory) -> None:
    folder = factory.mktemp("damaged")
    path = damaged(draw, folder)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    checked, acts = watched_check(path)
    assert not acts, acts
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before
    assert not checked.passed  # one record of a protocol that asks for four never passes
    assert "F999" not in checked.rules(), checked.text()
    assert all(line == printable(line, 10**6) for line in checked.text().splitlines()), "text safe for a terminal"
    json.dumps(checked.as_dict(), allow_nan=False).encode()
    path.unlink()
    folder.rmdir()


QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=QUIET)
@given(draw=st.data())
def test_some_damage_never_crashes_the_checker(draw: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    _examine(draw, tmp_path_factory)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=1000, deadline=None, suppress_health_check=QUIET)
@given(draw=st.data())
def test_a_thousand_damages_never_crash_the_checker(
    draw: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    _examine(draw, tmp_path_factory)


def test_the_watch_sees_what_it_must_not_miss(tmp_path: Path) -> None:
    """The audit hook would notice a pickle that is loaded and a file that is written."""
    import pickle

    global _watched
    _watched = seen = []
    try:
        (tmp_path / "x").write_text("x")
        assert pickle.loads(pickle.dumps(os.getcwd)) is os.getcwd
    finally:
        _watched = None
    assert any(act.startswith("open") for act in seen) and any("pickle.find_class" in act for act in seen)
