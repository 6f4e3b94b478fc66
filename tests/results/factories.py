"""Valid records with predictions, made from a seed: what the tests of results and reports are run on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.base.canonical import labels_sha256, rows_sha256
from harness.spec import Column, Recipe, Repeat, Views
from results.measurement import (
    Evaluation,
    Expected,
    ListId,
    Measurement,
    MethodId,
    ModelId,
    Prescribed,
    ProtocolId,
    Scope,
    Start,
    Training,
    keys_of,
)
from results.measurement_words import signature
from results.predictions import ID_COLUMNS, predictions_frame, write_predictions
from results.provenance import Environment, GitState
from results.record import (
    PREDICTIONS_SUFFIX,
    RECORD_SUFFIX,
    CostFacts,
    FitFacts,
    MethodCard,
    Overlap,
    PredictionsFile,
    Record,
    write_record,
)
from results.statistics.metrics import accuracies

COLUMNS: dict[str, tuple[Column, ...]] = {
    "zero_shot": (Column("top1", "all"), Column("top5", "all", "top5")),
    "b2n": (
        Column("base", "base"),
        Column("novel", "novel"),
        Column("hm", harmonic_of=("base", "novel")),
        Column("joint", "joint"),
    ),
    "few_shot": tuple(Column(f"k{k}", f"k{k}") for k in (2, 4, 8, 16)),
    "supervised": (Column("top1", "all"), Column("top5", "all", "top5")),
}


ENVIRONMENT = Environment(
    "3.11.7", "Linux-x86_64", {"torch": "2.15.0"}, GitState("0" * 40, False), 2, "cpu", "float32", 1
)  # fmt: skip


def digest(value: Any) -> str:
    """sha256 of a value's sorted JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Sample:
    """Settings of one synthetic record; every field has a plain default.

    `lists` and `content` stand for the lists of the dataset and the videos of an own one: another value is another
    generation. `root` stands for an own dataset's place, `recipe` for changed recipe settings.
    """

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
    recipe: tuple[tuple[str, Any], ...] = ()
    training_origin: str = "generated"
    lists: str = ""
    content: str = ""
    root: str = ""
    code: str = ""
    arch: str = "tiny"
    weights: str = "mini"
    label_variant: str = "published"
    prescribed_frames: int = 0
    extra_data: tuple[str, ...] = ()
    precision: str = "float32"
    engine: int = 1
    used: int = 0
    sample: str = ""
    created: str = ""
    defaults: tuple[tuple[str, Any], ...] = ()
    cached: bool = False
    device: str = "cpu"
    fit_precision: str = "float32"
    declared_source: str = "factories"


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
    videos = [f"{name}/v{i:05d}.mp4" for i in range(sample.videos)]
    return predictions_of(videos, labels.astype(np.int64), scores, own)


def predictions_of(videos: list[str], labels: np.ndarray, scores: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """The predictions table of (N, C) scores, with random probabilities of six decimals that sum to at most 1."""
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :5].astype(np.int64)
    probabilities = -np.sort(-rng.dirichlet(np.ones(scores.shape[1]), len(scores)), axis=1)[:, :5]
    return predictions_frame(videos, labels, ids, np.floor(probabilities * 1e6) / 1e6)


PARTS = {
    "zero_shot": ("all",),
    "b2n": ("base", "novel", "joint"),
    "few_shot": ("k2", "k4", "k8", "k16"),
    "supervised": ("all",),
}
REPEATS = {"test_split": 3, "train_subset": 3, "class_subset": 3, "seed": 3, "single": 1}


