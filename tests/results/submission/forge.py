"""Submissions made by code: a valid one on the lists of the embedded benchmark, and everything to forge it.

`Forge` does what a competent and dishonest author would do: whatever is changed, all that depends on it is computed
anew, unless the fixture is about exactly that. Records and fits are JSON here, because that is what is forged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.base.canonical import labels_sha256, rows_sha256
from harness.cells.from_request import ENGINE_VERSION
from harness.data.embedded.dataset import EmbeddedDataset
from harness.spec import Recipe, Views
from harness.spec.updates import plan_updates
from harness.submitting.benchmark_facts import pair_facts
from harness.submitting.known_models import mini_model
from results.codec import DecodeError, decode, encode
from results.fit_file import FitFile, FitOutcome, Parameters, WeightsFile
from results.measurement import (
    Evaluation,
    FitDescription,
    ListId,
    Measurement,
    MethodId,
    Prescribed,
    ProtocolId,
    Scope,
    Start,
    Training,
    cell_key,
    fit_key,
)
from results.measurement_words import signature
from results.predictions import ID_COLUMNS
from results.record import (
    CostFacts,
    FitFacts,
    MethodCard,
    PredictionsFile,
    Record,
)
from results.statistics.metric_values import Metrics
from results.statistics.metrics import accuracies
from results.submission.check_arithmetic import card_of, environments_of
from results.submission.documents import json_bytes
from results.submission.facts import EvalFacts, ProtocolFacts
from results.submission.layout import Environments, Manifest, record_stem
from results.submission.scores import scores_of
from results.submission.submission import Measured, Submission
from tests.results import factories
from tests.results.submission.archives import encode_table, seal, tensors
from tests.results.submission.forged_tables import table
from tests.results.submission.installed_facts import installed_facts, overlap

CODE = hashlib.sha256(b"code of mymethod").hexdigest()
CREATED = "2026-01-01T00:00:00+00:00"
RECIPE = Recipe(epochs=11, lr=8e-4, ranks=1, accumulate=4)
METHOD = MethodId("mymethod", 1, CODE, {"width": 4}, {"temperature": 1})
MODEL = mini_model()
ENVIRONMENT = replace(factories.ENVIRONMENT, dtype="fp32")


def decoded(value: Any, kind: type) -> Any:
    """An instance of a dataclass, or None for a forged value that is not one."""
    try:
        return decode(value, kind)
    except DecodeError:
        return None


@dataclass
class Item:
    """A record as JSON with its predictions table."""

    record: dict[str, Any]
    frame: pd.DataFrame

    @property
    def m(self) -> dict[str, Any]:
        """The measurement."""
        return self.record["measurement"]

    @property
    def stem(self) -> str:
        """Name of the record's file."""
        readable = decoded(self.record, Record)
        return record_stem(readable) if readable is not None else self.record["predictions"]["file"].partition(".")[0]

    def derive(self) -> None:
        """Everything that follows from the table and the record's own entries."""
        record, listed = self.record, self.m["evaluation"]["list"]
        seen = set(record["overlap"]["seen_classes"])
        listed["sha256"] = rows_sha256(zip(self.frame["video"], self.frame["label"], strict=True))
        listed["n"] = self.m["evaluation"]["evaluated"] = len(self.frame)
        none = self.frame["video"][self.frame["id1"] < 0]
        record["undecodable"] = [{"video": video, "reason": "damaged", "sha256": "0" * 64} for video in none]
        self.measure()
        unseen = np.array([record["classes"][label] not in seen for label in self.frame["label"]])
        strict = seen and unseen.any()
        record["overlap"]["top1_strict"] = (
            accuracies(self.frame["label"][unseen], self.frame[ID_COLUMNS][unseen]).top1 if strict else None
        )
        self.identify()

    def measure(self) -> None:
        """Metrics."""
        self.record["metrics"] = accuracies(self.frame["label"], self.frame[ID_COLUMNS]).as_dict()

    def identify(self) -> None:
        """Key, signature, and the name of the predictions."""
        self.m["evaluation"]["list"]["labels_sha256"] = labels_sha256(self.record["classes"])
        measurement = decoded(self.m, Measurement)
        if measurement is not None:
            self.record["key"], self.record["signature"] = cell_key(measurement), signature(measurement)
        self.name()

    def name(self) -> None:
        """File name and hash of the predictions."""
        sha = hashlib.sha256(encode_table(self.frame)).hexdigest()
        self.record["predictions"] = {"file": f"{self.stem}.predictions.csv.gz", "sha256": sha}


