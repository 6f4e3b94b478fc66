"""Evaluate a sample of a submission again from its weights: the only check that made-up predictions do not pass."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.base.canonical import fingerprint, is_file_hash
from harness.base.errors import EXIT_FAILED, UserError
from harness.cells.backbone import MINI_ARCH, BackboneChoice
from harness.data.catalog import open_dataset
from harness.engine.compute.device import Device, choose_device, for_evaluation
from harness.engine.evaluate import Scores, evaluate
from harness.engine.features.context import Context
from harness.engine.job import EvalJob
from harness.engine.method import ClipMethod
from harness.engine.training.trained_weights import WEIGHTS
from harness.engine.video.loaders import locate_rows
from harness.machine.compute_options import ComputeOptions
from harness.machine.settings import Settings
from harness.plugins.view_transforms import transform_identity, transform_name
from harness.running.build import build_row, loaded_model
from harness.running.load_fit import load_row, method_row_of
from harness.running.write_record import measured_on, utc_now
from harness.spec import LabelSet, VideoList
from harness.submitting.benchmark_facts import builtin_methods, facts_of
from results.codec import encode
from results.fit_file import write_fit_file
from results.measurement import Measurement
from results.predictions import ID_COLUMNS, PROBABILITY_COLUMNS
from results.provenance import Environment
from results.submission.attestation import SCHEMA, Agreement, Attestation, failures, tolerance_of
from results.submission.check import check_submission
from results.submission.contents import open_contents
from results.submission.submission import Measured, Submission

FRACTION = 0.05
LEAST = 20
"""Smallest number of sampled videos per list."""


@dataclass(frozen=True)
class Reproduced:
    """The outcome of a reproduction.

    Args:
        submission: The submission.
        seed: Seed of the sample.
        fraction: Sampled share of each list.
        agreements: Agreement per record.
        environment: Environment of the new evaluation.
    """

    submission: Submission
    seed: int
    fraction: float
    agreements: tuple[Agreement, ...]
    environment: Environment

    @property
    def videos(self) -> int:
        """Number of evaluated videos."""
        return sum(a.videos for a in self.agreements)

    @property
    def flips(self) -> int:
        """Number of first predictions that differ."""
        return sum(a.flips for a in self.agreements)

    @property
    def failures(self) -> tuple[str, ...]:
        """The reasons why the submission is not reproduced; empty if it is."""
        return failures(self.agreements)

    @property
    def undetected(self) -> float:
        """Percent of false predictions that a sample of this size misses with a probability of 5 %."""
        # A share q of false predictions is missed by n videos with the probability (1 - q)^n = 0.05.
        return 100.0 * (1.0 - 0.05 ** (1.0 / self.videos)) if self.videos else 100.0

    def attestation(self) -> Attestation:
        """The content of the file for `results/reproductions/`."""
        manifest = self.submission.manifest
        assert manifest is not None  # a submission without one is refused before anything is evaluated
        return Attestation(
            schema=SCHEMA, digest=self.submission.digest, method=manifest.method, version=manifest.version,
            passed=not self.failures, seed=self.seed, fraction=self.fraction, undetected_percent=self.undetected,
            records=self.agreements, environment=self.environment, created=utc_now(),
        )  # fmt: skip

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        return f"NOT REPRODUCED ({'; '.join(self.failures)})" if self.failures else "reproduced"

    def text(self) -> str:
        """The outcome for people: one line per record and the verdict."""
        lines = [
            f"{a.record}: {a.flips} of {a.videos} flipped, {a.unexplained} unexplained, probabilities within "
            f"{a.largest:.4f} (tolerance {a.tolerance:g})"
            for a in self.agreements
        ]
        lines.append(
            f"{self.verdict}: {self.flips} of {self.videos} first predictions "
            f"flipped, seed {self.seed}; false predictions above {self.undetected:.1f} % would have been found "
            "with 95 % confidence"
        )
        return "\n".join(lines)


@dataclass(frozen=True)
class Sampling:
    """The sample, and the files that a submission names by their hashes.

    Args:
        seed: Seed of the sample. Draw it after the submission was handed in: a submitter who knows the seed knows which
            videos are evaluated.
        fraction: Share of each list; at least `LEAST` videos are evaluated.
        weights: Weight file of the backbone, if the records name a file.
        files: Files that options name, by option.
        run_code: Whether code of a method that is not built in may run.
    """

    seed: int
    fraction: float = FRACTION
    weights: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    run_code: bool = False


def foreign_code(name: str) -> UserError:
    """The error if code that is not part of the harness would run without consent."""
    return UserError(
        f"A reproduction runs the code of {name} on this machine, and a check does not read code.",
        "Read the code, run it on a machine without secrets, and repeat the command with --run-code.",
    )


def reproduce(
    path: Path, settings: Settings, compute: ComputeOptions, sampling: Sampling, root: Path = Path()
) -> Reproduced:
    """Evaluate a seeded sample of every list of a submission again, from the submitted weights.

    Args:
        path: A submission with weights. Its method has to be installed: a submission holds no code.
        settings: Folders of this machine, with the videos.
        compute: Device, precision, workers.
        sampling: The sample.
        root: Repository of the board of submissions.

    Raises:
        UserError: The submission is refused or has no weights, the installed method differs from the measured method,
            its code is foreign and may not run, or videos are missing.
    """
    # Without the board's predictions: a submission that is on the board already would be its own copy.
    checked = check_submission(path, facts_of)
    if not checked.passed:
        hint = f"See: python -m harness submit check {path}"
        raise UserError(f"{path} is refused by {', '.join(sorted(checked.rules()))}.", hint, EXIT_FAILED)
    if sampling.weights is not None and not Path(sampling.weights).is_file():
        message = f"--weights {sampling.weights} is not a file."
        raise UserError(message, "Give the file that the records name by its sha256.")
    submission, device = checked.submission, choose_device(compute)
    name = submission.measured[0].m.method.name
    if name not in builtin_methods() and not sampling.run_code:
        raise foreign_code(f"the method {name}")
    absent = sorted(set(submission.fits) - set(submission.weights))
    if absent:
        hint = "The submitter has to pack it with --weights."
        raise UserError(f"{path} lacks the weights of {len(absent)} fits (first: {absent[0]}).", hint, EXIT_FAILED)
    # A run folder of its own: nothing of a submission may reach the runs of this machine.
    with tempfile.TemporaryDirectory() as scratch:
        _lay_out(path, submission, Path(scratch))
        agreements, built = [], {}
        for measured in submission.measured:
            key = fingerprint([measured.keys.fit, encode(measured.m.method), encode(measured.m.model)])
            if key not in built:
                # One method at a time stays in memory: methods are large.
                built = {key: _method(measured, Path(scratch), settings, sampling)}
            agreements.append(_again(measured, built[key], settings, compute, device, sampling))
    return Reproduced(submission, sampling.seed, sampling.fraction, tuple(agreements), measured_on(device))


def _folder(runs: Path, key: str) -> Path:
    """The folder of a fit in the temporary run folder of a reproduction."""
    return runs / "backbone" / "method" / key


def _lay_out(path: Path, submission: Submission, runs: Path) -> None:
    """Write the fits of a submission into a run folder."""
    with open_contents(path) as contents:
        for key, fit in submission.fits.items():
            folder = _folder(runs, key)
            folder.mkdir(parents=True)
            entry = contents.entries[f"weights/{key}.safetensors"]
            with (folder / WEIGHTS).open("wb") as target, entry.opener() as source:
                shutil.copyfileobj(source, target)
            # The file name is the submitter's text; only the name that was just written is used.
            write_fit_file(folder, replace(fit, weights=replace(fit.weights, file=WEIGHTS), kept=()))


def _method(measured: Measured, runs: Path, settings: Settings, sampling: Sampling) -> ClipMethod:
    """Build the method of a record with its options of training and evaluation, its backbone and the fit's weights.

    Raises:
        UserError: Code or weights of this machine differ from the measured ones, or are not part of a submission.
    """
    m = measured.m
    if m.method.checkpoint:
        raise UserError(
            f"{measured.name} was measured on {', '.join(m.method.extra_data)}, which no submission holds.",
            "Measure it again with `run --checkpoint FILE`, and compare with `python -m harness compare`.",
            EXIT_FAILED,
        )
    row = method_row_of(m.method, m.model, measured.name, _backbone(m, sampling.weights), sampling.files)
    # Before anything is evaluated: a sample says nothing about another program.
    if row.code != m.method.code:
        raise UserError(
            f"The installed code of {row.name} has sha256 {row.code}, expected the measured code {m.method.code}.",
            "Install the measured version of the method.",
            EXIT_FAILED,
        )
    if m.fitted is not None:
        return load_row(_folder(runs, measured.keys.fit), row, settings)
    method = build_row(row, settings)
    tensors_sha256 = loaded_model(row, method).tensors_sha256
    if tensors_sha256 != m.model.tensors_sha256:
        raise UserError(
            f"The weights {m.model.weights} of this machine have tensors of sha256 {tensors_sha256}, "
            f"expected the measured tensors {m.model.tensors_sha256}.",
            "Use the measured weights.",
            EXIT_FAILED,
        )
    return method


def _backbone(m: Measurement, weights: str | None) -> BackboneChoice | None:
    """The backbone of `--weights`, if the measurement names a weight file; None otherwise."""
    if weights is None or m.model.arch == MINI_ARCH or m.model.config or not is_file_hash(m.model.weights):
        return None
    return BackboneChoice.for_model(m.model, weights)


def _again(
    measured: Measured,
    method: ClipMethod,
    settings: Settings,
    compute: ComputeOptions,
    device: Device,
    sampling: Sampling,
) -> Agreement:
    """Evaluate the sample of one record and compare."""
    evaluation = measured.m.evaluation
    transform = transform_name(evaluation.transform)
    if transform_identity(transform) != evaluation.transform:
        message = (
            f"{measured.name} was measured with the view transform {evaluation.transform}, found "
            f"{transform_identity(transform)}."
        )
        raise UserError(message, "Give the plugin that the record was measured with: --plugin FILE", EXIT_FAILED)
    listed = evaluation.list
    dataset = open_dataset(listed.dataset, settings, variant=listed.label_variant)
    dataset.prepare()
    assert measured.frame is not None  # a record without predictions is refused
    # In the order of the record, because random views are drawn by row number.
    pairs = zip(measured.frame["video"].tolist(), measured.frame["label"].tolist(), strict=True)
    test, labels = VideoList(listed.name, tuple(pairs)), LabelSet(measured.record.classes, listed.label_variant)
    count = min(len(test), max(LEAST, math.ceil(sampling.fraction * len(test))))
    # A stream per record, so that equal lists of two records have different samples.
    rng = np.random.default_rng([sampling.seed, int(measured.record.key, 16)])
    chosen = np.sort(rng.choice(len(test), size=count, replace=False))
    located = locate_rows(test, dataset.locate)
    missing = [test.paths[i] for i in chosen if located[i][0] is None]
    if missing:
        message = f"{len(missing)} of {count} sampled videos were not found (first: {missing[0]})."
        raise UserError(message, f"Give their folder with --data {listed.dataset}=DIR.")
    # Rows keep their numbers; a row without a file is not evaluated.
    sampled = set(chosen.tolist())
    rows = [(path if i in sampled else None, label) for i, (path, label) in enumerate(located)]
    draws = int(fingerprint([listed.sha256, "views"], 8), 16)
    eval_device = for_evaluation(device, compute, method.backbone)
    job = EvalJob(method, rows, labels, evaluation.views, draws, transform)
    scores = evaluate(job, Context(eval_device, compute))
    scores.require_a_decoded_video(job)
    tolerance = tolerance_of(evaluation.precision, eval_device.precision)
    return compare(measured.name, measured.frame.iloc[chosen], scores, chosen, tolerance)


def compare(name: str, recorded: pd.DataFrame, scores: Scores, rows: NDArray[np.intp], tolerance: float) -> Agreement:
    """Compare recorded predictions with new scores of the same videos.

    Args:
        name: Name of the record.
        recorded: Rows of the table of predictions, in the order of `rows`.
        scores: Scores of the whole list; only `rows` were evaluated.
        rows: (N,) numbers of the evaluated rows of the list.
        tolerance: Difference of probabilities that rounding explains.
    """
    flips = unexplained = beyond = gained = lost = 0
    labels = recorded["label"].tolist()
    largest = 0.0
    recorded_ids, recorded_probabilities = recorded[ID_COLUMNS].to_numpy(), recorded[PROBABILITY_COLUMNS].to_numpy()
    for index, row in enumerate(rows):
        old = dict(zip(recorded_ids[index].tolist(), recorded_probabilities[index].tolist(), strict=True))
        old.pop(-1, None)  # the id of an absent class: fewer than five classes, or a video that was not decoded
        new = dict(zip(scores.ids[row].tolist(), scores.probabilities[row].tolist(), strict=True))
        first, new_first = int(recorded_ids[index, 0]), int(scores.ids[row, 0])
        # The probability of a class that is not among the first five is at most the fifth probability.
        difference = abs(old.get(first, 0.0) - new.get(first, min(new.values()))) if first >= 0 else 0.0
        largest = max(largest, difference)
        beyond += difference > tolerance
        if first != new_first:
            flips += 1
            gained += first == labels[index]
            lost += new_first == labels[index]
            # Both probabilities can be off by the tolerance, hence twice the tolerance below.
            gap = old.get(first, 0.0) - old.get(new_first, min(old.values(), default=0.0))
            unexplained += first < 0 or new_first < 0 or gap > 2 * tolerance or difference > 2 * tolerance
    return Agreement(
        name, len(rows), flips, int(unexplained), int(gained), int(lost), round(largest, 6), int(beyond), tolerance
    )
