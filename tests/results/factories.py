"""Valid records with predictions, made from a seed: what the tests of results and reports are run on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from results.metrics import accuracies
from results.predictions import ID_COLUMNS, predictions_frame, write_predictions
from results.record import PREDICTIONS_SUFFIX, RECORD_SUFFIX, Record, write_record

COLUMNS: dict[str, list[dict[str, Any]]] = {
    "zero_shot": [
        {"name": "top1", "part": "all", "metric": "top1"},
        {"name": "top5", "part": "all", "metric": "top5"},
    ],
    "b2n": [
        {"name": "base", "part": "base", "metric": "top1"},
        {"name": "novel", "part": "novel", "metric": "top1"},
        {"name": "hm", "harmonic_of": ["base", "novel"]},
        {"name": "joint", "part": "joint", "metric": "top1"},
    ],
    "few_shot": [{"name": f"k{k}", "part": f"k{k}", "metric": "top1"} for k in (2, 4, 8, 16)],
    "supervised": [
        {"name": "top1", "part": "all", "metric": "top1"},
        {"name": "top5", "part": "all", "metric": "top5"},
    ],
}


def digest(value: Any) -> str:
    """sha256 of a value's sorted JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Sample:
    """What decides one synthetic record; every field has a plain default."""

    protocol: str = "b2n"
    dataset: str = "mini_target"
    method: str = "vificlip"
    title: str = ""
    family: str = "tuning"
    part: str = ""
    repeat: tuple[str, int] = ("single", 1)
    shots: int | None = None
    trained: bool = True
    accuracy: float = 0.6
    videos: int = 120
    classes: int = 12
    class_names: tuple[str, ...] = ()
    frames: int = 8
    clips: int = 1
    class_text: str = "names"
    init: str = "clip"
    params_trained: int = 124_323_841
    embedded: bool = True
    list_origin: str = "generated"
    seed: int = 1024
    draw: int = 0
    notes: str = ""
    paper: str = ""
    source: str = ""
    gflops: float | None = 281.0
    status: str = "submitted"
    list_name: str = ""
    options: tuple[tuple[str, Any], ...] = ()


def sample_predictions(sample: Sample) -> pd.DataFrame:
    """Predictions whose expected top-1 accuracy is `sample.accuracy`; the list depends on the list alone.

    A video's difficulty is shared by all methods, so paired tests meet the correlation that real predictions have.
    """
    name = sample.list_name or f"{sample.part}_{sample.repeat[1] if sample.repeat[0] == 'test_split' else 1}"
    shared = np.random.default_rng(int(digest([sample.dataset, name])[:8], 16))
    own = np.random.default_rng(int(digest([sample.method, sample.repeat, sample.shots, name, sample.draw])[:8], 16))
    labels = np.arange(sample.videos) % sample.classes
    difficulty = 0.7 * shared.normal(size=sample.videos) + 0.7 * own.normal(size=sample.videos)
    right = difficulty.argsort().argsort() < round(sample.accuracy * sample.videos)
    scores = own.random((sample.videos, sample.classes))
    scores[np.arange(sample.videos), labels] = np.where(right, 2.0, scores[np.arange(sample.videos), labels] * 0.9)
    wrong = np.flatnonzero(~right)
    scores[wrong, (labels[wrong] + own.integers(1, sample.classes, len(wrong))) % sample.classes] = 1.5
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :5].astype(np.int64)
    probabilities = -np.sort(-own.dirichlet(np.ones(sample.classes), sample.videos), axis=1)[:, :5]
    videos = [f"{name}/v{i:05d}.mp4" for i in range(sample.videos)]
    return predictions_frame(videos, labels.astype(np.int64), ids, probabilities)


