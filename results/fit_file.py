"""The file `fit.json` of a finished fit: description, start, outcome, and the hash of its weights file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from harness.base.atomic import write_json
from harness.base.errors import EXIT_FAILED, UserError
from harness.spec.later import later
from results.codec import DecodeError, JsonValue, decode, encode, read_json_file
from results.measurement import Count, FitDescription, Key, Positive, Sha256, fit_key
from results.provenance import Environment

FIT_FILE = "fit.json"
SCHEMA = 2
KEPT = "kept"
"""Folder of kept epochs below the folder of a fit."""
AGAIN = "Remove the file and run the same command again to fit again."


@dataclass(frozen=True)
class WeightsFile:
    """The file of the trained tensors in the folder of the fit, and the sha256 of its content."""

    file: str
    sha256: Sha256


@dataclass(frozen=True)
class KeptWeights:
    """The trained tensors of an epoch as the optimiser left them, before averages, `after_fit` and interpolation.

    Args:
        epoch: The epoch, counted from 1.
        file: The file below the folder of the fit; for the last epoch it can be the weights file itself.
        sha256: Hash of the file's content.
    """

    epoch: Positive
    file: str
    sha256: Sha256


@dataclass(frozen=True)
class Parameters:
    """Numbers of parameters."""

    total: Count
    trained: Count


@dataclass(frozen=True)
class FitOutcome:
    """Facts of a fit besides its weights.

    Args:
        updates: Total number of parameter updates.
        updates_per_epoch: Parameter updates per epoch.
        unused_per_epoch: Clips that are not used in an epoch (published behaviour).
        final_loss: Mean training loss of the last epoch in nats; None if the loss curve was lost.
        seconds: Wall time of all sessions of the fit in seconds.
        resumed_at: Epoch at which this session began, 0 for a fresh fit.
        skipped_updates: Updates skipped because of float16 overflow.
        replaced: Rows of training clips that could not be decoded, over all sessions of the fit.
        peak_memory_gib: Largest peak device memory of all processes in GiB; 0 on a CPU.
    """

    updates: int
    updates_per_epoch: int
    unused_per_epoch: int
    final_loss: float | None
    seconds: float
    resumed_at: int
    skipped_updates: int
    replaced: list[int] = field(default_factory=list)
    peak_memory_gib: float = 0.0


@dataclass(frozen=True)
class FitFile:
    """The content of `fit.json`.

    Args:
        key: `results.measurement.fit_key` of the description.
        name: Readable name, e.g. `vificlip mini_target/base_s1`.
        described: The part of the measurement that describes a fit.
        weights: The file of the trained tensors.
        classes: Class names of the training list in the order of their ids.
        outcome: Updates, loss and time.
        parameters: Numbers of parameters.
        environment: Packages, device and precision.
        created: UTC time, ISO 8601.
        kept: Weights of single epochs, from which fits with other evaluated weights follow without training.
        schema: Version of this layout.
    """

    key: Key
    name: str
    described: FitDescription
    weights: WeightsFile
    classes: tuple[str, ...]
    outcome: FitOutcome
    parameters: Parameters
    environment: Environment
    created: str
    kept: tuple[KeptWeights, ...] = later(())
    schema: int = field(default=SCHEMA)


def write_fit_file(folder: Path, content: FitFile) -> None:
    """Check and write `fit.json` atomically; the file marks the fit as finished.

    Raises:
        UserError: The content is not valid; nothing is written.
    """
    value = encode(content)
    try:
        fit_file_of(value)
    except DecodeError as error:
        message = f"{folder / FIT_FILE} would not be valid: {error}."
        hint = "Nothing was written. Correct the code that computed this value."
        raise UserError(message, hint, EXIT_FAILED) from None
    write_json(folder / FIT_FILE, value)


def read_fit_file(folder: Path) -> FitFile | None:
    """Read and check `fit.json` in the folder of a fit; None if the fit is not finished.

    Raises:
        UserError: The file cannot be read, has another schema or is not valid.
    """
    path = folder / FIT_FILE
    if not path.is_file():
        return None
    try:
        return fit_file_of(read_json_file(path, SCHEMA, AGAIN))
    except DecodeError as error:
        raise UserError(f"{path} is not valid: {error}.", AGAIN, EXIT_FAILED) from None


def fit_file_of(value: JsonValue) -> FitFile:
    """The content of a `fit.json` from a JSON value, after all checks.

    Raises:
        DecodeError: A field is missing, unknown or malformed, or the key does not follow from the description.
    """
    fitted = decode(value, FitFile)
    if fitted.key != (key := fit_key(fitted.described)):
        raise DecodeError(f"key is {fitted.key!r}, expected {key!r}, which follows from the description")
    name = fitted.weights.file
    # Fits of submissions are not trusted: the name of a file must not lead out of its folder.
    if not name or Path(name).name != name or "\\" in name or name.startswith(".") or not name.isprintable():
        raise DecodeError(f"weights.file is {name!r}, expected the name of a file in the folder of the fit")
    for kept in fitted.kept:
        if kept.file not in (name, f"{KEPT}/epoch_{kept.epoch}.safetensors"):
            raise DecodeError(f"kept: the file of epoch {kept.epoch} is {kept.file!r}, expected a file of {KEPT}/")
    training = fitted.described.training
    if not 0 < training.used <= training.list.n:
        raise DecodeError(f"described.training.used is {training.used}, expected 1 to {training.list.n}")
    return fitted
