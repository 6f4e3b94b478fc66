"""An accepted submission: its status, its marks on the board, and that numbers on a board stay."""

from __future__ import annotations

import json
import shutil
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness.base.atomic import write_bytes
from harness.base.errors import UserError
from harness.submitting.check_folder import Candidate, check_all, submissions_below
from results.record import find_records, read_record
from results.submission.accept import NOT_EXECUTED, accept, acceptance_times
from results.submission.choose import Choice
from results.submission.contents import Entry
from results.submission.pack import pack
from tests.results.submission.archives import seal
from tests.results.submission.corrupted import fresh
from tests.results.submission.forge import Forge, forge
from tests.results.submission.forged_built_in import as_built_in
from tests.results.submission.forged_tables import nudged
from tests.results.submission.installed_facts import check
from tests.results.submission.keepers import appoint, attest, attested, failing, new_key
from tests.results.submission.test_valid import unpacked


def taken(made: Forge, folder: Path) -> tuple[Path, Path]:
    """The file, and the board that took it over."""
    path, board = made.write(folder / "a.zip"), folder / "board"
    ((_, accepted),) = check_all([Candidate(path)], folder, board)
    assert accepted == board / "mymethod" / "v1"
    return path, board


def test_the_board_says_verified_and_an_unchecked_record_says_submitted(tmp_path: Path) -> None:
    from reports.aggregate import rows_of
    from reports.entries import read_entries
    from reports.site import build_report

    made = fresh("few_shot")
    _, board = taken(made, tmp_path)
    assert {read_record(path).status for path in find_records(board)} == {"verified"}
    (row,) = rows_of(read_entries(board).entries)
    assert row.statuses == ("verified",) and not row.marks
    (unchecked,) = rows_of(read_entries(unpacked(made, tmp_path / "runs")).entries)
    assert unchecked.statuses == ("submitted",)
    html = build_report(board, tmp_path / "site").index.read_text()
    assert '<span class="status verified">verified</span>' in html


def test_a_copy_on_the_board_takes_the_place_of_the_run(tmp_path: Path) -> None:
    from reports.aggregate import rows_of
    from reports.entries import read_entries

    made = fresh("few_shot")
    path = made.write(tmp_path / "a.zip")
    runs = unpacked(made, tmp_path / "runs")
    list(check_all([Candidate(path)], tmp_path, runs / "board"))
    (row,) = rows_of(read_entries(runs).entries)
    assert row.statuses == ("verified",)
    assert {record.name for record in row.superseded} == {
        path.relative_to(runs).as_posix() for path in find_records(runs) if "board" not in path.parts
    }


def test_a_reproduction_raises_the_status_of_this_submission_only(tmp_path: Path) -> None:
    path, key = fresh("few_shot").write(tmp_path / "a.zip"), new_key(tmp_path / "keys" / "keeper")
    appoint(tmp_path, key)
    digest = check(path).submission.digest
    for content, expected in ((digest, "reproduced"), ("0" * 64, "verified")):
        attest(tmp_path, attested(content), key)
        list(check_all([Candidate(path)], tmp_path, tmp_path / "board"))
        assert {read_record(p).status for p in find_records(tmp_path / "board")} == {expected}


@pytest.mark.slow
def test_a_failed_reproduction_counts_and_stays(tmp_path: Path) -> None:
    path, key = fresh("few_shot").write(tmp_path / "a.zip"), new_key(tmp_path / "keys" / "keeper")
    appoint(tmp_path, key)
    digest = check(path).submission.digest
    attest(tmp_path, attested(digest, failing()), key, "first.json")
    attest(tmp_path, attested(digest), key, "second.json")
    list(check_all([Candidate(path)], tmp_path, tmp_path / "board"))
    for file in find_records(tmp_path / "board"):
        record = read_record(file)
        assert record.status == "verified"
        assert any("9 of 80 predictions differ" in remark for remark in record.remarks)
    (acceptance,) = (tmp_path / "board").glob("*/*/acceptance.json")
    assert [made["passed"] for made in json.loads(acceptance.read_text())["reproductions"]] == [False, True]