def write_sample(folder: Path, sample: Sample | None = None, **changes: Any) -> Path:
    """Write a record and its predictions under `folder`; returns the record's path."""
    sample = replace(sample or Sample(), **changes)
    if not sample.part:
        sample = replace(sample, part="base" if sample.protocol == "b2n" else "all")
    frame = sample_predictions(sample)
    kind, index = sample.repeat
    list_name = sample.list_name or (f"{sample.part}_{index}" if kind == "test_split" else f"{sample.part}_1")
    identity = {**sample.__dict__, "options": [list(o) for o in sample.options]}
    cell = digest(identity)
    stem = f"{sample.part}-{list_name}-{cell[:8]}"
    fit_name = f"{sample.protocol}-{sample.dataset}-{sample.method}-{kind}{index}-{sample.shots}-{digest(identity)[:6]}"
    target = folder / digest(fit_name)[:12] if sample.trained else folder / f"untrained-{cell[:10]}"
    file = target / f"{stem}{PREDICTIONS_SUFFIX}"
    sha = write_predictions(file, frame)
    rows = "".join(f"{v} {y}\n" for v, y in zip(frame["video"], frame["label"], strict=True))
    metrics = accuracies(frame["label"], frame[ID_COLUMNS])
    names = sample.class_names or tuple(f"class {i}" for i in range(sample.classes))
    fit = None
    if sample.trained:
        fit = {
            "key": digest(fit_name), "name": fit_name, "shots": sample.shots, "seed": sample.seed,
            "train": {"dataset": sample.dataset, "list": "train", "labels": "all", "sha256": digest("train"), "n": 192},
            "repeat": {"kind": kind, "index": index}, "recipe": {"epochs": 11, "lr": 2e-6, "seed": sample.seed},
            "effective_batch": 64, "updates": 33, "init": sample.init, "selection": "last",
            "weights_sha256": digest("w" + fit_name),
        }
    record = Record(
        cell=cell,
        signature=f"{sample.protocol}.1|{sample.dataset}|{sample.method}.1|tiny|{sample.frames}x{sample.clips}x1@64|"
        f"text:{sample.class_text}|init:{sample.init}|select:last",
        identity={"cell": identity},
        protocol={
            "id": sample.protocol, "version": 1, "division": "closed", "part": sample.part,
            "columns": COLUMNS[sample.protocol], "incomplete": [],
        },
        data={
            "dataset": sample.dataset, "list": list_name, "list_sha256": hashlib.sha256(rows.encode()).hexdigest(),
            "list_origin": sample.list_origin, "labels": "all", "labels_sha256": digest(names),
            "label_variant": "published", "classes": list(names), "n_expected": len(frame),
            "n_evaluated": len(frame), "n_undecodable": 0, "undecodable": [], "embedded": sample.embedded,
        },
        method={
            "name": sample.method, "title": sample.title or sample.method, "version": 1, "family": sample.family,
            "origin": "built-in", "source_sha256": digest(sample.method), "options": dict(sample.options),
            "class_text": sample.class_text, "extra_data": [], "params_total": 149_620_737,
            "params_trained": sample.params_trained if sample.trained else 0, "unverified": sample.notes,
            "paper": sample.paper, "source": sample.source,
        },
        backbone={
            "name": "tiny", "arch": "tiny", "weights": "mini", "weights_sha256": digest("tiny"), "image_size": 64,
        },
        fit=fit,
        repeat={"kind": kind, "index": index},
        views={
            "frames": sample.frames, "clips": sample.clips, "crops": 1,
            "sampling": "centre" if sample.clips == 1 else "uniform",
            "normalize": "imagenet", "reader": "decord", "size": 64, "text": "a photo of a {}.",
        },
        metrics=metrics.as_dict(),
        overlap={"train_videos": 0, "seen_classes": [], "top1_strict": None},
        cost={
            "gflops": sample.gflops, "score_gflops": 0.1, "fit_seconds": 50.0, "eval_seconds": 2.5,
            "videos_per_second": 48.0,
        },
        environment={
            "python": "3.11", "packages": {"torch": "2"}, "git": {"commit": "0" * 40, "dirty": False},
            "platform": "linux", "device": "cpu", "dtype": "float32", "threads": 2,
        },
        predictions={"file": file.name, "sha256": sha},
        status=sample.status,
        created=f"2026-01-01T00:{sample.draw % 60:02d}:00Z",
    )
    path = target / f"{stem}{RECORD_SUFFIX}"
    write_record(path, record)
    return path


METHODS = (
    ("clip", "Vanilla CLIP", "adapting", False, 0.35, 0),
    ("actionclip", "ActionCLIP", "adapting", True, 0.55, 168_574_465),
    ("image_ft", "CLIP image-FT", "tuning", True, 0.60, 86_192_640),
    ("text_ft", "CLIP text-FT", "tuning", True, 0.62, 38_131_200),
    ("vificlip", "ViFi-CLIP", "tuning", True, 0.70, 124_323_841),
)


def write_grid(folder: Path, videos: int = 120, methods: Any = METHODS, datasets: Any = ("mini_target",)) -> list[Path]:
    """The full grid of the embedded benchmark: all four protocols for each method and dataset."""
    paths = []
    for name, title, family, trained, accuracy, params in methods:
        base = Sample(method=name, title=title, family=family, trained=trained, videos=videos, params_trained=params)
        for dataset in datasets:
            for index in (1, 2, 3):
                zero = replace(base, protocol="zero_shot", dataset=dataset, repeat=("test_split", index))
                paths.append(write_sample(folder, zero, accuracy=accuracy - 0.1 + 0.01 * index))
            for index in (1, 2, 3) if trained else (1,):
                kind = ("train_subset", index) if trained else ("single", 1)
                b2n = replace(base, protocol="b2n", dataset=dataset, repeat=kind, shots=16 if trained else None)
                paths.append(write_sample(folder, b2n, part="base", accuracy=accuracy + 0.01 * index))
                paths.append(write_sample(folder, b2n, part="novel", accuracy=accuracy - 0.08 - 0.01 * index))
                paths.append(write_sample(folder, b2n, part="joint", accuracy=accuracy - 0.12))
            for shots in (2, 4, 8, 16):
                gain = 0.012 * shots if trained else 0.0
                few = replace(base, protocol="few_shot", dataset=dataset, shots=shots, list_name="val")
                paths.append(write_sample(folder, few, part=f"k{shots}", accuracy=accuracy + gain))
        paths.append(write_sample(folder, base, protocol="supervised", dataset="mini_source", clips=4, accuracy=0.8))
    return paths