def sample_measurement(sample: Sample, listed: str, rows_sha: str, names: tuple[str, ...], n: int) -> Measurement:
    """The measurement of a sample; `n` videos of the list `listed`, whose rows have the hash `rows_sha`."""
    kind, index = sample.repeat
    own = sample.list_origin == "own"
    root = digest(["root", sample.root])[:8] if own else ""
    content = digest([sample.content, listed]) if own else ""
    test = ListId(
        sample.dataset, listed, sample.list_origin, rows_sha, "all", labels_sha256(names), sample.label_variant, n,
        content, root,
    )  # fmt: skip
    views = Views(frames=sample.frames, clips=sample.clips, sampling="centre" if sample.clips == 1 else "uniform")
    prescribed = replace(views, frames=sample.prescribed_frames or sample.frames)
    declared = Recipe(epochs=11, lr=2e-6, source=sample.declared_source)
    seed = sample.seed
    if kind == "seed":  # `--seeds` declares the seed of each repeat
        seed += index - 1
        declared = replace(declared, seed=seed)
    training = None
    if sample.trained:
        train_name = f"train_{index}" if kind == "train_subset" else f"few_shot_{sample.shots or 'all'}"
        train = replace(
            test, name=train_name, sha256=digest([train_name, sample.lists]), n=192, origin=sample.training_origin,
            content=digest([sample.content, train_name]) if own else "",
        )  # fmt: skip
        recipe = replace(declared, **dict(sample.recipe), seed=seed)
        start_kind = "clip" if sample.init == "clip" else "fit" if sample.init.startswith("fit") else "checkpoint"
        start = Start(start_kind, sample.init.removeprefix("fit ") if start_kind == "fit" else "")
        training = Training(
            train, recipe, declared, Views(frames=sample.frames), start, sample.fit_precision, sample.used or 192,
            digest(["weights", sample.method, train_name, sample.lists, dict(sample.recipe), seed, sample.draw]),
        )  # fmt: skip
    scope = Scope(
        lists=digest(
            [sample.dataset, sample.protocol, sample.lists, sample.content, sample.list_origin, sample.training_origin]
        ),
        evaluation_lists=digest([sample.dataset, sample.protocol, sample.content, sample.list_origin]),
        training_origin="own" if sample.training_origin == "own" else "",
        own_training_lists=digest(sample.lists) if sample.training_origin == "own" else "",
        recipes=digest([dict(sample.recipe), sample.seed, "seeds" if kind == "seed" else ""]) if sample.trained else "",
        views=digest([sample.frames, sample.clips]),
        evaluation_views=digest([sample.frames, sample.clips, sample.prescribed_frames]),
        expected=tuple(
            Expected(part, Repeat(kind, i + 1)) for part in PARTS[sample.protocol] for i in range(REPEATS[kind])
        ),
    )
    return Measurement(
        protocol=ProtocolId(sample.protocol, 1, sample.part, Repeat(kind, index), Prescribed(prescribed), scope),
        method=MethodId(sample.method, 1, sample.code or digest(sample.method), dict(sample.options),
                        class_text=sample.class_text, extra_data=sample.extra_data),
        model=ModelId(sample.arch, sample.weights, tensors_sha256=digest([sample.arch, sample.weights]), image_size=64,
                      activation="quick_gelu", text_length=77),
        training=training,
        evaluation=Evaluation(test, views, sample=sample.sample, precision=sample.precision, evaluated=n),
        engine=sample.engine,
    )  # fmt: skip


def write_sample(folder: Path, sample: Sample | None = None, **changes: Any) -> Path:
    """Write a record and its predictions under `folder`; returns the record's path."""
    sample = replace(sample or Sample(), **changes)
    if not sample.part:
        sample = replace(sample, part="base" if sample.protocol == "b2n" else "all")
    frame = sample_predictions(sample)
    kind, index = sample.repeat
    list_name = sample.list_name or (f"{sample.part}_{index}" if kind == "test_split" else f"{sample.part}_1")
    names = sample.class_names or tuple(f"class {i}" for i in range(sample.classes))
    rows_sha = rows_sha256(zip(frame["video"], (int(label) for label in frame["label"]), strict=True))
    m = sample_measurement(sample, list_name, rows_sha, names, len(frame))
    keys = keys_of(m)
    stem = f"{sample.part}-{list_name}-{keys.cell[:8]}" + (f"-{sample.draw}" if sample.draw else "")
    target = folder / (keys.fit[:12] if sample.trained else f"untrained-{keys.row[:10]}")
    file = target / f"{stem}{PREDICTIONS_SUFFIX}"
    sha = write_predictions(file, frame)
    fit_name = f"{sample.method} {sample.dataset}/train-{kind}{index}-{sample.shots}"
    record = Record(
        key=keys.cell,
        signature=signature(m),
        measurement=m,
        columns=COLUMNS[sample.protocol],
        classes=names,
        embedded=sample.embedded,
        method=MethodCard(
            title=sample.title or sample.method, family=sample.family, origin="built-in", paper=sample.paper,
            source=sample.source, unverified=sample.notes, params_total=149_620_737,
            params_trained=sample.params_trained if sample.trained else 0, defaults=dict(sample.defaults),
        ),
        fit=FitFacts(fit_name, sample.shots, 33, 64, 50.0, 0.0) if sample.trained else None,
        undecodable=(),
        metrics=accuracies(frame["label"], frame[ID_COLUMNS]),
        overlap=Overlap(),
        cost=CostFacts(sample.gflops, 0.1, 2.5, 48.0, sample.cached),
        environment=replace(ENVIRONMENT, device=sample.device),
        predictions=PredictionsFile(file.name, sha),
        status=sample.status,
        created=sample.created or f"2026-01-01T00:{sample.draw % 60:02d}:00Z",
    )  # fmt: skip
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