@pytest.mark.slow
def test_untrained_and_built_in_rows_that_nobody_ran_again_are_marked(tmp_path: Path) -> None:
    for name, made in (("untrained", forge("few_shot", trained=False)), ("trained", fresh("few_shot"))):
        list(check_all([Candidate(made.write(tmp_path / f"{name}.zip"))], tmp_path, tmp_path / name))
        marked = {NOT_EXECUTED in read_record(path).remarks for path in find_records(tmp_path / name)}
        assert marked == {name == "untrained"}
    built_in = fresh("few_shot")
    as_built_in(built_in, "text_ft")
    checked = check(built_in.write(tmp_path / "b.zip"))
    assert checked.passed, checked.text()
    built_in.weights = {}
    list(check_all([Candidate(built_in.write(tmp_path / "c.zip"))], tmp_path, tmp_path / "built_in"))
    assert all(NOT_EXECUTED in read_record(path).remarks for path in find_records(tmp_path / "built_in"))


def check_is_a_conflict(path: Path, root: Path, board: Path) -> None:
    """Refused, with the board as it was; a later submission of the same call is accepted."""
    before = {p: p.read_bytes() for p in board.rglob("*") if p.is_file()}
    later = fresh("few_shot")
    later.refit(lambda fit: fit["described"]["method"].update(version=7))
    candidates = [Candidate(path), Candidate(later.write(root / "later.zip"))]
    (conflict, nowhere), (_, accepted) = check_all(candidates, root, board)
    assert nowhere is None and not conflict.passed
    assert conflict.rules() == {"D001"} and "other content" in conflict.text()
    assert accepted == board / "mymethod" / "v7"
    after = {p: p.read_bytes() for p in board.rglob("*") if p.is_file() and accepted not in p.parents}
    assert after == before


def test_another_submission_of_a_version_is_refused_and_the_same_is_not(tmp_path: Path) -> None:
    path, board = taken(fresh("few_shot"), tmp_path)
    before = {p: p.read_bytes() for p in board.rglob("*") if p.is_file()}
    list(check_all([Candidate(path)], tmp_path, board))
    assert {p: p.read_bytes() for p in board.rglob("*") if p.is_file()} == before
    other = fresh("few_shot")
    other.of("k16").frame = nudged(other.of("k16").frame)
    other.derive()
    check_is_a_conflict(other.write(tmp_path / "b.zip"), tmp_path, board)


@pytest.mark.slow
def test_the_time_of_acceptance_stays_with_the_submission_and_its_copies(tmp_path: Path) -> None:
    """Not with the files' times, which a clone of the board does not keep, and not with what records state."""
    path = fresh("few_shot").write(tmp_path / "a.zip")
    folder = accept(check(path), tmp_path / "board", now="2026-02-01T00:00:00+00:00")
    assert acceptance_times(tmp_path / "board") == {folder: "2026-02-01T00:00:00+00:00"}
    accept(check(path), tmp_path / "board", now="2027-01-01T00:00:00+00:00")
    assert acceptance_times(tmp_path / "board") == {folder: "2026-02-01T00:00:00+00:00"}
    shutil.copytree(tmp_path / "board", tmp_path / "clone" / "deeper")
    ((copied, time),) = acceptance_times(tmp_path / "clone").items()
    assert time == "2026-02-01T00:00:00+00:00" and copied.name == "v1"


@pytest.mark.slow
def test_a_submission_is_accepted_now(tmp_path: Path) -> None:
    before = datetime.now(UTC).isoformat(timespec="seconds")
    taken(fresh("few_shot"), tmp_path)
    (time,) = acceptance_times(tmp_path / "board").values()
    assert before <= time <= datetime.now(UTC).isoformat(timespec="seconds")


@pytest.mark.parametrize("content", ["{}", '{"accepted": 5}', "not json", '{"accepted": ""}'])
def test_an_acceptance_without_a_time_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "m" / "v1").mkdir(parents=True)
    (tmp_path / "m" / "v1" / "acceptance.json").write_text(content)
    with pytest.raises(UserError, match=r"acceptance\.json"):
        acceptance_times(tmp_path)


@pytest.mark.slow
def test_the_same_files_under_another_name_are_another_submission(tmp_path: Path) -> None:
    made = fresh("few_shot")
    files = made.files()
    taken(made, tmp_path)
    seal(tmp_path / "b.zip", files, {**made.manifest, "submitter": "Somebody else"})
    check_is_a_conflict(tmp_path / "b.zip", tmp_path, tmp_path / "board")


def test_what_was_taken_over_packs_into_the_same_records(tmp_path: Path) -> None:
    path, board = taken(fresh("few_shot"), tmp_path)
    folder = board / "mymethod" / "v1"
    for number, fit in enumerate(sorted((folder / "fits").glob("*.json"))):
        target = board / "fits" / str(number) / "fit.json"
        target.parent.mkdir(parents=True)
        target.write_bytes(fit.read_bytes())
    pack(board, Choice("mymethod"), tmp_path / "again.zip")
    first, again = check(path).submission, check(tmp_path / "again.zip").submission
    names = [name for name in again.hashes if name.startswith("records/")]
    assert names and {n: first.hashes[n] for n in names} == {n: again.hashes[n] for n in names}


