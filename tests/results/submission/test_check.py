"""What a check says: all problems at once, in words with a way out, and as data; its own faults refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from results.submission.check import check_submission
from results.submission.contents import Entry, open_contents
from results.submission.facts import Facts
from results.submission.rules import GROUPS, RULES
from tests.results.submission.corrupted import fresh
from tests.results.submission.installed_facts import check


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    made = fresh()
    made.of("novel").record["metrics"]["top1"] += 1.0
    made.of("base", 2).record["metrics"]["top5"] -= 1.0
    made.change(lambda record: (record["overlap"].update(train_videos=2), record.update(status="verified")))
    checked = check(made.write(tmp_path / "a.zip"))
    assert checked.rules() == {"A007", "P009", "P015"}
    assert sum(f.rule == "A007" for f in checked.findings) == 2


def test_a_finding_says_what_was_found_expected_why_and_the_way_out(tmp_path: Path) -> None:
    made = fresh()
    made.of("novel").record["metrics"]["top1"] = 99.5
    checked = check(made.write(tmp_path / "a.zip"))
    (finding,) = checked.as_dict()["findings"]
    assert set(finding) == {"rule", "severity", "where", "found", "expected", "reason", "fix"}
    assert "99.5" in finding["found"] and "novel" in finding["where"] and finding["severity"] == "error"
    text = checked.text()
    assert "reason:" in text and "fix:" in text and "REFUSED" in text
    json.dumps(checked.as_dict(), allow_nan=False)


@pytest.mark.parametrize("module", ["contents", "submission"])
def test_many_files_together_stay_within_memory(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is small enough; the sum is not. The limit is lowered, so that the test need not fill a disk."""
    path = fresh().write(tmp_path / "a.zip")
    size = sum(entry.size for entry in _entries(path)) if module == "contents" else 60_000
    monkeypatch.setattr(f"results.submission.{module}.MAX_TOTAL", size - 1)
    assert check(path).rules() == {"F002"}


def _entries(path: Path) -> list[Entry]:
    with open_contents(path) as contents:
        return [entry for entry in contents.entries.values() if entry.kind != "weights"]


def test_a_fault_of_the_checker_refuses(tmp_path: Path) -> None:
    def broken(_pairs: set[tuple[str, str]]) -> Facts:
        raise RuntimeError("a fault")

    checked = check_submission(fresh().write(tmp_path / "a.zip"), broken)
    assert checked.rules() == {"F999"} and "a fault" in checked.text()


@pytest.mark.parametrize("id", RULES)
def test_a_rule_says_what_it_asks_why_and_the_way_out(id: str) -> None:
    rule = RULES[id]
    assert rule.id == id and id[0] in GROUPS and len(id) == 4
    assert rule.requirement.endswith(".") and rule.reason.endswith(".") and rule.fix
    assert rule.is_warning == (id[0] == "W")
