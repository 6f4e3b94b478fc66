"""Submissions made by code: a valid one on the lists of the embedded benchmark, and everything to forge it.

`Forge` does what a competent and dishonest author would do: whatever is changed, all that depends on it is computed
anew, unless the fixture is about exactly that.
"""

from __future__ import annotations

import copy
import hashlib
import json
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.base.canonical import fingerprint, labels_sha256, rows_sha256
from harness.data.embedded import EmbeddedDataset
from harness.submission_facts import facts_of, pair_facts
from results.metrics import accuracies
from results.predictions import ID_COLUMNS, encode_predictions, predictions_frame
from results.record import SCHEMA, Record
from results.submission.check import Checked, check_submission
from results.submission.check_arithmetic import card_of, environments_of
from results.submission.check_records import identity_of, signature_parts
from results.submission.pack import json_bytes, write_submission
from results.submission.scores import scores_of
from results.submission.submission import Measured, Submission

CODE = hashlib.sha256(b"code of mymethod").hexdigest()
RECIPE = {
    "epochs": 11, "lr": 8e-4, "warmup_epochs": 5, "micro_batch": 4, "ranks": 1, "accumulate": 4, "seed": 1024,
    "selection": "last", "betas": [0.9, 0.98], "source": "own",
}  # fmt: skip
ENVIRONMENT = {
    "python": "3.11.7", "platform": "Linux-x86_64", "packages": {"torch": "2.15.0"}, "device": "cpu", "dtype": "fp32",
    "git": {"commit": "0" * 40, "dirty": False}, "cpus": 2, "threads": 1,
}  # fmt: skip
MINI_FILE = facts_of([]).mini_weights


_encoded: dict[tuple[int, int], bytes] = {}


def encode(frame: pd.DataFrame) -> bytes:
    """`encode_predictions`, once for equal tables."""
    key = (len(frame), hash(tuple(pd.util.hash_pandas_object(frame, index=False))))
    if key not in _encoded:
        _encoded[key] = encode_predictions(frame)
    return _encoded[key]


