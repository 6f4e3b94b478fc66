"""Every damaged or dishonest submission is refused, and by exactly the rule that is meant for it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from results.submission.rules import RULES
from tests.results.submission.all_corrupted import CASES
from tests.results.submission.installed_facts import check

OFTEN = 2
"""Cases of a rule that run by default; further ones are slow only in that there are many."""


def cases() -> list[Any]:
    seen: Counter[str] = Counter()
    found = []
    for name, (rule, _) in CASES.items():
        seen[rule] += 1
        found.append(pytest.param(name, marks=[pytest.mark.slow] if seen[rule] > OFTEN else []))
    return found


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", cases())
def test_it_is_refused_by_the_rule_meant_for_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule, make = CASES[name]
    path = make(tmp_path)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = sorted(tmp_path.rglob("*"))
    checked = check(path)
    assert not checked.passed
    assert checked.rules() == {rule}, checked.text()
    assert sorted(tmp_path.rglob("*")) == before, "a check writes nothing"
    assert checked.as_dict()["errors"] >= 1 and rule in checked.text()


def test_there_are_enough_cases_and_every_refusing_rule_has_one() -> None:
    assert len(CASES) >= 40
    covered = {rule for rule, _ in CASES.values()}
    refusing = {id for id, rule in RULES.items() if not rule.is_warning and id[0] != "D"}
    assert refusing - covered == {"F999"}  # a fault of the checker itself: planted in test_check.py
