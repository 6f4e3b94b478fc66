"""A sample of a submission evaluated again from its weights: the one check that made-up predictions do not pass."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.base.errors import EXIT_FAILED, UserError
from harness.cells.plan import FIT_FILE
from harness.cells.request import MINI_ARCH, BackboneChoice
from harness.data.catalog import open_dataset
from harness.engine.clips import locate_rows
from harness.engine.device import Device, choose_device
from harness.engine.evaluate import Scores, evaluate
from harness.engine.fit import WEIGHTS
from harness.engine.method import ClipMethod
from harness.running.load_fit import described_row, from_file, restore
from harness.running.run import build_row
from harness.running.write_record import measured_on, utc_now
from harness.runtime import Runtime
from harness.settings import Settings
from harness.spec import Views, fingerprint
from harness.submission_facts import facts_of
from results.submission.check import check_submission
from results.submission.contents import open_contents
from results.submission.pack import json_bytes
from results.submission.submission import Measured, Submission
from results.submission.waivers import read_waivers

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
    """How a record's sample compares.

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
    environment: dict[str, Any]

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
        return {
            "schema": SCHEMA, "digest": self.submission.digest, "method": self.submission.manifest["method"],
            "version": self.submission.manifest["version"], "passed": self.passed, "seed": self.seed,
            "fraction": self.fraction, "videos": self.videos, "flips": self.flips,
            "tolerance": {"flips": FLIPS, "unexplained": 0}, "undetected_percent": self.undetected,
            "records": [dict(vars(agreement)) for agreement in self.agreements], "environment": self.environment,
            "created": utc_now(),
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


def reproduce(
    path: Path, settings: Settings, runtime: Runtime, seed: int, fraction: float = FRACTION, root: Path = Path(),
    weights: str | None = None,
) -> Reproduced:  # fmt: skip
    """Evaluate a seeded sample of every list of a submission again, from the submitted weights.

    Args:
        path: A submission with weights, whose method is installed here (a submission carries no code).
        settings: Where videos lie.
        runtime: How to compute.
        seed: Of the sample. Draw it after the submission was handed in: who knows it, knows what is looked at.
        fraction: Of each list, at least `LEAST` videos.
        root: Repository of the board, with its waivers.
        weights: The file of the backbone's weights, where the records are of a file; its content is compared.

    Raises:
        UserError: The submission is refused, has no weights, its method is not the one installed here, or videos are
            missing.
    """
    checked = check_submission(path, partial(facts_of, known={}), read_waivers(root))
    if not checked.passed:
        ways = f"See: python -m harness submit check {path}"
        raise UserError(f"{path} is refused by {', '.join(sorted(checked.rules()))}.", ways, EXIT_FAILED)
    if weights is not None and not Path(weights).is_file():
        raise UserError(f"--weights {weights} is no file.", "Give the file that the records name by its sha256.")
    submission, device = checked.submission, choose_device(runtime)
    absent = sorted(set(submission.fits) - set(submission.weights))
    if absent:
        ways = "Ask for a submission that was packed with --weights."
        raise UserError(f"{path} lacks the weights of {len(absent)} fits (first: {absent[0]}).", ways, EXIT_FAILED)
    with tempfile.TemporaryDirectory() as scratch:
        _lay_out(path, submission, Path(scratch))
        agreements, built = [], {}
        for one in submission.measured:
            key = fingerprint([one.record.identity["fit"], one.record.identity["method"]])
            if key not in built:
                built = {key: _method(one, Path(scratch), settings, weights)}  # one at a time: methods are large
            agreements.append(_again(one, built[key], settings, runtime, device, seed, fraction))
    return Reproduced(submission, seed, fraction, tuple(agreements), measured_on(device))


def _lay_out(path: Path, submission: Submission, runs: Path) -> None:
    """The fits of a submission as a run folder."""
    with open_contents(path) as contents:
        for key, fit in submission.fits.items():
            folder = runs / "backbone" / "fits" / key
            folder.mkdir(parents=True)
            (folder / FIT_FILE).write_bytes(json_bytes(fit))
            entry = contents.entries[f"weights/{key}.safetensors"]
            with (folder / WEIGHTS).open("wb") as target, entry.opener() as source:
                shutil.copyfileobj(source, target)


def _method(one: Measured, runs: Path, settings: Settings, weights: str | None = None) -> ClipMethod:
    """The method of a record as it was scored.

    Raises:
        UserError: The code installed here is not the code that was measured, or the weights are not in a submission,
            or those of the backbone are of a file, and this is not it.
    """
    if one.record.identity["method"].get("checkpoint"):
        raise UserError(
            f"{one.name} was measured on {', '.join(one.record.method['extra_data'])}, which no submission holds.",
            "Measure it again with `run --checkpoint FILE`, and compare with `python -m harness compare`.",
            EXIT_FAILED,
        )
    of = one.record.identity["method"]["backbone"]
    arch = None if of["arch"] == "inferred" else of["arch"]
    backbone = BackboneChoice(arch, weights) if weights and of["arch"] != MINI_ARCH and from_file(of) else None
    row = described_row(one.record.identity["method"], one.name, backbone)
    if row.source_sha256 != one.record.method["source_sha256"]:
        raise UserError(
            f"The code of {row.name} here has sha256 {row.source_sha256}, measured was "
            f"{one.record.method['source_sha256']}.",
            "Install the version of the method that was measured.",
            EXIT_FAILED,
        )
    if one.record.fit is None:
        return build_row(row, settings)
    return restore(runs / "backbone" / "fits" / str(one.record.fit["key"]), row, settings)


def _again(
    one: Measured, method: ClipMethod, settings: Settings, runtime: Runtime, device: Device, seed: int, fraction: float
) -> Agreement:
    """Evaluate the sample of one record and compare."""
    data = one.record.data
    dataset = open_dataset(data["dataset"], settings, variant=data["label_variant"])
    dataset.prepare()
    test, labels = dataset.list(data["list"]), dataset.labels(data["labels"])
    assert one.frame is not None
    recorded = one.frame.set_index("video")
    count = min(len(test), max(LEAST, math.ceil(fraction * len(test))))
    rng = np.random.default_rng([seed, int(one.record.cell, 16)])
    chosen = np.sort(rng.choice(len(test), size=count, replace=False))
    located = locate_rows(test, dataset.locate)
    missing = [test.paths[i] for i in chosen if located[i][0] is None]
    if missing:
        raise UserError(f"{len(missing)} of {count} sampled videos are not here (first: {missing[0]}).")
    # Rows keep their places, because random views are drawn by place; a row without a file is passed over.
    picked = set(chosen.tolist())
    rows = [(path if i in picked else None, label) for i, (path, label) in enumerate(located)]
    views = Views(**{name: value for name, value in one.record.views.items() if name not in ("size", "text")})
    draws = int(fingerprint([data["list_sha256"], "views"], 8), 16)
    scores = evaluate(method, rows, labels, views, device, runtime, None, draws)
    both_fp32 = one.record.environment["dtype"] == device.precision == "fp32"
    return compare(one.name, recorded.loc[[test.paths[i] for i in chosen]], scores, chosen, TOLERANCE[both_fp32])


def compare(
    name: str, recorded: pd.DataFrame, scores: Scores, rows: np.ndarray[Any, Any], tolerance: float
) -> Agreement:
    """How recorded predictions and new scores of the same videos agree.

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