def test_nothing_that_is_refused_is_taken_over(tmp_path: Path) -> None:
    made = fresh("few_shot")
    made.change(lambda record: record["overlap"].update(train_videos=3))
    path = made.write(tmp_path / "a.zip")
    ((checked, folder),) = check_all([Candidate(path)], tmp_path, tmp_path / "board")
    assert folder is None and not (tmp_path / "board").exists()
    with pytest.raises(UserError, match="refused"):
        accept(checked, tmp_path / "board")


@pytest.mark.slow
def test_a_warning_is_a_remark_of_its_record_and_shown_on_the_board(tmp_path: Path) -> None:
    from reports.site import build_report

    made = fresh("few_shot")
    made.change(lambda record: record["environment"]["git"].update(dirty=True))
    made.derive()
    _, board = taken(made, tmp_path)
    for path in find_records(board):
        (remark,) = read_record(path).remarks
        assert remark.startswith("W011")
    assert "W011" in build_report(board, tmp_path / "site").index.read_text()


def test_a_folder_of_submissions_is_checked_one_by_one(tmp_path: Path) -> None:
    _, board = taken(fresh("few_shot"), tmp_path)
    assert submissions_below(board) == [Candidate(board / "mymethod" / "v1", "mymethod/v1")]
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README.md").write_text("none yet")
    assert submissions_below(tmp_path / "empty") == []
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "model.pth").write_bytes(b"x")
    assert submissions_below(tmp_path / "odd") == [Candidate(tmp_path / "odd")]


def extract(made: Forge, folder: Path) -> Path:
    """A submission as a folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(made.write(folder.with_name("made.zip"))) as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.slow
def test_a_folder_of_another_name_is_refused_and_the_next_is_accepted(tmp_path: Path) -> None:
    """`aaa/v1` states the method `mymethod`, which another folder holds with other content."""
    other = fresh("few_shot")
    other.of("k16").frame = nudged(other.of("k16").frame)
    other.derive()
    extract(other, tmp_path / "submissions" / "aaa" / "v1")
    extract(fresh("few_shot"), tmp_path / "submissions" / "mymethod" / "v1")
    found = list(check_all(submissions_below(tmp_path / "submissions"), tmp_path, tmp_path / "board"))
    assert [(checked.rules(), bool(folder)) for checked, folder in found] == [({"D004"}, False), (set(), True)]


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 1, 5, 8])
def test_a_failed_acceptance_leaves_nothing(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fresh("few_shot").write(tmp_path / "a.zip")
    checked = check(path)
    count = iter(range(100))

    def full(target: Path, data: bytes) -> None:
        if next(count) == at:
            raise OSError(28, "No space left on device", str(target))
        write_bytes(target, data)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr("results.submission.accept.write_bytes", full)
        accept(checked, tmp_path / "board")
    assert not [p for p in (tmp_path / "board").rglob("*") if p.name != "board"]
    assert accept(checked, tmp_path / "board").is_dir()


@pytest.mark.slow
def test_an_acceptance_that_was_killed_is_removed_by_the_next(tmp_path: Path) -> None:
    torn = tmp_path / "board" / "mymethod" / ".v1-abc.part"
    (torn / "records").mkdir(parents=True)
    (torn / "records" / "a.predictions.csv.gz").write_bytes(b"half")
    taken(fresh("few_shot"), tmp_path)
    assert not torn.exists()


@pytest.mark.slow
def test_the_bytes_that_were_hashed_are_checked_and_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a folder that change after their first read, back and forth: the first content counts."""
    folder = extract(fresh("few_shot"), tmp_path / "mine")
    reads: dict[str, int] = {}
    plain = Entry.read

    def swapping(entry: Entry) -> bytes:
        data = plain(entry)
        path = folder / entry.name
        reads[entry.name] = reads.get(entry.name, 0) + 1
        if path.suffix == ".json" and reads[entry.name] == 1:
            path.write_bytes(data.replace(b'"top1": ', b'"top1":1'))
        return data

    monkeypatch.setattr(Entry, "read", swapping)
    checked = check(folder)
    assert checked.passed, checked.text()
    accept(checked, tmp_path / "board")
    expected = {p.name: read_record(p).metrics for p in find_records(unpacked(fresh("few_shot"), tmp_path / "honest"))}
    assert {p.name: read_record(p).metrics for p in find_records(tmp_path / "board")} == expected
