"""Attestations of reproductions: agreement of a sample with the recorded predictions, signed by a keeper of the board.

A file of `results/reproductions/` counts if its signature (`FILE.sig`) is by a key of `allowed_signers` in the same
folder. Signatures are those of OpenSSH: `ssh-keygen -Y sign` and `ssh-keygen -Y verify`.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from harness.base.errors import EXIT_FAILED, UserError
from results.codec import DecodeError, decode
from results.measurement import Count, Positive, Sha256
from results.provenance import Environment
from results.statistics.flips import mcnemar_p
from results.statistics.metric_values import Percent
from results.submission.documents import DocumentError, read_json

SCHEMA = 2
REPRODUCTIONS = Path("results") / "reproductions"
SIGNERS = "allowed_signers"
NAMESPACE = "clip-video-harness"
"""Purpose in the signatures, so that a signature made for another purpose is not valid here."""
FLIPS = 0.03
"""Share of videos whose first prediction may flip between nearly equal probabilities."""
TOLERANCE: Mapping[str, float] = {"fp32": 0.005, "fp16": 0.01, "bf16": 0.03}
"""Difference of probabilities that rounding explains, by the coarser precision of both sides.

Measured on the embedded benchmark: 480 videos of `vanilla_clip` and of three fits each of `text_ft` and `xclip` differ
from fp32 by at most 0.0122 in bf16, and those of `vanilla_clip` by at most 0.0016 in fp16.
"""
IN_FAVOUR = 0.07
"""Smallest probability of as many flips in favour of the record, if flips had no direction: four of four are fewer."""
_AGAIN = "Write it with: python -m harness submit reproduce FILE --sign KEY"


@dataclass(frozen=True)
class Agreement:
    """Agreement of the sample of a record with the recorded predictions.

    Args:
        record: File name of the record.
        videos: Number of sampled videos.
        flips: Number of videos whose first prediction differs.
        unexplained: Number of flips between classes whose recorded probabilities differ by more than rounding explains.
        gained: Number of flips with which the record is right and the new prediction wrong.
        lost: Number of flips with which the record is wrong and the new prediction right.
        largest: Largest difference of a first prediction's probability.
        beyond: Number of videos whose difference is above the tolerance.
        tolerance: Tolerance of this record, from `TOLERANCE`.
    """

    record: str
    videos: Positive
    flips: Count
    unexplained: Count
    gained: Count
    lost: Count
    largest: Annotated[float, Meta(ge=0, le=1)]
    beyond: Count
    tolerance: Annotated[float, Meta(ge=0, le=1)]


@dataclass(frozen=True)
class Attestation:
    """Content of a file of `results/reproductions/`.

    Args:
        schema: Version of the file format.
        digest: Digest of the submission.
        method: Name of the method.
        version: Version of the method.
        passed: Whether the submission was reproduced.
        seed: Seed of the sample.
        fraction: Sampled share of each list.
        undetected_percent: Percent of false predictions that the sample misses with a probability of 5 %.
        records: Agreement per record.
        environment: Environment of the new evaluation.
        created: Time, ISO 8601.
    """

    schema: int
    digest: Sha256
    method: str
    version: Positive
    passed: bool
    seed: Count
    fraction: Annotated[float, Meta(gt=0, le=1)]
    undetected_percent: Percent
    records: Annotated[tuple[Agreement, ...], Meta(min_length=1)]
    environment: Environment
    created: str

    @property
    def videos(self) -> int:
        """Number of evaluated videos."""
        return sum(agreement.videos for agreement in self.records)

    @property
    def flips(self) -> int:
        """Number of first predictions that differ."""
        return sum(agreement.flips for agreement in self.records)


def tolerance_of(*precisions: str) -> float:
    """The tolerance of two sides: the larger one of `TOLERANCE`.

    Raises:
        UserError: A precision is not in the table.
    """
    for precision in precisions:
        if precision not in TOLERANCE:
            message = f"The precision is {precision!r}, expected one of {', '.join(TOLERANCE)}."
            raise UserError(message, "Evaluate with --precision fp32.", EXIT_FAILED)
    return max(TOLERANCE[precision] for precision in precisions)


def failures(agreements: tuple[Agreement, ...]) -> tuple[str, ...]:
    """The reasons why a sample does not reproduce a submission; empty if it does."""
    videos, flips, beyond, unexplained, gained, lost = (
        sum(getattr(agreement, name) for agreement in agreements)
        for name in ("videos", "flips", "beyond", "unexplained", "gained", "lost")
    )
    most = max(1, int(FLIPS * videos))
    reasons = []
    if unexplained:
        reasons.append(f"{unexplained} flips that rounding does not explain")
    if flips > most:
        reasons.append(f"{flips} flips, at most {most}")
    if beyond > most:
        reasons.append(f"{beyond} probabilities beyond the tolerance, at most {most}")
    # Rounding has no direction; predictions that were turned into hits have. Half of the two-sided p value, because
    # only flips in favour of the record are suspicious.
    if gained > lost and mcnemar_p(gained, lost) / 2 < IN_FAVOUR:
        reasons.append(f"{gained} of {gained + lost} flips of right predictions in favour of the record")
    return tuple(reasons)


def read_reproductions(root: Path) -> tuple[Attestation, ...]:
    """All attestations below `results/reproductions` of a board's repository, passed and failed ones.

    Raises:
        UserError: A file is not an attestation, contradicts itself, or has no valid signature (exit code 1).
    """
    return tuple(map(_attestation, sorted((root / REPRODUCTIONS).glob("*.json"))))


def _attestation(path: Path) -> Attestation:
    try:
        attestation = decode(read_json(path.read_bytes()), Attestation)
    except (OSError, DocumentError, DecodeError) as error:
        raise UserError(f"The reproduction {path} cannot be read: {error}.", _AGAIN, EXIT_FAILED) from None
    if problem := _problem(attestation):
        raise UserError(f"The reproduction {path} states {problem}.", _AGAIN, EXIT_FAILED)
    verify(path)
    return attestation


def _problem(attestation: Attestation) -> str:
    """The first contradiction in an attestation; empty if there is none."""
    if attestation.schema != SCHEMA:
        return f"schema {attestation.schema}, expected {SCHEMA}"
    for agreement in attestation.records:
        directed = agreement.gained + agreement.lost
        if max(directed, agreement.unexplained) > agreement.flips or max(agreement.flips, agreement.beyond) > (
            agreement.videos
        ):
            return f"{agreement.flips} flips of {agreement.videos} videos of {agreement.record}, {directed} directed"
        if agreement.tolerance not in TOLERANCE.values():
            return f"the tolerance {agreement.tolerance}, expected one of {sorted(TOLERANCE.values())}"
    # Computed again: a signature proves who signed, not that the verdict follows from the sample.
    if attestation.passed != (not failures(attestation.records)):
        return f"passed {attestation.passed}, which does not follow from its records"
    return ""


def sign(path: Path, key: Path) -> Path:
    """Sign an attestation; returns the file of the signature.

    Args:
        path: The attestation.
        key: Private key of OpenSSH, or a public key whose private key an agent holds.

    Raises:
        UserError: `ssh-keygen` is not installed, or cannot sign with the key (exit code 1).
    """
    signature = path.with_name(f"{path.name}.sig")
    signature.unlink(missing_ok=True)  # ssh-keygen would ask before it overwrites
    done = _ssh_keygen("sign", "-f", str(key), str(path))
    if done.returncode or not signature.is_file():
        raise UserError(f"{path} cannot be signed with {key}: {_said(done)}.", "Give a private key.", EXIT_FAILED)
    return signature


def verify(path: Path) -> str:
    """Check the signature of an attestation; returns the keeper who signed.

    Raises:
        UserError: There is no signature by a key of `allowed_signers` (exit code 1).
    """
    signature, signers = path.with_name(f"{path.name}.sig"), path.with_name(SIGNERS)
    sign_it = f"A keeper signs it: ssh-keygen -Y sign -n {NAMESPACE} -f KEY {path}"
    for file in (signature, signers):
        if not file.is_file():
            raise UserError(f"The reproduction {path} cannot be verified: {file} is missing.", sign_it, EXIT_FAILED)
    # `verify` needs the name of the signer, which a signature does not contain.
    found = _ssh_keygen("find-principals", "-s", str(signature), "-f", str(signers))
    keeper = found.stdout.decode("utf-8", "replace").split("\n")[0].strip()
    if found.returncode or not keeper:
        raise UserError(f"{signature} is by no key of {signers}: {_said(found)}.", sign_it, EXIT_FAILED)
    arguments = ("verify", "-f", str(signers), "-I", keeper, "-s", str(signature))
    done = _ssh_keygen(*arguments, content=path.read_bytes())
    if done.returncode:
        raise UserError(f"{signature} is not a signature of {path}: {_said(done)}.", sign_it, EXIT_FAILED)
    return keeper


def _ssh_keygen(part: str, *arguments: str, content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run `ssh-keygen -Y PART`.

    Raises:
        UserError: `ssh-keygen` is not installed (exit code 1).
    """
    program = shutil.which("ssh-keygen")
    if program is None:
        hint = "Install OpenSSH (apt-get install openssh-client)."
        raise UserError("ssh-keygen, which signs and verifies reproductions, is not installed.", hint, EXIT_FAILED)
    # `find-principals` has no option for the purpose.
    options = ("-n", NAMESPACE) if part != "find-principals" else ()
    return subprocess.run([program, "-Y", part, *options, *arguments], input=content, capture_output=True, check=False)


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    """The first line of the error output of `ssh-keygen`."""
    line = done.stderr.decode("utf-8", "replace").strip().partition("\n")[0].rstrip(". ")
    return line or f"exit code {done.returncode}"
