"""Attestations: verdict from the agreements, and the signature of a keeper."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.base.errors import UserError
from results.submission.attestation import TOLERANCE, Agreement, failures, read_reproductions, tolerance_of, verify
from tests.results.submission.keepers import AGREEMENT, appoint, attest, attested, failing, new_key

DIGEST = "d" * 64


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A repository with one keeper, and the key of the keeper."""
    root = tmp_path_factory.mktemp("board")
    key = new_key(root.parent / "keys" / root.name)
    appoint(root, key)
    return root, key


def test_a_signed_attestation_counts(board: tuple[Path, Path]) -> None:
    root, key = board
    file = attest(root, attested(DIGEST), key)
    (read,) = read_reproductions(root)
    assert read == attested(DIGEST) and read.passed and verify(file) == "keeper@board"
    file.unlink()


def test_an_attestation_without_the_signature_of_a_keeper_is_refused(board: tuple[Path, Path], tmp_path: Path) -> None:
    root, key = board
    file = attest(root, attested(DIGEST), key)
    file.write_text(file.read_text().replace('"fraction": 0.05', '"fraction": 0.06'))
    with pytest.raises(UserError, match="is not a signature of"):
        read_reproductions(root)
    attest(root, attested(DIGEST), new_key(tmp_path / "stranger"))
    with pytest.raises(UserError, match="is by no key of"):
        read_reproductions(root)
    file.with_name(f"{file.name}.sig").unlink()
    with pytest.raises(UserError, match="is missing") as raised:
        read_reproductions(root)
    assert "ssh-keygen -Y sign" in raised.value.hint
    file.unlink()


def test_a_missing_program_is_named(board: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root, key = board
    file = attest(root, attested(DIGEST), key)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="ssh-keygen"):
        read_reproductions(root)
    file.unlink()


COUNTS = st.integers(0, 400)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, st.integers(1, 400), st.booleans())
def test_counts_that_contradict_each_other_are_refused(
    flips: int, unexplained: int, gained: int, lost: int, beyond: int, videos: int, passed: bool
) -> None:
    """The verdict follows from the counts, so that no attestation can state another verdict."""
    from results.submission.attestation import _problem

    agreement = Agreement("a", videos, flips, unexplained, gained, lost, 0.1, beyond, 0.005)
    possible = max(gained + lost, unexplained) <= flips <= videos and beyond <= videos
    assert (_problem(replace(attested(DIGEST, agreement), passed=passed)) == "") == (
        possible and passed == (not failures((agreement,)))
    )


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.integers(4, 30), st.integers(100, 2000))
def test_flips_that_all_favour_the_record_are_not_rounding(gained: int, videos: int) -> None:
    agreement = replace(AGREEMENT, videos=max(videos, 50 * gained), flips=gained, gained=gained)
    assert any("in favour" in reason for reason in failures((agreement,)))
    assert not failures((replace(agreement, gained=0, lost=gained),))
    assert not failures((replace(agreement, gained=gained // 2, lost=gained - gained // 2),))


@settings(max_examples=20, deadline=None)
@given(st.text(max_size=10))
def test_a_precision_that_is_not_in_the_table_has_no_tolerance(precision: str) -> None:
    assume(precision not in TOLERANCE)
    with pytest.raises(UserError, match="precision"):
        tolerance_of("fp32", precision)


def test_the_coarser_side_decides() -> None:
    assert tolerance_of("fp32", "fp32") < tolerance_of("fp16", "fp32") < tolerance_of("fp32", "bf16")


@pytest.mark.parametrize(
    "changes",
    [{"digest": None}, {"digest": "d"}, {"passed": "yes"}, {"records": []}, {"schema": 1}, {"schema": True},
     {"videos": 80}, {"version": 0}, {"fraction": 0.0}, {"seed": "many"}, {"records": [{"flips": 0}]}],
)  # fmt: skip
def test_an_attestation_that_cannot_be_one_is_refused(changes: dict[str, object], board: tuple[Path, Path]) -> None:
    root, key = board
    file = attest(root, attested(DIGEST), key, "mymethod-v1.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises(UserError, match=r"mymethod-v1\.json"):
        read_reproductions(root)
    file.unlink()


def test_a_failed_attestation_is_read_as_one(board: tuple[Path, Path]) -> None:
    root, key = board
    file = attest(root, attested(DIGEST, failing()), key)
    (read,) = read_reproductions(root)
    assert not read.passed
    file.unlink()
