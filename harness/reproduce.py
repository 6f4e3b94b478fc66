"""A sample of a submission evaluated again from its weights: the one check that made-up predictions do not pass."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.base.errors import EXIT_FAILED, UserError
from harness.cells.request import MINI_ARCH, BackboneChoice
from harness.data.catalog import open_dataset
from harness.engine.clips import locate_rows
from harness.engine.device import Device, choose_device, for_evaluation
from harness.engine.evaluate import Scores, evaluate
from harness.engine.fit import WEIGHTS
from harness.engine.method import ClipMethod
from harness.running.build import build_row, loaded_model
from harness.running.load_fit import is_file_hash, method_row_of, restore
from harness.running.write_record import measured_on, utc_now
from harness.runtime import Runtime
from harness.settings import Settings
from harness.spec import LabelSet, VideoList, fingerprint
from harness.submission_facts import facts_of
from results.codec import encode
from results.fit_file import write_fit_file
from results.measurement import Measurement
from results.provenance import Environment
from results.submission.check import check_submission
from results.submission.contents import open_contents
from results.submission.submission import Measured, Submission

FRACTION = 0.05
LEAST = 20
"""Videos of a list that are evaluated at least."""
FLIPS = 0.03
"""Share of first predictions that may flip between near ties."""
TOLERANCE = {True: 0.005, False: 0.1}
"""Difference of probabilities that rounding explains: where both sides computed in fp32, and otherwise."""
SCHEMA = 1


@dataclass(frozen=True)
class Agreement:
    """The agreement of a record's sample with its predictions.

    Args:
        record: File name.
        videos: Sampled videos.
        flips: Videos whose first prediction differs.
        unexplained: Flips between classes whose recorded probabilities differ by more than rounding explains.
        largest: Largest difference of a first prediction's probability.
        beyond: Videos whose difference is beyond the tolerance.
        tolerance: The tolerance of this record.
    """

    record: str
    videos: int
    flips: int
    unexplained: int
    largest: float
    beyond: int
    tolerance: float


@dataclass(frozen=True)
class Reproduced:
    """The outcome of a reproduction; `as_dict` is what `results/reproductions/` keeps."""

    submission: Submission
    seed: int
    fraction: float
    agreements: tuple[Agreement, ...]
    environment: Environment

    @property
    def videos(self) -> int:
        """Evaluated videos."""
        return sum(a.videos for a in self.agreements)

    @property
    def flips(self) -> int:
        """First predictions that differ."""
        return sum(a.flips for a in self.agreements)

    @property
    def passed(self) -> bool:
        """No unexplained flip, few near ties that flip, and hardly a probability beyond the tolerance."""
        beyond = sum(a.beyond for a in self.agreements)
        unexplained = sum(a.unexplained for a in self.agreements)
        return not unexplained and self.flips <= max(1, FLIPS * self.videos) and beyond <= max(1, FLIPS * self.videos)

    @property
    def undetected(self) -> float:
        """Percent of false predictions that a sample of this size would miss with a chance of 5 %."""
        return 100.0 * (1.0 - 0.05 ** (1.0 / self.videos)) if self.videos else 100.0

    def as_dict(self) -> dict[str, Any]:
        """The attestation."""
        manifest = self.submission.manifest
        assert manifest is not None  # a submission without one is refused before anything is evaluated
        return {
            "schema": SCHEMA, "digest": self.submission.digest, "method": manifest.method,
            "version": manifest.version, "passed": self.passed, "seed": self.seed,
            "fraction": self.fraction, "videos": self.videos, "flips": self.flips,
            "tolerance": {"flips": FLIPS, "unexplained": 0}, "undetected_percent": self.undetected,
            "records": [dict(vars(agreement)) for agreement in self.agreements],
            "environment": encode(self.environment), "created": utc_now(),
        }  # fmt: skip

    def text(self) -> str:
        """For people: each record, and what the sample says."""
        lines = [
            f"{a.record}: {a.flips} of {a.videos} flipped, {a.unexplained} unexplained, probabilities within "
            f"{a.largest:.4f} (tolerance {a.tolerance:g})"
            for a in self.agreements
        ]
        lines.append(
            f"{'reproduced' if self.passed else 'NOT REPRODUCED'}: {self.flips} of {self.videos} first predictions "
            f"flipped, seed {self.seed}; false predictions above {self.undetected:.1f} % would have shown with 95 % "
            "confidence"
        )
        return "\n".join(lines)


@dataclass(frozen=True)
class Sampling:
    """The sample, and the files that a submission names only by their hashes.

    Args:
        seed: Seed of the sample. Draw it after the submission was handed in: who knows it, knows what is looked at.
        fraction: Share of each list, at least `LEAST` videos.
        weights: File of the backbone's weights, where records are of a file.
        files: Places of the files that options name, by option.
    """

    seed: int
    fraction: float = FRACTION
    weights: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)


def reproduce(path: Path, settings: Settings, runtime: Runtime, sampling: Sampling) -> Reproduced:
    """Evaluate a seeded sample of every list of a submission again, from the submitted weights.

    Args:
        path: A submission with weights, whose method is installed here (a submission carries no code).
        settings: Where videos lie.
        runtime: How to compute.
        sampling: The sample.

    Raises:
        UserError: The submission is refused, has no weights, its method is not the one installed here, or videos are
            missing.
    """
    checked = check_submission(path, partial(facts_of, known={}))
    if not checked.passed:
        ways = f"See: python -m harness submit check {path}"
        raise UserError(f"{path} is refused by {', '.join(sorted(checked.rules()))}.", ways, EXIT_FAILED)
    if sampling.weights is not None and not Path(sampling.weights).is_file():
        message = f"--weights {sampling.weights} is not a file."
        raise UserError(message, "Give the file that the records name by its sha256.")
    submission, device = checked.submission, choose_device(runtime)
    absent = sorted(set(submission.fits) - set(submission.weights))
    if absent:
        ways = "Ask for a submission that was packed with --weights."
        raise UserError(f"{path} lacks the weights of {len(absent)} fits (first: {absent[0]}).", ways, EXIT_FAILED)
    with tempfile.TemporaryDirectory() as scratch:
        _lay_out(path, submission, Path(scratch))
        agreements, built = [], {}
        for one in submission.measured:
            key = fingerprint([one.keys.fit, encode(one.m.method), encode(one.m.model)])
            if key not in built:
                built = {key: _method(one, Path(scratch), settings, sampling)}  # one at a time: methods are large
            agreements.append(_again(one, built[key], settings, runtime, device, sampling))
    return Reproduced(submission, sampling.seed, sampling.fraction, tuple(agreements), measured_on(device))


def _folder(runs: Path, key: str) -> Path:
    """The folder of a fit in the run folder that a reproduction makes."""
    return runs / "backbone" / "method" / key


def _lay_out(path: Path, submission: Submission, runs: Path) -> None:
    """The fits of a submission as a run folder."""
    with open_contents(path) as contents:
        for key, fit in submission.fits.items():
            folder = _folder(runs, key)
            folder.mkdir(parents=True)
            entry = contents.entries[f"weights/{key}.safetensors"]
            with (folder / WEIGHTS).open("wb") as target, entry.opener() as source:
                shutil.copyfileobj(source, target)
            write_fit_file(folder, replace(fit, weights=replace(fit.weights, file=WEIGHTS)))


def _method(one: Measured, runs: Path, settings: Settings, sampling: Sampling) -> ClipMethod:
    """The method of a record as it was scored: options of training and evaluation, backbone, weights of the fit.

    Raises:
        UserError: The code or the weights here are not those that were measured, or are not in a submission.
    """
    m = one.m
    if m.method.checkpoint:
        raise UserError(
            f"{one.name} was measured on {', '.join(m.method.extra_data)}, which no submission holds.",
            "Measure it again with `run --checkpoint FILE`, and compare with `python -m harness compare`.",
            EXIT_FAILED,
        )
    row = method_row_of(m.method, m.model, one.name, _backbone(m, sampling.weights), sampling.files)
    if row.code != m.method.code:
        raise UserError(
            f"The code of {row.name} here has sha256 {row.code}, measured was {m.method.code}.",
            "Install the version of the method that was measured.",
            EXIT_FAILED,
        )
    if m.fitted is not None:
        return restore(_folder(runs, one.keys.fit), row, settings)
    method = build_row(row, settings)
    found = loaded_model(row, method).tensors_sha256
    if found != m.model.tensors_sha256:
        raise UserError(
            f"The weights {m.model.weights} here have tensors of sha256 {found}, "
            f"measured was {m.model.tensors_sha256}.",
            "Use the weights that were measured.",
            EXIT_FAILED,
        )
    return method


def _backbone(m: Measurement, weights: str | None) -> BackboneChoice | None:
    """The backbone of a weight file that was given, where the measurement is of one."""
    if weights is None or m.model.arch == MINI_ARCH or m.model.config or not is_file_hash(m.model.weights):
        return None
    return BackboneChoice(None if m.model.arch == "inferred" else m.model.arch, weights)


def _again(
    one: Measured, method: ClipMethod, settings: Settings, runtime: Runtime, device: Device, sampling: Sampling
) -> Agreement:
    """Evaluate the sample of one record and compare."""
    evaluation = one.m.evaluation
    if evaluation.transform:
        message = f"{one.name} was measured with the view transform {evaluation.transform}."
        raise UserError(message, "This version evaluates without view transforms.", EXIT_FAILED)
    listed = evaluation.list
    dataset = open_dataset(listed.dataset, settings, variant=listed.label_variant)
    dataset.prepare()
    assert one.frame is not None  # a record without predictions is refused
    # The list as the record has it: its order is the one in which random views were drawn.
    pairs = zip(one.frame["video"].tolist(), one.frame["label"].tolist(), strict=True)
    test, labels = VideoList(listed.name, tuple(pairs)), LabelSet(one.record.classes, listed.label_variant)
    count = min(len(test), max(LEAST, math.ceil(sampling.fraction * len(test))))
    rng = np.random.default_rng([sampling.seed, int(one.record.key, 16)])
    chosen = np.sort(rng.choice(len(test), size=count, replace=False))
    located = locate_rows(test, dataset.locate)
    missing = [test.paths[i] for i in chosen if located[i][0] is None]
    if missing:
        raise UserError(f"{len(missing)} of {count} sampled videos are not here (first: {missing[0]}).")
    # Rows keep their places, because random views are drawn by place; a row without a file is passed over.
    picked = set(chosen.tolist())
    rows = [(path if i in picked else None, label) for i, (path, label) in enumerate(located)]
    draws = int(fingerprint([listed.sha256, "views"], 8), 16)
    here = for_evaluation(device, runtime, method.backbone)
    scores = evaluate(method, rows, labels, evaluation.views, here, runtime, None, draws)
    both_fp32 = evaluation.precision == here.precision == "fp32"
    return compare(one.name, one.frame.iloc[chosen], scores, chosen, TOLERANCE[both_fp32])


def compare(
    name: str, recorded: pd.DataFrame, scores: Scores, rows: np.ndarray[Any, Any], tolerance: float
) -> Agreement:
    """The agreement of recorded predictions with new scores of the same videos.

    Args:
        name: Of the record.
        recorded: Rows of its table, in the order of `rows`.
        scores: Of the whole list; only `rows` were evaluated.
        rows: (N,) rows of the list.
        tolerance: Difference of probabilities that rounding explains.
    """
    flips = unexplained = beyond = 0
    largest = 0.0
    for (_, old), row in zip(recorded.iterrows(), rows, strict=True):
        first, new = int(old["id1"]), int(scores.ids[row, 0])
        probabilities = _by_class(old)
        again = dict(zip(scores.ids[row].tolist(), scores.probabilities[row].tolist(), strict=True))
        # A class that is not among the five has at most the probability of the fifth.
        difference = abs(probabilities.get(first, 0.0) - again.get(first, min(again.values()))) if first >= 0 else 0.0
        largest = max(largest, difference)
        beyond += difference > tolerance
        if first != new:
            flips += 1
            gap = probabilities.get(first, 0.0) - probabilities.get(new, min(probabilities.values(), default=0.0))
            unexplained += first < 0 or new < 0 or gap > 2 * tolerance or difference > 2 * tolerance
    return Agreement(name, len(rows), flips, int(unexplained), round(largest, 6), int(beyond), tolerance)


def _by_class(row: Mapping[str, Any]) -> dict[int, float]:
    return {int(row[f"id{k}"]): float(row[f"p{k}"]) for k in range(1, 6) if int(row[f"id{k}"]) >= 0}
