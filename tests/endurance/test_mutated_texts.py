"""Mutated lists, annotations, records and other files through every parser: a result or one `UserError`.

No other exception, no hang, nothing written outside the test's folder.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import shutil
import signal
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.base.errors import UserError
from harness.data.files.fingerprints import FingerprintIndex
from harness.data.files.inventory import Inventory
from harness.data.folders.read_clips import read_clips
from harness.data.lists.class_names import read_class_names
from harness.data.lists.grammar import format_labels, format_list, parse_labels, parse_list
from harness.data.official.annotations.annotation_folder import AnnotationFolder
from harness.data.official.cards import load_card
from harness.data.official.generate import generate
from harness.engine.model.weights import read_weights
from harness.engine.partial_scores import PartialScores
from harness.machine.settings import load_settings
from reports.frame import records_frame
from results.fit_file import read_fit_file
from results.predictions import read_predictions
from results.record import read_record
from results.score import score
from tests.conftest import CLASSES
from tests.endurance.conftest import only
from tests.endurance.mutate import mutated, mutated_json
from tests.endurance.test_kill import write_annotations

SEED = int(os.environ.get("HARNESS_TEST_SEED", "1"))
SECONDS = 10
FEW, MANY = 15, 480
UNREAD: list[tuple[Path | None, int]] = [(None, 0)] * 8


@dataclass(frozen=True)
class Parser:
    """A parser and a good file for it.

    Args:
        good: The file's bytes.
        read: Parses the file at a path, which is alone in its folder.
        name: Name of the file.
        change: The mutation.
    """

    good: bytes
    read: Callable[[Path], object]
    name: str
    change: Callable[[bytes, random.Random], bytes] = mutated


def either(good: bytes, draw: random.Random) -> bytes:
    """JSON changed as a value or as bytes."""
    return mutated_json(good, draw) if draw.random() < 0.7 else mutated(good, draw)


def packed(good: bytes, draw: random.Random) -> bytes:
    """A gzip file changed inside or outside."""
    return gzip.compress(mutated(gzip.decompress(good), draw)) if draw.random() < 0.8 else mutated(good, draw)


def annotations(dataset: str) -> Callable[[Path], object]:
    return lambda path: generate(load_card(dataset), AnnotationFolder(path.parent))


@pytest.fixture(scope="module")
def parsers(tmp_path_factory: pytest.TempPathFactory, finished_runs: Path) -> dict[str, Parser]:
    root = tmp_path_factory.mktemp("good")
    ucf, kinetics, ssv2 = load_card("ucf101"), load_card("k400"), load_card("ssv2")
    rows = [(f"v_{name}_g08_c0{k}.avi", i) for i, name in enumerate(ucf.names) for k in (1, 2)]
    ucf_files = write_annotations(root / "ucf")
    table = "label,youtube_id,time_start,time_end,split\n" + "".join(
        f'"{name}",{"abcdefghij" + str(i % 10)},{i},{i + 10},val\n' for i, name in enumerate(kinetics.names)
    )
    items = [{"id": str(i), "template": name, "label": "", "placeholders": []} for i, name in enumerate(ssv2.names)]
    record, fit, predictions, weights = (
        only(finished_runs, pattern).read_bytes()
        for pattern in ("*base_val*.record.json", "fit.json", "*base_val*.predictions.csv.gz", "weights.safetensors")
    )
    tensors, partial = io.BytesIO(), io.BytesIO()
    torch.save({"model": {"visual.conv1.weight": torch.zeros(3, 3)}}, tensors)
    np.savez_compressed(
        partial, done=np.array(4), ids=np.zeros((8, 4), int), probabilities=np.zeros((8, 4)), rows=np.array([2]),
        reasons=np.array(["broken"]), of=np.array(PartialScores(UNREAD, 4, root).rows_hash),
    )  # fmt: skip
    files = {f"{name} {i}.avi": name for name in CLASSES for i in range(2)}
    clip_table = "path,class,split\n" + "".join(f"{f},{n},{'train' if '0' in f else 'val'}\n" for f, n in files.items())

    words = [{"word": f"class {i}"} for i in range(620)]
    zsar = root / "zsar"
    zsar.mkdir()
    (zsar / "classes620_label_defn.json").write_text(json.dumps(words))
    (zsar / "tst_class_idxs.json").write_text(json.dumps([list(range(160))] * 3))
    (zsar / "tst_video_metas.jsonl").write_text('{"videoname": "abcdefghijk_000001_000011.mp4", "label": 3}\n' * 9)

    def zsar_with(path: Path) -> object:
        for file in zsar.iterdir():
            if file.name != path.name:
                shutil.copy(file, path.parent)
        return annotations("k600")(path)

    def with_videos(path: Path) -> object:
        for name in files:
            (path.parent / name).touch()
        return read_clips(path)

    def ucf_with(path: Path) -> object:
        for file in ucf_files.iterdir():
            if file.name != path.name:
                shutil.copy(file, path.parent)
        return annotations("ucf101")(path)

    def records(path: Path) -> object:
        shutil.copy(only(finished_runs, "*base_val*.predictions.csv.gz"), path.parent)
        score(path.parent)
        read_record(path)
        return records_frame(path.parent)

    def index(path: Path) -> object:
        cached = path.parent / "inventory" / path.name
        cached.parent.mkdir()
        shutil.copy(path, cached)
        (path.parent / "x.avi").touch()
        named = "content-" if path.name.startswith("content") else ""
        resolved = str((path.parent).resolve())
        cached.rename(cached.with_name(f"{named}{hashlib.sha256(resolved.encode()).hexdigest()[:16]}.json"))
        if named:
            file = path.parent / "x.avi"
            return FingerprintIndex(path.parent, path.parent).list_fingerprint({"x.avi": file}, ["x.avi"])
        return Inventory.open(path.parent, path.parent).find("x.avi")

    def restored(path: Path) -> object:
        found = PartialScores(UNREAD, 4, path)
        found.restore()
        return found

    names = format_labels(ucf.names)
    return {
        "list": Parser(format_list(rows), lambda p: parse_list(p.read_bytes(), p, 101, ucf.form), "list.txt"),
        "labels": Parser(names, lambda p: parse_labels(p.read_bytes(), p), "labels.csv"),
        "class names": Parser(names, read_class_names, "names.csv"),
        "ucf classes": Parser((ucf_files / "classInd.txt").read_bytes(), ucf_with, "classInd.txt"),
        "ucf list": Parser((ucf_files / "trainlist01.txt").read_bytes(), ucf_with, "trainlist01.txt"),
        "kinetics": Parser(table.encode(), annotations("k400"), "kinetics-400_val.csv"),
        "ssv2": Parser(json.dumps(items).encode(), annotations("ssv2"), "validation.json", either),
        "ssv2 labels": Parser(
            json.dumps({name: str(i) for i, name in enumerate(ssv2.names)}).encode(), annotations("ssv2"),
            "labels.json", either,
        ),
        **{
            f"zsar {name}": Parser((zsar / name).read_bytes(), zsar_with, name, mutated if "l" in name[-1] else either)
            for name in ZSAR
        },
        "table": Parser(clip_table.encode(), with_videos, "clips.csv"),
        "tab table": Parser(clip_table.replace(",", "\t").encode(), with_videos, "clips.tsv"),
        "record": Parser(record, records, "a.record.json", either),
        "fit": Parser(fit, lambda p: read_fit_file(p.parent), "fit.json", either),
        "predictions": Parser(predictions, read_predictions, "a.predictions.csv.gz", packed),
        "settings": Parser(
            b'runs = "runs"\ncache = "c"\n[data]\nucf101 = "/data/ucf"\n',
            lambda p: load_settings({}, {"HARNESS_CONFIG": str(p)}), "harness.toml",
        ),
        "inventory": Parser(
            json.dumps({"schema": 1, "root": "/x", "folders": {"": [1, ["a"], ["b.avi"]], "a": [2, [], []]}}).encode(),
            index, "inventory.json", either,
        ),
        "contents": Parser(
            json.dumps({"schema": 1, "root": "/x", "files": {"x.avi": [0, 1, "ab"]}}).encode(), index, "content.json",
            either,
        ),
        "intermediate results": Parser(partial.getvalue(), restored, "p.npz"),
        "weights": Parser(tensors.getvalue(), read_weights, "w.pth"),
        "safetensors": Parser(weights[:3000], read_weights, "w.safetensors"),
    }  # fmt: skip


ZSAR = ("classes620_label_defn.json", "tst_class_idxs.json", "tst_video_metas.jsonl")
PARSERS = (
    *(f"zsar {name}" for name in ZSAR),
    "list", "labels", "class names", "ucf classes", "ucf list", "kinetics", "ssv2", "ssv2 labels", "table", "tab table",
    "record", "fit", "predictions", "settings", "inventory", "contents", "intermediate results", "weights",
    "safetensors",
)  # fmt: skip


class _Writes:
    """Record of the files outside the allowed folders that Python opens for writing, renames or removes."""

    def __init__(self) -> None:
        self.allowed: tuple[str, ...] | None = None
        self.found: list[str] = []
        sys.addaudithook(self.seen)

    def seen(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.allowed is None:
            return
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or event in ("os.rename", "os.remove", "os.mkdir", "os.system", "subprocess.Popen")) and isinstance(
            arguments[0], (str, bytes, os.PathLike)
        ):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if not path.startswith(self.allowed):
                self.found.append(f"{event} {path}")


WRITES = _Writes()


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """A context in which code that exceeds the time limit raises, and writes outside the folder are recorded."""

    def late(number: int, frame: object) -> None:
        raise TimeoutError(f"not parsed within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    WRITES.allowed = (str(folder.resolve()), "/dev/null")
    try:
        yield
    finally:
        WRITES.allowed = None
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def mutants(parser: Parser, name: str, count: int, tmp_path: Path) -> Counter[str]:
    """Parse mutants of the good file; returns the numbers of results and of errors."""
    draw, ends = random.Random(f"{SEED} {name}"), Counter[str]()
    for number in range(count):
        data = parser.change(parser.good, draw)
        folder = tmp_path / f"m{number}"
        folder.mkdir()
        path = folder / parser.name
        path.write_bytes(data)
        try:
            with watched(folder):
                parser.read(path)
            ends["parsed"] += 1
        except UserError as error:
            assert error.message and "Traceback" not in str(error)
            str(error).encode("utf-8", "replace")
            ends["refused"] += 1
        except BaseException as error:
            error.add_note(f"mutant {number} of {name} (seed {SEED}): {data[:300]!r}")
            raise
        shutil.rmtree(folder)
    assert WRITES.found == []
    return ends


def test_the_good_files_parse(parsers: dict[str, Parser], tmp_path: Path) -> None:
    assert set(parsers) == set(PARSERS)
    for number, parser in enumerate(parsers.values()):
        if parser.name in ("w.safetensors", "classInd.txt", "trainlist01.txt"):
            continue  # only the beginning of a file, and files that need each other
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / parser.name).write_bytes(parser.good)
        if parser.name == "labels.json":  # labels alone are no dataset
            with pytest.raises(UserError, match=r"neither train\.json nor"):
                parser.read(folder / parser.name)
        elif parser.name in ZSAR:  # class names of its own
            with pytest.raises(UserError, match="are not the published classes"):
                parser.read(folder / parser.name)
        else:
            assert parser.read(folder / parser.name) is not None


@pytest.mark.parametrize("name", PARSERS)
def test_a_few_mutants(parsers: dict[str, Parser], name: str, tmp_path: Path) -> None:
    assert sum(mutants(parsers[name], name, FEW, tmp_path).values()) == FEW


@pytest.mark.slow
@pytest.mark.parametrize("name", PARSERS)
def test_many_mutants(parsers: dict[str, Parser], name: str, tmp_path: Path, measured: dict[str, Any]) -> None:
    ends = mutants(parsers[name], f"{name} many", MANY, tmp_path)
    measured[f"mutants: {name}"] = dict(ends)
    assert sum(ends.values()) == MANY


def test_the_guards_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser that hangs and a parser that writes elsewhere are detected."""
    monkeypatch.setattr("tests.endurance.test_mutated_texts.SECONDS", 1)
    with pytest.raises(TimeoutError), watched(tmp_path):
        while True:
            pass
    (tmp_path / "in").mkdir()
    with watched(tmp_path / "in"):
        (tmp_path / "out").write_text("")
    assert WRITES.found == [f"open {tmp_path / 'out'}"]
    WRITES.found.clear()
    with zipfile.ZipFile(tmp_path / "z.zip", "w"):
        pass
