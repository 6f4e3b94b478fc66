"""Plausibility: each warning is raised by what it is meant for, and none of them refuses."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from harness.base.canonical import labels_sha256
from harness.data.official.cards import load_card
from harness.submitting.benchmark_facts import pair_facts
from results.predictions import ID_COLUMNS, PROBABILITY_COLUMNS
from results.submission.copies import KnownTables
from results.submission.rules import RULES
from tests.results.submission.corrupted import fresh
from tests.results.submission.forge import Forge, Item, forge
from tests.results.submission.forged_tables import table
from tests.results.submission.installed_facts import check


def _permuted(made: Forge) -> None:
    """Two neighbouring classes taken for each other, as with a label file in another order."""
    for index in (1, 2, 3):
        frame = made.of("novel", index).frame
        ids = frame[ID_COLUMNS].to_numpy()
        swapped = np.where(ids == 0, 1, np.where(ids == 1, 0, ids))
        label = frame["label"].to_numpy()
        right = np.isin(label, [0, 1]) & (ids[:, 0] == label)
        frame[ID_COLUMNS] = np.where(right[:, None], swapped, ids)


def _rolled(made: Forge) -> None:
    """All ids off by one: below chance on the novel classes."""
    for index in (1, 2, 3):
        frame = made.of("novel", index).frame
        ids = frame[ID_COLUMNS].to_numpy()
        frame[ID_COLUMNS] = np.where(ids >= 0, (ids + 1) % 12, ids)


def _same_accuracy(made: Forge) -> None:
    for index in (2, 3):
        frame = made.of("base", index).frame
        first = made.of("base", 1).frame
        hits = (first["id1"] == first["label"]).to_numpy()
        others = np.argsort(-np.random.default_rng(index).random((len(frame), 12)), axis=1)
        label = frame["label"].to_numpy()
        ids = np.array([[y, *[o for o in row if o != y]][:5] if hit else [o for o in row if o != y][:5]
                        for row, y, hit in zip(others, label, hits, strict=True)])  # fmt: skip
        frame[ID_COLUMNS] = ids


def _falling(made: Forge) -> None:
    low, high = made.of("k2"), made.of("k16")
    low.frame, high.frame = high.frame, low.frame


def _constant(made: Forge) -> None:
    made.of("novel").frame[PROBABILITY_COLUMNS] = [0.9, 0.05, 0.03, 0.01, 0.01]


def _undecodable(made: Forge) -> None:
    frame = made.of("novel").frame
    frame.loc[:11, ID_COLUMNS], frame.loc[:11, PROBABILITY_COLUMNS] = -1, 0.0


def _perfect(made: Forge) -> None:
    for index in (1, 2, 3):
        frame = made.of("base", index).frame
        ids, label = frame[ID_COLUMNS].to_numpy(), frame["label"].to_numpy()
        rest = [[i for i in row if i != y][:4] for row, y in zip(ids, label, strict=True)]
        frame[ID_COLUMNS] = np.column_stack([label, rest])


def _published_recipe(made: Forge) -> None:
    def publish(fit: dict) -> None:
        for recipe in ("recipe", "declared"):
            fit["described"]["training"][recipe].update(source="table 7 of a paper")

    made.refit(publish)


CASES: dict[str, tuple[str, Callable[[Forge], None]]] = {
    "W001": ("b2n", _permuted), "W002": ("b2n", _rolled), "W003": ("b2n", _same_accuracy),
    "W005": ("few_shot", _falling), "W006": ("b2n", _perfect), "W007": ("b2n", _undecodable),
    "W012": ("b2n", _published_recipe), "W009": ("b2n", _constant),
    "W011": ("b2n", lambda made: made.change(lambda record: record["environment"]["git"].update(dirty=True))),
}  # fmt: skip
ALONG = {"W002": {"W001"}, "W006": {"W003"}}
"""Every class is at zero where all labels are off by one; three perfect repeats have no spread."""


@pytest.mark.parametrize("rule", CASES)
def test_a_warning_is_raised_and_does_not_refuse(rule: str, tmp_path: Path) -> None:
    protocol, edit = CASES[rule]
    made = fresh(protocol)
    edit(made)
    made.derive()
    checked = check(made.write(tmp_path / "a.zip"))
    assert checked.passed, checked.text()
    assert {finding.rule for finding in checked.findings} == {rule} | ALONG.get(rule, set())


def test_a_label_order_bug_names_the_classes_that_are_swapped(tmp_path: Path) -> None:
    made = fresh()
    _permuted(made)
    made.derive()
    names = made.of("novel").record["classes"]
    found = check(made.write(tmp_path / "a.zip")).findings[0].found
    assert "2 of 12 classes" in found and f"{names[0]!r} as {names[1]!r}" in found


def test_predictions_of_another_row_on_the_board_are_noticed(tmp_path: Path) -> None:
    made = fresh("few_shot")
    path = made.write(tmp_path / "a.zip")
    tables = [m.table for m in check(path).submission.measured]
    copied = check(path, known=known_as("theirs/v1", tables))
    assert copied.passed and {f.rule for f in copied.findings} == {"W004"}
    assert not check(path, known=known_as("mymethod/v1", tables)).findings


def known_as(owner: str, tables: Iterable[bytes]) -> KnownTables:
    known = KnownTables()
    for text in tables:
        known.add(owner, text)
    return known


def test_predictions_of_another_row_of_the_submission_are_noticed(tmp_path: Path) -> None:
    made = fresh("few_shot")
    other = copy.deepcopy(made)
    other.refit(lambda fit: fit["described"]["method"]["options"].update(width=8))
    for number, fit in enumerate(other.fits.values()):
        fit["weights"]["sha256"] = f"{number + 1:064x}"
    other.weights = {}
    other.refit(lambda fit: None)
    made.add(other)
    checked = check(made.write(tmp_path / "a.zip"))
    assert checked.passed, checked.text()
    assert {f.rule for f in checked.findings} == {"W004"}


def _official(dataset: str, accuracy: float) -> Forge:
    """Records that claim to be base-to-novel on an official dataset; the videos are made up."""
    made = fresh()
    facts = pair_facts("b2n", dataset)
    assert facts is not None
    names = {part: load_card(dataset).labels(part).names for part in ("base", "novel", "all")}
    for item in made.items:
        part = item.m["protocol"]["part"]
        classes = names["all" if part == "joint" else part]
        labels = [label for label in range(len(classes)) for _ in range(20)]
        videos = [f"{part}{number}.avi" for number in range(len(labels))]
        item.m["evaluation"]["list"]["dataset"] = dataset
        item.record |= {"classes": list(classes), "embedded": False}
        item.record["overlap"] |= {"seen_classes": []}
        index = item.m["protocol"]["repeat"]["index"]
        item.frame = table(videos, labels, len(classes), accuracy - index / 50, (part, index))
    made.derive()
    return made


@pytest.mark.parametrize(("accuracy", "expected"), [(0.97, True), (0.5, False)])
def test_a_score_above_all_published_ones_is_too_good(accuracy: float, expected: bool, tmp_path: Path) -> None:
    checked = check(_official("hmdb51", accuracy).write(tmp_path / "a.zip"))
    novel = [f for f in checked.findings if f.rule == "W006" and f.where.endswith("novel")]
    assert bool(novel) == expected
    assert not expected or "the best published" in novel[0].expected
    assert "P003" in checked.rules()  # made-up videos are not the published list


def test_a_training_list_without_a_pinned_hash_is_said_to_be_unchecked(tmp_path: Path) -> None:
    facts = pair_facts("zero_shot", "ucf101")
    assert facts is not None and facts.lists["k400", "train"].sha256 == ""
    names = facts.labels["k400", "all", "published"]
    made = forge("zero_shot")

    def official(item: Item) -> None:
        listed = item.m["evaluation"]["list"]
        classes = facts.labels["ucf101", "all", "published"]
        labels = [label for label in range(len(classes)) for _ in range(5)]
        item.frame = table([f"v{i}.avi" for i in range(len(labels))], labels, len(classes), 0.6, listed["name"])
        listed |= {"dataset": "ucf101", "content": ""}
        item.record |= {"classes": list(classes), "embedded": False}

    for item in made.items:
        official(item)
    of_k400 = {"dataset": "k400", "content": ""}
    made.refit(lambda fit: (fit["described"]["training"]["list"].update(of_k400), _of_k400(fit, names)))
    made.derive()
    checked = check(made.write(tmp_path / "a.zip"))
    assert "W010" in {f.rule for f in checked.findings} and "P005" not in checked.rules()


def _of_k400(fit: dict, names: tuple[str, ...]) -> None:
    fit["classes"] = list(names)
    fit["described"]["training"]["list"]["labels_sha256"] = labels_sha256(names)


def test_every_warning_has_a_case() -> None:
    warnings = {id for id, rule in RULES.items() if rule.is_warning}
    assert warnings == set(CASES) | {"W004", "W010"}
