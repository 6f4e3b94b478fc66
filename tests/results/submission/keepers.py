"""Keys and attestations of keepers of a board."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness.base.atomic import write_json
from results.codec import encode
from results.submission.attestation import REPRODUCTIONS, SCHEMA, SIGNERS, Agreement, Attestation, failures, sign
from tests.results.factories import ENVIRONMENT

AGREEMENT = Agreement("records/a.record.json", 80, 0, 0, 0, 0, 0.001, 0, 0.005)


def needs_ssh() -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("needs ssh-keygen (OpenSSH)")


def new_key(path: Path) -> Path:
    """A private key without a passphrase; the public key lies beside it."""
    needs_ssh()
    path.parent.mkdir(parents=True, exist_ok=True)
    options = ("-q", "-t", "ed25519", "-N", "", "-C", "a key of a test")
    subprocess.run(["ssh-keygen", *options, "-f", str(path)], check=True, capture_output=True)
    return path


def appoint(root: Path, key: Path, keeper: str = "keeper@board") -> None:
    """Add a key to the keepers of a board's repository."""
    signers = root / REPRODUCTIONS / SIGNERS
    signers.parent.mkdir(parents=True, exist_ok=True)
    with signers.open("a") as file:
        file.write(f"{keeper} {key.with_name(f'{key.name}.pub').read_text()}")


def attested(digest: str, *agreements: Agreement) -> Attestation:
    """An attestation of a reproduction with consistent entries."""
    records = agreements or (AGREEMENT,)
    return Attestation(
        SCHEMA, digest, "mymethod", 1, not failures(records), 1, 0.05, 4.0, records, ENVIRONMENT,
        "2026-02-01T00:00:00+00:00",
    )  # fmt: skip


def attest(root: Path, attestation: Attestation, key: Path, name: str = "a.json") -> Path:
    """Write and sign an attestation in a board's repository."""
    file = root / REPRODUCTIONS / name
    write_json(file, encode(attestation))
    sign(file, key)
    return file


def failing(agreement: Agreement = AGREEMENT) -> Agreement:
    return replace(agreement, flips=9, unexplained=9)
