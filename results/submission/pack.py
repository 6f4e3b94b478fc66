"""`submit pack`: write the rows of a method with their predictions and fits to one zip file.

Equal inputs give equal bytes: members are sorted by name, and all members have the same time.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.base.errors import UserError
from results.codec import encode
from results.fit_file import FIT_FILE
from results.predictions import read_predictions
from results.record import PREDICTIONS_SUFFIX, RECORD_SUFFIX, PredictionsFile, Record
from results.submission.check_arithmetic import card_of, environments_of
from results.submission.choose import Choice, Chosen, choose
from results.submission.documents import json_bytes
from results.submission.layout import Environments, ListedFile, Manifest, record_stem
from results.submission.scores import scores_of
from results.submission.stored import FitFiles, StoredRow, file_of, finished_fits
from results.submission.submission import MANIFEST, Measured, Submission, parent_of
from results.submission.variants import changed_recipe, row_text

EPOCH = (2020, 1, 1, 0, 0, 0)
"""Time of all archive members."""


@dataclass(frozen=True)
class About:
    """Statements of the submitter.

    Args:
        submitter: Name of the submitter.
        code: Address of the public code of the method.
        harness: Version of the harness.
        weights: Whether to add the weights of the fits.
    """

    submitter: str = ""
    code: str = ""
    harness: str = ""
    weights: bool = False


@dataclass
class Packed:
    """A packed submission.

    Args:
        path: The file.
        records, fits: Numbers of records and fits.
        notes: Rows that are incomplete or have a changed recipe.
        left_out: Records that were not packed, with the reason.
        damaged: Files that could not be used, with the reason.
    """

    path: Path
    records: int = 0
    fits: int = 0
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def pack(runs: Path, choice: Choice, out: Path, about: About | None = None) -> Packed:
    """Write the submission of a method: one current row for each protocol and dataset.

    Damaged records and fits are left out and named in the result.

    Raises:
        UserError: There is no record of the method, there are several variants to choose from, or the file or weights
            of a fit are missing.
    """
    about = about or About()
    damaged: list[str] = []
    fits = finished_fits(runs, damaged)
    chosen = choose(runs, choice, fits)
    chosen.damaged += damaged
    files: dict[str, bytes | Path] = {}
    submission = Submission(out)
    for stored in (record.item for row in chosen.rows for record in row.records):
        stem, record = record_stem(stored.record), _as_measured(stored.record)
        files[f"records/{stem}{RECORD_SUFFIX}"] = json_bytes(encode(record))
        files[f"records/{record.predictions.file}"] = stored.predictions
        frame = read_predictions(stored.predictions)
        submission.measured.append(Measured(f"records/{stem}{RECORD_SUFFIX}", record, frame))
        if (training := record.measurement.fitted) is not None:
            key, by = submission.measured[-1].keys.fit, str(stored.path)
            _add_fit(key, training.weights_sha256, fits, about.weights, files, by)
    # By name and not in the order of the run folder, so that equal inputs give the card of the same record.
    submission.measured.sort(key=lambda measured: measured.name)
    first = submission.measured[0].record
    files["card.json"] = json_bytes(encode(card_of(first)))
    files["environment.json"] = json_bytes(encode(Environments(environments_of(submission.measured))))
    method = first.measurement.method
    manifest = Manifest(
        method=method.name, version=method.version, title=first.method.title, submitter=about.submitter,
        code=about.code, harness=about.harness, scores=scores_of(submission),
    )  # fmt: skip
    write_submission(out, manifest, files)
    return _packed(out, submission, files, chosen)


def _packed(out: Path, submission: Submission, files: Iterable[str], chosen: Chosen) -> Packed:
    fits = sum(name.startswith("fits/") for name in files)
    notes = [note for row in chosen.rows for note in _notes(row)]
    return Packed(out, len(submission.measured), fits, notes, chosen.left_out, chosen.damaged)


def _notes(row: StoredRow) -> Iterable[str]:
    """Reasons why a board would refuse a row."""
    if row.missing:
        shown = ", ".join(
            f"{evaluation.part} {evaluation.repeat.kind} {evaluation.repeat.index}" for evaluation in row.missing[:6]
        )
        yield f"{row_text(row)}: incomplete: {len(row.missing)} evaluations missing ({shown})"
    for reason in row.unfinished:
        yield f"{row_text(row)}: incomplete: {reason}"
    if changes := changed_recipe(row):
        yield f"{row_text(row)}: changed recipe {changes}: refused in the closed division"


def _as_measured(record: Record) -> Record:
    """A record without status and remarks of a board, and with the predictions file name of submissions."""
    predictions = PredictionsFile(record_stem(record) + PREDICTIONS_SUFFIX, record.predictions.sha256)
    # A status that another board gave does not travel with the record.
    return replace(record, status="submitted", remarks=(), predictions=predictions)


def _add_fit(
    key: str, weights_sha256: str, fits: FitFiles, weights: bool, files: dict[str, bytes | Path], needed_by: str
) -> None:
    """Add a fit and its parent fits."""
    # Up the chain of parent fits, which the checker needs to follow the start of each fit.
    while key and f"fits/{key}.json" not in files:
        copies = fits.get(key, ())
        entry = file_of(copies, weights_sha256)
        if entry is None:  # records of superseded weights were left out
            raise UserError(f"The fit {key} of {needed_by} has no valid {FIT_FILE}.", "Fit again with --force.")
        path, fit = entry
        files[f"fits/{key}.json"] = json_bytes(encode(fit))
        if weights:
            file = path.with_name(fit.weights.file)
            if not file.is_file():
                raise UserError(f"The weights {file} are missing.", "Fit again with --force, or leave out --weights.")
            files[f"weights/{key}.safetensors"] = file
        key, weights_sha256, needed_by = parent_of(fit), fit.described.training.start.weights_sha256, str(path)


def write_submission(out: Path, manifest: Manifest, files: Mapping[str, bytes | Path]) -> None:
    """Write a zip file of files and a manifest that lists them, atomically."""
    listed = {name: ListedFile(*_hash(content)) for name, content in files.items()}
    members = {**files, MANIFEST: json_bytes(encode(replace(manifest, files=listed)))}
    # Rename a finished file, so that an interrupted run leaves no incomplete submission.
    partial = out.with_name(f".{out.name}.partial")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(partial, "w") as archive:
            for name in sorted(members):
                _write_member(archive, name, members[name])
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def _write_member(archive: zipfile.ZipFile, name: str, content: bytes | Path) -> None:
    info = zipfile.ZipInfo(name, EPOCH)
    info.external_attr = 0o100644 << 16  # a regular file without execute permission, see rules F003 and F007
    info.create_system = 3  # Unix, on every system, so that the bytes do not depend on it
    packed_already = name.endswith((".gz", ".safetensors"))
    info.compress_type = zipfile.ZIP_STORED if packed_already else zipfile.ZIP_DEFLATED
    # Weights can exceed 4 GiB, and the size has to be announced before the first byte.
    with archive.open(info, "w", force_zip64=isinstance(content, Path)) as target:
        for piece in _pieces(content):
            target.write(piece)


def _pieces(content: bytes | Path) -> Iterable[bytes]:
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
        while piece := file.read(2**20):
            yield piece


def _hash(content: bytes | Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for piece in _pieces(content):
        digest.update(piece)
        size += len(piece)
    return digest.hexdigest(), size