def tensors(value: float = 1.0) -> bytes:
    """A safetensors file with one tensor of two float32 values."""
    header = json.dumps({"pool.weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    return struct.pack("<Q", len(header)) + header + struct.pack("<2f", value, value)


@dataclass
class Item:
    """A record as JSON with its predictions table."""

    record: dict[str, Any]
    frame: pd.DataFrame

    @property
    def stem(self) -> str:
        data, protocol = self.record["data"], self.record["protocol"]
        return f"{protocol['id']}-{data['dataset']}-{data['list']}-{protocol['part']}-{self.record['cell'][:8]}"

    def derive(self) -> None:
        """Everything that follows from the table and the record's own entries."""
        record, data = self.record, self.record["data"]
        seen = set(record["overlap"]["seen_classes"])
        data["list_sha256"] = rows_sha256(zip(self.frame["video"], self.frame["label"], strict=True))
        data["n_expected"] = data["n_evaluated"] = len(self.frame)
        none = self.frame["video"][self.frame["id1"] < 0]
        data["n_undecodable"] = len(none)
        data["undecodable"] = [{"video": video, "reason": "damaged"} for video in none]
        self.measure()
        unseen = np.array([data["classes"][label] not in seen for label in self.frame["label"]])
        strict = seen and unseen.any()
        record["overlap"]["top1_strict"] = (
            accuracies(self.frame["label"][unseen], self.frame[ID_COLUMNS][unseen]).top1 if strict else None
        )
        self.identify()

    def measure(self) -> None:
        """Metrics and the hash of the predictions."""
        self.record["metrics"] = accuracies(self.frame["label"], self.frame[ID_COLUMNS]).as_dict()

    def identify(self) -> None:
        """Identity, cell key, signature, and the name of the predictions."""
        record = self.record
        record["data"]["labels_sha256"] = labels_sha256(record["data"]["classes"])
        record["identity"] = identity_of(Record(**record))
        record["cell"] = fingerprint(record["identity"], 16)
        start, middle, _ = signature_parts(Record(**record))
        fit = record["fit"]
        end = (
            f"set:-|init:{fit['init'] if fit else 'clip'}|recipe:{'own' if fit else 'none'}|"
            f"select:{fit['selection'] if fit else 'last'}|{record['repeat']['kind']}.{record['repeat']['index']}|"
            f"{record['protocol']['division']}"
        )
        record["signature"] = f"{start}|mini-clip|{middle}|{end}"
        self.name()

    def name(self) -> None:
        """File name and hash of the predictions."""
        sha = hashlib.sha256(encode(self.frame)).hexdigest()
        self.record["predictions"] = {"file": f"{self.stem}.predictions.csv.gz", "sha256": sha}


@dataclass
class Forge:
    """A submission in the making."""

    items: list[Item] = field(default_factory=list)
    fits: dict[str, dict[str, Any]] = field(default_factory=dict)
    weights: dict[str, bytes] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, bytes] = field(default_factory=dict)

    def of(self, part: str, index: int = 1) -> Item:
        """The record of a part and repeat."""
        wanted = (part, index)
        return next(i for i in self.items if (i.record["protocol"]["part"], i.record["repeat"]["index"]) == wanted)

    def derive(self) -> None:
        """Everything of all records."""
        for item in self.items:
            item.derive()

    def change(self, edit: Callable[[dict[str, Any]], Any]) -> None:
        """Edit every record, then compute what depends on it."""
        for item in self.items:
            edit(item.record)
            item.identify()

    def refit(self, edit: Callable[[dict[str, Any]], Any]) -> None:
        """Edit every fit, give it its key, and let its records say the same."""
        moved = {}
        for old, fit in self.fits.items():
            edit(fit)
            fit["identity"]["recipe"] = {k: v for k, v in fit["recipe"].items() if k != "source"}
            fit["identity"]["train"] = {k: v for k, v in fit["train"].items() if k != "n_used"}
            fit["key"] = fingerprint(fit["identity"], 16)
            moved[old] = fit
        self.weights = {moved[key]["key"]: data for key, data in self.weights.items()}
        for item in self.items:
            stated, fit = item.record["fit"], moved[item.record["fit"]["key"]]
            stated |= {
                "key": fit["key"], "name": fit["name"], "recipe": fit["recipe"], "seed": fit["recipe"]["seed"],
                "selection": fit["recipe"]["selection"], "updates": fit["outcome"]["updates"],
                "train": {**fit["train"], "labels": stated["train"]["labels"]},
                "weights_sha256": fit["weights"]["sha256"],
            }  # fmt: skip
            item.identify()
        self.fits = {fit["key"]: fit for fit in moved.values()}

    def files(self) -> dict[str, bytes]:
        """All files but the manifest, in the state of this moment."""
        files = dict(self.extra)
        measured = []
        for item in self.items:
            files[f"records/{item.stem}.record.json"] = json_bytes(item.record)
            files[f"records/{item.record['predictions']['file']}"] = encode(item.frame)
            measured.append(Measured("", Record(**item.record)))
        for key, fit in self.fits.items():
            files[f"fits/{key}.json"] = json_bytes(fit)
        for key, data in self.weights.items():
            files[f"weights/{key}.safetensors"] = data
        method = self.items[0].record["method"]
        files["card.json"] = json_bytes(card_of(measured[0].record))
        files["environment.json"] = json_bytes({"schema": 1, "environments": environments_of(measured)})
        self.manifest = {
            "schema": 1, "method": method["name"], "version": method["version"], "title": method["title"],
            "submitter": "", "code": "", "harness": "0.1.0",
            "scores": scores_of(Submission(Path("x"), measured=measured)),
        }  # fmt: skip
        return files

    def write(self, path: Path) -> Path:
        """The submission as a zip file."""
        files = self.files()
        write_submission(path, self.manifest, files)
        return path


def listed(files: dict[str, bytes], manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest with the hashes of files."""
    hashes = {n: {"sha256": hashlib.sha256(d).hexdigest(), "bytes": len(d)} for n, d in files.items()}
    return {**manifest, "files": hashes}


def write_zip(path: Path, members: list[tuple[str | zipfile.ZipInfo, bytes]]) -> Path:
    """A zip file of exactly these members, in this order, whatever they are."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def table(videos: list[str], labels: list[int], classes: int, accuracy: float, key: object) -> pd.DataFrame:
    """Predictions with a given accuracy in every class, and five probabilities each."""
    rng = np.random.default_rng(int(fingerprint([str(key)], 8), 16))
    truth = np.array(labels, dtype=np.int64)
    scores = rng.random((len(truth), classes))
    scores[np.arange(len(truth)), truth] = 2.0
    for label in range(classes):
        mine = np.flatnonzero(truth == label)
        wrong = rng.permutation(mine)[: round((1 - accuracy) * len(mine))]
        scores[wrong, label] = rng.random(len(wrong)) * 0.9
        scores[wrong, (label + rng.integers(1, classes, len(wrong))) % classes] = 1.5
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :5].astype(np.int64)
    p = -np.sort(-rng.dirichlet(np.ones(classes), len(truth)), axis=1)[:, :5]
    return predictions_frame(videos, truth, ids, np.floor(p * 1e6) / 1e6)


ACCURACY = {"base": 0.7, "novel": 0.6, "joint": 0.5, "k2": 0.45, "k4": 0.5, "k8": 0.55, "k16": 0.6, "all": 0.6}


def forge(protocol: str = "b2n", dataset: str = "mini_target", trained: bool = True, weights: bool = True) -> Forge:
    """A valid submission of the method `mymethod` under a protocol on an embedded dataset."""
    facts = pair_facts(protocol, dataset)
    assert facts is not None
    made = Forge()
    views = {**facts.views, "frames": min(facts.views["frames"], facts.mini_frames)}
    for item in facts.trained if trained else facts.untrained:
        rows = EmbeddedDataset(dataset, Path()).list(item.list)
        classes = facts.labels[dataset, item.labels, "published"]
        fit = _fit(made, facts, item, views, weights) if trained else None
        key = (protocol, item.place, fit and fit["key"])
        accuracy = ACCURACY[item.part] + item.index / 20
        frame = table(list(rows.paths), [label for _, label in rows.rows], len(classes), accuracy, key)
        made.items.append(Item(_record(facts, item, classes, fit, views), frame))
    made.derive()
    return made


def _fit(made: Forge, facts: Any, item: Any, views: dict[str, Any], weights: bool) -> dict[str, Any]:
    """The fit of an evaluation, made once for all of its evaluations."""
    source, name, labels = item.train
    rows = EmbeddedDataset(source, Path()).list(name)
    names = facts.labels[source, labels, "published"]
    train = {
        "dataset": source, "list": name, "sha256": rows.sha256, "labels": labels_sha256(names), "variant": "published",
        "n": len(rows),
    }  # fmt: skip
    recipe = {k: v for k, v in RECIPE.items() if k != "source"}
    identity = {
        "engine": 1, "method": _method_identity(), "train": train, "recipe": recipe, "views": views, "init": "clip",
    }  # fmt: skip
    key = fingerprint(identity, 16)
    data = tensors(float(len(made.fits) + 1))
    if key not in made.fits:
        made.fits[key] = {
            "schema": 1, "key": key, "name": f"mymethod {source}/{name}", "identity": identity, "recipe": dict(RECIPE),
            "train": {**train, "n_used": len(rows)},
            "weights": {"file": "weights.safetensors", "sha256": hashlib.sha256(data).hexdigest()},
            "outcome": {"updates": 33, "seconds": 4.5, "peak_memory_gib": 0.0, "replaced": []},
            "parameters": {"total": 1_100_000, "trained": 2}, "environment": ENVIRONMENT,
            "created": "2026-01-01T00:00:00+00:00",
        }  # fmt: skip
        if weights:
            made.weights[key] = data
    return made.fits[key]


def _method_identity() -> dict[str, Any]:
    return {
        "name": "mymethod", "version": 1, "code": CODE, "options": {"width": 4},
        "backbone": {"arch": "mini-clip", "weights": MINI_FILE},
    }  # fmt: skip


def _record(facts: Any, item: Any, classes: tuple[str, ...], fit: Any, views: dict[str, Any]) -> dict[str, Any]:
    kind, index = item.kind, item.index
    stated = None if fit is None else {
        "key": fit["key"], "name": fit["name"], "train": {**fit["train"], "labels": item.train[2]},
        "repeat": {"kind": item.fit_repeat[0], "index": item.fit_repeat[1]}, "shots": item.shots, "seed": 1024,
        "recipe": fit["recipe"], "effective_batch": 16, "updates": 33, "init": "clip", "selection": "last",
        "weights_sha256": fit["weights"]["sha256"],
    }  # fmt: skip
    return {
        "schema": SCHEMA, "cell": "0" * 16, "signature": "", "status": "submitted",
        "created": "2026-01-01T00:00:00+00:00",
        "identity": {"engine": 1, "method": _method_identity()},
        "protocol": {
            "id": facts.protocol, "version": facts.version, "division": "closed", "part": item.part,
            "columns": [dict(c) for c in facts.columns], "incomplete": [],
        },
        "data": {
            "dataset": facts.dataset, "list": item.list, "list_sha256": "", "list_origin": "generated",
            "labels": item.labels, "labels_sha256": "", "label_variant": "published", "classes": list(classes),
            "n_expected": 1, "n_evaluated": 1, "n_undecodable": 0, "undecodable": [], "embedded": True,
        },
        "method": {
            "name": "mymethod", "title": "My method", "version": 1, "family": "tuning", "origin": "my-package",
            "source_sha256": CODE, "options": {"width": 4}, "class_text": "names", "extra_data": [],
            "params_total": 1_100_000, "params_trained": 0 if fit is None else 2, "unverified": "",
            "paper": "", "source": "",
        },
        "backbone": {
            "name": "mini-clip", "arch": "mini-clip", "weights": "embedded", "image_size": 64,
            "weights_sha256": hashlib.sha256(b"mini").hexdigest(),
        },
        "fit": stated, "repeat": {"kind": kind, "index": index}, "views": {**views, "size": 64, "text": "a {}."},
        "metrics": {}, "overlap": {
            "train_videos": 0, "seen_classes": [classes[id] for id in item.seen] if fit else [], "top1_strict": None,
        },
        "cost": {"fit_seconds": 4.5, "eval_seconds": 1.0, "gflops": None, "score_gflops": None},
        "environment": copy.deepcopy(ENVIRONMENT),
        "predictions": {},
    }  # fmt: skip


def check(path: Path, **changes: Any) -> Checked:
    """`submit check` with the facts of this installation."""
    return check_submission(path, lambda pairs: facts_of(pairs, changes.get("known")), changes.get("waivers", ()))