@dataclass
class Forge:
    """A submission in the making: one row."""

    items: list[Item] = field(default_factory=list)
    fits: dict[str, dict[str, Any]] = field(default_factory=dict)
    weights: dict[str, bytes] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, bytes] = field(default_factory=dict)

    def of(self, part: str, index: int = 1) -> Item:
        """The record of a part and repeat."""
        wanted = (part, index)
        return next(i for i in self.items if (i.m["protocol"]["part"], i.m["protocol"]["repeat"]["index"]) == wanted)

    def derive(self) -> None:
        """Everything of all records."""
        for item in self.items:
            item.derive()
        self.identify()

    def identify(self) -> None:
        """The scope of the row where it is complete, and the keys of its records."""
        found = [decoded(item.m, Measurement) for item in self.items]
        measurements = [m for m in found if m is not None]
        if len(measurements) == len(found):
            pair = measurements[0].protocol.name, measurements[0].evaluation.list.dataset
            facts = installed_facts(frozenset([pair])).pairs.get(pair)
            scope = facts.scope(measurements) if facts is not None else None
            for item in self.items if scope is not None else ():
                item.m["protocol"]["scope"] = {**encode(scope), "expected": item.m["protocol"]["scope"]["expected"]}
        for item in self.items:
            item.identify()

    def change(self, edit: Callable[[dict[str, Any]], Any]) -> None:
        """Edit every record, then compute what depends on it."""
        for item in self.items:
            edit(item.record)
        self.identify()

    def refit(self, edit: Callable[[dict[str, Any]], Any]) -> None:
        """Edit every fit, give it its key, and let its records say the same."""
        before, moved = self._fits_of_items(), {}
        for old, fit in self.fits.items():
            counted = _updates(fit)
            edit(fit)
            if _updates(fit) != counted:
                fit["outcome"] |= _updates(fit)
            fit["described"]["training"]["weights_sha256"] = fit["weights"]["sha256"]
            described = decoded(fit["described"], FitDescription)
            fit["key"] = fit["key"] if described is None else fit_key(described)
            moved[old] = fit
        self.weights = {moved[key]["key"]: data for key, data in self.weights.items()}
        for item, key in zip(self.items, before, strict=True):
            fit = moved[key]
            described, method = fit["described"], item.m["method"]
            item.m["training"] = described["training"]
            item.m["method"] = {**described["method"], "evaluation_options": method["evaluation_options"]}
            item.m.update(model=described["model"], engine=described["engine"])
            item.record["fit"] |= {"name": fit["name"], "updates": fit["outcome"]["updates"]}
            if (recipe := decoded(described["training"]["recipe"], Recipe)) is not None:
                item.record["fit"]["effective_batch"] = recipe.effective_batch
        for item in self.items:
            item.record["measurement"] = json.loads(json.dumps(item.m))
        self.fits = {fit["key"]: fit for fit in moved.values()}
        self.identify()

    def _fits_of_items(self) -> list[str]:
        """The key of each record's fit, found by its training list."""
        placed = {}
        for key, fit in self.fits.items():
            training = fit["described"]["training"]
            placed[training["list"]["dataset"], training["list"]["name"], training["start"]["key"]] = key
        trainings = [item.m["training"] for item in self.items]
        return [placed[one["list"]["dataset"], one["list"]["name"], one["start"]["key"]] for one in trainings]

    def on_vit_b_16(self, weights: str = "openai") -> None:
        """The same submission on another CLIP, with the views that the protocol prescribes for it."""
        model = {"arch": "ViT-B-16", "weights": weights, "image_size": 224}
        if self.fits:
            self.refit(
                lambda fit: (
                    fit["described"]["model"].update(model),
                    fit["described"]["training"]["views"].update(frames=32),
                )
            )

        def view(record: dict[str, Any]) -> None:
            m = record["measurement"]
            m["model"].update(model)
            for views in (m["protocol"]["prescribed"]["views"], m["evaluation"]["views"]):
                views.update(frames=32)

        self.change(view)

    def keep(self, wanted: Callable[[Item], bool]) -> None:
        """Leave out the other records, and the fits that only they rest on."""
        kept = [(item, key) for item, key in zip(self.items, self._fits_of_items(), strict=True) if wanted(item)]
        self.items, keys = [item for item, _ in kept], {key for _, key in kept}
        keys |= {self.fits[key]["described"]["training"]["start"]["key"] for key in keys}
        self.fits = {key: fit for key, fit in self.fits.items() if key in keys}
        self.weights = {key: data for key, data in self.weights.items() if key in keys}

    def add(self, other: Forge) -> None:
        """Take up the records of another row with their fits."""
        self.items += other.items
        self.fits |= other.fits
        self.weights |= other.weights

    def files(self) -> dict[str, bytes]:
        """All files but the manifest, in the state of this moment."""
        files = dict(self.extra)
        measured = []
        for item in self.items:
            files[f"records/{item.stem}.record.json"] = json_text(item.record)
            files[f"records/{item.record['predictions']['file']}"] = encode_table(item.frame)
            record = decoded(item.record, Record)
            measured += [] if record is None else [Measured("", record, item.frame)]
        for key, fit in self.fits.items():
            files[f"fits/{key}.json"] = json_text(fit)
        for key, data in self.weights.items():
            files[f"weights/{key}.safetensors"] = data
        first = measured[0].record
        files["card.json"] = json_bytes(encode(card_of(first)))
        files["environment.json"] = json_bytes(encode(Environments(environments_of(measured))))
        method, scores = first.measurement.method, scores_of(Submission(Path("x"), measured=measured))
        self.manifest = encode(Manifest(method.name, method.version, first.method.title, "", "", "0.1.0", scores))
        return files

    def write(self, path: Path) -> Path:
        """The submission as a zip file."""
        files = self.files()
        return seal(path, files, self.manifest)


