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

SECONDARY = frozenset({
    "other classes with more than the fifth probability", "other options than the key's",
    "class names of a fit changed under the old hash", "other precision than the fit", "a million updates",
    "measured soon", "code address that runs code", "engine of the future", "leakage check against another list",
    "origin with a blank behind it", "tiny CLIP of a larger input", "unknown option of a built-in method",
    "trained built-in method without a fit", "built-in method of a version that does not exist",
    "weights of another architecture", "record of an older version", "labels moved, with all hashes",
    "novel list scored with the names of the base classes", "parent fit that starts from a file", "title of blanks",
    "title with a letter of another script", "sample of the list", "training that nobody knows",
    "built-in method that calls another recipe declared", "evaluation that the protocol does not have",
    "base of a fit of another seed than novel and joint", "scope of other evaluation lists",
})  # fmt: skip
"""Cases that are slow although they are among the first two of their rule: another default case has the same rule."""


def cases() -> list[Any]:
    seen: Counter[str] = Counter()
    found = []
    for name, (rule, _) in CASES.items():
        seen[rule] += 1
        found.append(pytest.param(name, marks=[pytest.mark.slow] if seen[rule] > OFTEN or name in SECONDARY else []))
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
