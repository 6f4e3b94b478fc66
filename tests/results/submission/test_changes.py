"""What a pull request may change: new versions only, checked as they are in the commit."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.submitting.check_folder import check_changes
from results.submission.contents import printable
from results.submission.summary import summary
from tests.conftest import in_process
from tests.results.submission.corrupted import fresh
from tests.results.submission.forge import Forge


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    return subprocess.run([*command, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def put(repository: Path, made: Forge, place: str = "mymethod/v2") -> Path:
    """A submission unpacked below `submissions/`."""
    folder = repository / "submissions" / place
    path = made.write(repository.parent / "made.zip")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return folder


def commit(repository: Path) -> str:
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "change")
    return git(repository, "rev-parse", "HEAD")


def version(number: int = 3) -> Forge:
    made = fresh("few_shot")
    made.refit(lambda fit: fit["described"]["method"].update(version=number))
    return made


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A board's repository with one submission."""
    folder = tmp_path / "board"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "README.md").write_text("board\n")
    put(folder, version(2), "mymethod/v2")
    commit(folder)
    return folder


def rules(repository: Path, change: Callable[[Path], object]) -> tuple[set[str], set[str], list[str]]:
    """D rules, other refusing rules, and new submissions, after a change is committed."""
    base = git(repository, "rev-parse", "HEAD")
    change(repository)
    made, checked = check_changes(repository, base, commit(repository))
    refusing = {rule for one in checked for rule in one.rules()}
    return {f.rule for f in made.findings}, refusing, [one.submission.name for one in checked]


def test_a_new_version_and_a_new_method_are_welcome(repository: Path) -> None:
    assert rules(repository, lambda r: put(r, version(), "mymethod/v3")) == (set(), set(), ["mymethod/v3"])


@pytest.mark.slow
def test_other_changes_alone_are_named_and_left_to_a_maintainer(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = git(repository, "rev-parse", "HEAD")
    (repository / "README.md").write_text("better\n")
    (repository / ".github" / "workflows").mkdir(parents=True)
    (repository / ".github" / "workflows" / "submission.yml").write_text("jobs: {}\n")
    _reproduction(repository)
    made, checked = check_changes(repository, base, commit(repository))
    assert not made.findings and not checked
    expected = (".github/workflows/submission.yml", "README.md", "results/reproductions/mymethod-v3.json")
    assert made.outside == expected
    summary_file = repository.parent / "summary.md"
    assert in_process("submit", "diff", base, "HEAD", "--repository", repository, "--summary", summary_file) == 0
    out = capsys.readouterr().out
    assert all(path in out for path in expected)
    assert "a maintainer reviews it: README.md" in summary_file.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("attribute", ["export-ignore", "export-subst", "binary", "-diff", "filter=x", "text eol=crlf"])
def test_attributes_of_the_pull_request_hide_nothing(repository: Path, attribute: str) -> None:
    """`git archive` would leave out or change the files that `.gitattributes` names."""
    base = git(repository, "rev-parse", "HEAD")
    folder = put(repository, version(), "mymethod/v3")
    (folder / "records" / "notes.txt").write_text("$Format:%H$")
    (folder / ".gitattributes").write_text(f"* {attribute}\n")
    made, checked = check_changes(repository, base, commit(repository))
    assert not made.findings
    (only,) = checked
    named = {finding.where for finding in only.findings if finding.rule == "F006"}
    assert {".gitattributes", "records/notes.txt"} <= named
    # Git itself changes line ends in a file that the attribute calls text, which the hashes of the manifest show.
    changed = {"F013", "F015"} if attribute.startswith("text") else set()
    assert {"F006"} <= only.rules() <= {"F006"} | changed and len(only.submission.measured) > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "place", [".gitattributes", "submissions/.gitattributes", "submissions/mymethod/.gitattributes"]
)
def test_attributes_beside_a_submission_are_refused(repository: Path, place: str) -> None:
    def change(repository: Path) -> None:
        put(repository, version(), "mymethod/v3")
        (repository / place).write_text("* -diff export-ignore\n")

    found, _, _ = rules(repository, change)
    assert found == {"D003" if place == ".gitattributes" else "D004"}