_written: dict[str, bytes] = {}


def json_text(value: dict[str, Any]) -> bytes:
    """`json_bytes`, once for equal values: the writer of indented JSON is slow."""
    key = json.dumps(value)
    if key not in _written:
        _written[key] = json_bytes(value)
    return _written[key]


ACCURACY = {"base": 0.7, "novel": 0.6, "joint": 0.5, "k2": 0.45, "k4": 0.5, "k8": 0.55, "k16": 0.6, "all": 0.6}


def forge(protocol: str = "b2n", dataset: str = "mini_target", trained: bool = True, weights: bool = True) -> Forge:
    """A valid submission of the method `mymethod` under a protocol on an embedded dataset."""
    facts = pair_facts(protocol, dataset)
    assert facts is not None
    made = Forge()
    for item in facts.trained if trained else facts.untrained:
        rows = EmbeddedDataset(dataset, Path()).list(item.test.name)
        classes = facts.labels[dataset, item.test.labels, "published"]
        fit = _fit(made, facts, item, weights) if trained else None
        key = (protocol, item.place, fit and fit["key"])
        accuracy = ACCURACY[item.part] + item.repeat.index / 20
        frame = table(list(rows.paths), [label for _, label in rows.rows], len(classes), accuracy, key)
        frame["cluster"] = [facts.cluster(path) for path in rows.paths]
        made.items.append(Item(_record(facts, item, classes, fit), frame))
    made.derive()
    return made


def _views(facts: ProtocolFacts, item: EvalFacts) -> Views:
    prescribed = facts.prescribed(item, MODEL, item.views)
    assert prescribed is not None
    return prescribed.views


def _fit(made: Forge, facts: ProtocolFacts, item: EvalFacts, weights: bool) -> dict[str, Any]:
    """The fit of an evaluation, made once for all of its evaluations."""
    assert item.train is not None
    opened = EmbeddedDataset(item.train.dataset, Path())
    rows = opened.list(item.train.name)
    names = facts.labels[item.train.dataset, item.train.labels, "published"]
    listed = ListId(
        item.train.dataset, item.train.name, "generated", rows.sha256, item.train.labels, labels_sha256(names),
        "published", len(rows), opened.content(rows),
    )  # fmt: skip
    data = tensors(float(len(made.fits) + 1))
    sha256 = hashlib.sha256(data).hexdigest()
    views = Views(frames=_views(facts, item).frames)
    training = Training(listed, RECIPE, RECIPE, views, Start(), "fp32", len(rows), sha256)
    described = FitDescription(METHOD, MODEL, training, ENGINE_VERSION)
    key = fit_key(described)
    if key not in made.fits:
        name = f"mymethod {item.train.dataset}/{item.train.name}"
        fit = FitFile(
            key, name, described, WeightsFile("weights.safetensors", sha256), names,
            outcome_of(len(rows), RECIPE), Parameters(1_100_000, 2), ENVIRONMENT, CREATED,
        )  # fmt: skip
        made.fits[key] = encode(fit)
        if weights:
            made.weights[key] = data
    return made.fits[key]


