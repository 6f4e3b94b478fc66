"""A hostile file of 1 MB costs the checker at most 2 s of CPU time and 300 MB, and its output has at most 200 lines."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, machine_free
from tests.results.submission.archives import seal
from tests.results.submission.corrupted import edit_json, fresh_files, record_name, table_name

SECONDS, MEGABYTES, LINES = 2.0, 300, 200
SIZE = 1_000_000

# One process for all cases, because a start takes longer than a check; memory is the growth of its peak.
CHILD = """
import json, resource, sys, time
from pathlib import Path
from harness.submitting.benchmark_facts import facts_of
from results.submission.check import check_submission
check_submission(Path(sys.argv[1]), facts_of)
for path in sys.argv[2:]:
    before = resource.getrusage(resource.RUSAGE_SELF)
    checked = check_submission(Path(path), facts_of)
    text, listed = checked.text(), json.dumps(checked.as_dict())
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    grown = (after.ru_maxrss - before.ru_maxrss) / 1024
    print(json.dumps([checked.passed, seconds, grown, text.count("\\n") + 1, len(listed)]))
"""

Files = dict[str, bytes]


def in_record(*path: str, value: Any) -> Callable[[Files], None]:
    """Put a value into a record, with as many items as fill the size."""

    def edit(files: Files) -> None:
        def put(record: dict[str, Any]) -> None:
            *above, last = path
            node = record
            for name in above:
                node = node[name]
            node[last] = value

        edit_json(files, record_name(files), put)

    return edit


def items(item: Any, size: int = SIZE) -> list[Any]:
    return [item] * (size // (len(json.dumps(item)) + 2))


def keys(value: Any, size: int = SIZE) -> dict[str, Any]:
    return {f"k{i}": value for i in range(size // (len(json.dumps(value)) + 12))}


def weights(files: Files, header: bytes) -> None:
    name = next(name for name in files if name.endswith(".safetensors"))
    files[name] = struct.pack("<Q", len(header)) + header


def table(files: Files, text: bytes) -> None:
    import gzip

    files[table_name(files)] = gzip.compress(text, 9, mtime=0)


def table_head(files: Files) -> bytes:
    import gzip

    return gzip.decompress(files[table_name(files)]).partition(b"\n")[0] + b"\n"


RECORD_PLACES: dict[str, tuple[str, ...]] = {
    "class names": ("classes",), "undecodable": ("undecodable",), "remarks": ("remarks",), "metrics": ("metrics",),
    "measurement": ("measurement",), "environment packages": ("environment", "packages"),
}  # fmt: skip
VALUES: dict[str, Any] = {
    "numbers": items(1), "texts": items("a b"), "lists": items([]), "objects": items({}), "mixed": items([1, "a", {}]),
    "keys": keys(1), "keys of objects": keys({"a": 1}), "nothing": items(None), "a text": "x" * SIZE,
}  # fmt: skip
CASES: dict[str, Callable[[Files], None]] = {
    f"{place} {kind}": in_record(*path, value=value)
    for place, path in RECORD_PLACES.items() for kind, value in VALUES.items()
}  # fmt: skip
TENSOR = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
CASES |= {
    "card": lambda files: edit_json(files, "card.json", lambda card: card.update(extra_data=items("a"))),
    "environments": lambda files: edit_json(files, "environment.json", lambda e: e.update(environments=items({}))),
    "tensors": lambda files: weights(files, json.dumps(keys(TENSOR)).encode()),
    "tensor shapes": lambda files: weights(files, json.dumps({"a": {**TENSOR, "shape": items(1)}}).encode()),
    "metadata": lambda files: weights(files, json.dumps({"__metadata__": keys("a")}).encode()),
    "a table of blanks": lambda files: table(files, table_head(files) + b" " * 400_000_000),
    "a table of lines": lambda files: table(files, table_head(files) + b"\n" * 4_000_000),
    "a table of commas": lambda files: table(files, table_head(files) + b"," * 4_000_000),
    "a table of rows": lambda files: table(files, table_head(files) + b"a,0,0,1,2,3,4,1,0,0,0,0,\n" * 150_000),
    "a table of names": lambda files: table(files, table_head(files) + b"a" * 4_000_000 + b",0,0,1,2,3,4,1,0,0,0,0,\n"),
}  # fmt: skip


USUAL = ("measurement keys of objects", "tensors", "a table of blanks")
"""Cases of the default run: the costliest of each kind of file."""


def costs(names: Iterable[str], folder: Path) -> dict[str, list[float]]:
    """What each case costs: passed, CPU seconds, megabytes, lines of text, characters of JSON."""
    honest = seal(folder / "honest.zip", *fresh_files())
    paths = []
    for number, name in enumerate(names):
        files, manifest = fresh_files()
        CASES[name](files)
        paths.append(seal(folder / f"{number}.zip", files, manifest))
    command = [sys.executable, "-c", CHILD, *map(os.fspath, [honest, *paths])]
    done = subprocess.run(command, cwd=ROOT, env=machine_free(), capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(names, map(json.loads, done.stdout.splitlines()), strict=True))


def assert_little(measured: dict[str, list[float]]) -> None:
    for name, (passed, seconds, megabytes, lines, characters) in measured.items():
        assert not passed, name
        assert seconds <= SECONDS and megabytes <= MEGABYTES, name
        assert lines <= LINES and characters <= SIZE, name


@pytest.mark.slow
def test_a_hostile_file_costs_little(tmp_path: Path) -> None:
    assert_little(costs(USUAL, tmp_path))


@pytest.mark.slow
def test_every_hostile_file_costs_little(tmp_path: Path) -> None:
    measured = costs(CASES, tmp_path)
    assert_little(measured)


@pytest.mark.slow
def test_many_findings_are_counted(tmp_path: Path) -> None:
    from results.submission.rules import Finding
    from tests.results.submission.installed_facts import check

    files, manifest = fresh_files()
    checked = check(seal(tmp_path / "a.zip", files, manifest))
    many = type(checked)(checked.submission, tuple(Finding("F006", f"f{i}", "a file", "none") for i in range(5000)))
    text = many.text()
    assert text.count("\n") < LINES and "... and 4955 more findings: F006 4955 times" in text
    assert many.as_dict()["errors"] == 5000