@pytest.mark.slow
def test_a_submission_too_large_is_a_finding_and_the_next_is_checked(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = git(repository, "rev-parse", "HEAD")
    put(repository, version(), "mymethod/v3")
    (put(repository, version(4), "mymethod/v4") / "records" / "more.json").write_bytes(b"0" * 3_000_000)
    monkeypatch.setattr("results.submission.changes.MAX_TOTAL", 2_000_000)
    made, checked = check_changes(repository, base, commit(repository))
    assert [(f.rule, f.where) for f in made.findings] == [("F002", "submissions/mymethod/v4")]
    assert [one.submission.name for one in checked] == ["mymethod/v3"]


@pytest.mark.parametrize(
    "text", ["::error title=x::all good", "x  ::add-mask::a", "a ##[error]x", ":::error::", "###[x]"]
)
def test_log_commands_are_escaped_anywhere_in_a_line(text: str) -> None:
    shown = printable(text)
    assert ("::" not in shown and "##[" not in shown and "error" in shown) or "mask" in shown or "x" in shown


CHANGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "number of a record": ("D001", lambda r: _edit(r, "records/*.record.json")),
    "record added to a version that is there": ("D001", lambda r: _copy(r)),
    "record removed": ("D002", lambda r: next((r / "submissions/mymethod/v2/records").glob("*.json")).unlink()),
    "rules beside numbers": ("D003", lambda r: (put(r, version(), "mymethod/v3"), (r / "ci.yml").write_text("x"))),
    "reproduction beside numbers": ("D003", lambda r: (put(r, version(), "mymethod/v3"), _reproduction(r))),
    "archive in place of a folder": ("D004", lambda r: (r / "submissions" / "mine.zip").write_bytes(b"PK")),
    "folder of another method": ("D004", lambda r: put(r, version(), "theirs/v3")),
    "version below the one that is there": ("D005", lambda r: put(r, version(1), "mymethod/v1")),
    "link": ("D006", lambda r: (put(r, version(), "mymethod/v3") / "records" / "x").symlink_to("/etc/passwd")),
    "execute bit": ("D006", lambda r: (put(r, version(), "mymethod/v3") / "card.json").chmod(0o755)),
}


def _edit(repository: Path, pattern: str) -> None:
    path = next((repository / "submissions/mymethod/v2").glob(pattern))
    path.write_text(path.read_text().replace('"eval_seconds": 1.0', '"eval_seconds": 0.5'))


def _copy(repository: Path) -> None:
    path = next((repository / "submissions/mymethod/v2/records").glob("*.record.json"))
    path.with_name("more.record.json").write_bytes(path.read_bytes())


def _reproduction(repository: Path) -> None:
    (repository / "results" / "reproductions").mkdir(parents=True)
    (repository / "results" / "reproductions" / "mymethod-v3.json").write_text("{}")


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_refused_by_its_rule(name: str, repository: Path) -> None:
    rule, change = CHANGES[name]
    found, refusing, _ = rules(repository, change)
    inside = {"F003", "F006", "F007"} if rule == "D006" else set()  # the submission itself is refused for it too
    assert (found | refusing) - inside == {rule}


def test_the_commit_counts_and_not_the_work_tree(repository: Path) -> None:
    base = git(repository, "rev-parse", "HEAD")
    made = version()
    made.of("k16").record["metrics"]["top1"] += 1.0
    folder = put(repository, made, "mymethod/v3")
    head = commit(repository)
    for file in folder.rglob("*.record.json"):
        file.unlink()
    _, checked = check_changes(repository, base, head)
    assert checked[0].rules() == {"A007"}


def test_the_summary_escapes_what_it_quotes(repository: Path) -> None:
    base = git(repository, "rev-parse", "HEAD")
    made = version()
    made.of("k16").record["classes"][0] = "<img src=x> | [a](b)"
    put(repository, made, "mymethod/v3")
    text = summary(*check_changes(repository, base, commit(repository)))
    assert "refused" in text and "A014" in text and "<img" not in text


def test_a_commit_that_is_not_there_is_named(repository: Path) -> None:
    with pytest.raises(UserError, match="git diff"):
        check_changes(repository, "0" * 40, "HEAD")


@pytest.mark.slow
@pytest.mark.parametrize(("author", "place", "expected"), [
    ("alice", "mymethod/v3", set()), ("Alice", "mymethod/v3", set()), ("mallory", "mymethod/v3", {"D007"}),
    ("mallory", "my-method/v1", {"D007"}), ("", "mymethod/v3", set()),
])  # fmt: skip
def test_a_name_belongs_to_its_first_submitter(author: str, place: str, expected: set[str], repository: Path) -> None:
    """The owners of the base commit count, not those of the pull request."""
    (repository / "owners.json").write_text('{"mymethod": "alice"}')
    base = commit(repository)
    put(repository, version(), place)
    (repository / "owners.json").write_text('{"mymethod": "mallory"}')
    made, _ = check_changes(repository, base, commit(repository), author)
    assert {finding.rule for finding in made.findings} - {"D003", "D004"} == expected
    assert "D003" in {finding.rule for finding in made.findings}


@pytest.mark.slow
@pytest.mark.parametrize("text", ["[]", "{", '{"a": 1}', '{"a": ""}'])
def test_damaged_owners_are_named(text: str, repository: Path) -> None:
    (repository / "owners.json").write_text(text)
    base = commit(repository)
    put(repository, version(), "mymethod/v3")
    with pytest.raises(UserError, match=r"owners\.json"):
        check_changes(repository, base, commit(repository), "alice")