def outcome_of(clips: int, recipe: Recipe) -> FitOutcome:
    """The outcome of a fit with the updates that follow from list and recipe."""
    plan = plan_updates(clips, recipe)
    return FitOutcome(plan.updates * recipe.epochs, plan.updates, plan.unused, 0.5, 4.5, 0, 0)


def with_parent(made: Forge, dataset: str = "mini_source", name: str = "train", labels: str = "all") -> Forge:
    """The same submission, its fits starting from one parent fit on a list of an embedded dataset."""
    opened = EmbeddedDataset(dataset, Path())
    rows, names = opened.list(name), opened.labels(labels).names
    listed = ListId(
        dataset, name, "generated", rows.sha256, labels, labels_sha256(names), "published", len(rows),
        opened.content(rows),
    )  # fmt: skip
    data = tensors(7.0)
    sha256 = hashlib.sha256(data).hexdigest()
    training = Training(listed, RECIPE, RECIPE, Views(frames=4), Start(), "fp32", len(rows), sha256)
    described = FitDescription(METHOD, MODEL, training, ENGINE_VERSION)
    parent = FitFile(
        fit_key(described), f"mymethod {dataset}/{name}", described, WeightsFile("weights.safetensors", sha256), names,
        outcome_of(len(rows), RECIPE), Parameters(1_100_000, 2), ENVIRONMENT, CREATED,
    )  # fmt: skip
    start = encode(Start("fit", parent.name, parent.key, sha256))
    made.refit(lambda fit: fit["described"]["training"].update(start=dict(start)))
    for item in made.items:
        item.record["overlap"] = encode(overlap(decode(item.m, Measurement), (listed,)))
    made.fits[parent.key] = encode(parent)
    made.weights[parent.key] = data
    made.derive()
    return made


def _updates(fit: dict[str, Any]) -> dict[str, Any]:
    """The updates that follow from list and recipe of a fit as JSON; nothing for a forged recipe that is not one."""
    training = fit["described"]["training"]
    recipe = decoded(training["recipe"], Recipe)
    outcome = encode(outcome_of(training["list"]["n"], recipe)) if recipe is not None else {}
    return {name: outcome[name] for name in ("updates", "updates_per_epoch", "unused_per_epoch") if name in outcome}


def _record(
    facts: ProtocolFacts, item: EvalFacts, classes: tuple[str, ...], fit: dict[str, Any] | None
) -> dict[str, Any]:
    """A record without everything that `Item.derive` and `Forge.derive` compute."""
    views = _views(facts, item)
    content = facts.lists[facts.dataset, item.test.name].content
    listed = ListId(
        facts.dataset, item.test.name, "generated", "0" * 64, item.test.labels, "0" * 64, "published", 1, content
    )
    places = tuple(one.place for one in (facts.untrained if fit is None else facts.trained))
    scope = Scope("", "", "", "", "", "", "", places)
    measurement = Measurement(
        ProtocolId(facts.protocol, facts.version, item.part, item.repeat, Prescribed(views), scope), METHOD, MODEL,
        None if fit is None else decode(fit, FitFile).described.training,
        Evaluation(listed, views, precision="fp32", evaluated=1), ENGINE_VERSION,
    )  # fmt: skip
    record = Record(
        key="0" * 16, signature="", measurement=measurement, columns=facts.columns, classes=classes, embedded=True,
        method=MethodCard(
            "My method", "tuning", "my-package 1.0", "", "", "", 1_100_000, 0 if fit is None else 2,
            {"width": 4, "temperature": 1},
        ),
        fit=None if fit is None else FitFacts(
            fit["name"], item.shots, fit["outcome"]["updates"], RECIPE.effective_batch, 4.5, 0.0,
        ), undecodable=(),
        metrics=Metrics(0.0, 0.0, 0.0), overlap=overlap(measurement),
        cost=CostFacts(eval_seconds=1.0), environment=ENVIRONMENT, predictions=PredictionsFile("", "0" * 64),
        created=CREATED,
    )  # fmt: skip
    return encode(record)
