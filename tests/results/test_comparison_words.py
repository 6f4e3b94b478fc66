"""A comparison answers both questions in one sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from results.compare import compare
from results.comparison_words import Borrowed, sentence
from results.predictions import read_predictions, write_predictions
from results.record import read_record, write_record
from results.row_statistics import PairStatistics
from results.statistics.intervals import Interval
from tests.conftest import in_process
from tests.results.comparisons import ONE, of, write_row
from tests.results.factories import write_sample

PAIR = PairStatistics(
    a="A", b="B", difference=5.0, p=0.001, p_holm=0.001, approximate=False, differing=60, few_sources=False,
    interval=Interval(2.0, 8.0), fits=3, p_again=0.01, p_again_holm=0.01, again=Interval(1.0, 9.0), variance=1e-4,
    fit_variance=1e-5, df=100.0, sources=200.0, known=True,
)  # fmt: skip
AROUND_0 = {"p_holm": 0.3, "interval": Interval(-3.0, 8.0)}


@pytest.mark.parametrize(("changes", "text"), [
    ({}, "A is better on these videos and would be if trained again."),
    ({"difference": -5.0, "interval": Interval(-8.0, -2.0)},
     "B is better on these videos and would be if trained again."),
    ({"p_again_holm": 0.2}, "A's fits are better; 3 fits cannot show that the method is."),
    (AROUND_0, "The gap is no larger than chance of videos explains."),
    ({**AROUND_0, "few_sources": True}, "Too few sources differ to tell."),
    ({"fits": 1, "p_again_holm": None},
     "A's fits are better on these videos. Fits: too few to say whether the method is (one fit)."),
    ({"fits": 2}, "A's fits are better on these videos. Fits: too few to say whether the method is (two fits)."),
    ({"fits": 0, "p_again_holm": None}, "A is better on these videos; nothing is trained."),
    ({"p_holm": None}, "All videos have one source: nothing can be said about other videos."),
    ({"interval": Interval(-0.1, 8.0), "p_again_holm": 0.2},
     "A's fits are better; 3 fits cannot show that the method is. This is borderline: the test and the interval "
     "disagree."),
])  # fmt: skip
def test_each_case_has_its_sentence(changes: dict[str, Any], text: str) -> None:
    assert sentence(replace(PAIR, **changes)) == text


def test_a_borrowed_spread_is_said_to_be_one() -> None:
    pair = replace(PAIR, fits=1, p_again_holm=None)
    text = sentence(pair, Borrowed(Interval(-1.25, 11.25), 4))
    assert text.endswith("If their fits spread as those of the 4 other rows, A - B is between -1.2 and +11.2 points.")


@pytest.mark.slow
def test_fits_that_do_not_differ_hold_and_fits_that_do_cannot_show_it(tmp_path: Path) -> None:
    for name, shift in (("steady", 0.002), ("varied", 0.09)):
        for index in (1, 2, 3):
            accuracy = 0.75 + shift * (index - 2)
            write_sample(tmp_path / name, method="a", part="base", repeat=("train_subset", index), accuracy=accuracy)
            write_sample(tmp_path / name, method="b", part="base", repeat=("train_subset", index), accuracy=0.5)
    (steady,), (varied,) = (
        compare(of(tmp_path / name, "a"), of(tmp_path / name, "b")).parts for name in ("steady", "varied")
    )
    assert steady.sentence == "A is better on these videos and would be if trained again."
    assert steady.fits == 3 and steady.p_again is not None and steady.p_again < 0.05
    assert varied.p is not None and varied.p < 0.05 and varied.p_again is not None
    assert varied.p_again > steady.p_again and varied.interval_again is not None
    assert varied.interval_again.low < steady.interval_again.low  # type: ignore[union-attr]


@pytest.mark.slow
def test_seeds_pair_by_their_index(tmp_path: Path) -> None:
    for method, accuracy, seeds in (("a", 0.8, (1, 2, 3, 4)), ("b", 0.6, (1, 2, 3))):
        for index in seeds:
            write_sample(tmp_path, method=method, repeat=("seed", index), accuracy=accuracy, **ONE)
    (part,) = compare(of(tmp_path, "a"), of(tmp_path, "b")).parts
    assert part.fits == 3 and [one.name for one in part.lists] == [f"val (seed {i})" for i in (1, 2, 3)]


@pytest.mark.slow
def test_one_fit_borrows_the_spread_of_the_other_rows(tmp_path: Path) -> None:
    write_sample(tmp_path, method="a", accuracy=0.8, **ONE)
    write_sample(tmp_path, method="b", accuracy=0.5, **ONE)
    (alone,) = compare(of(tmp_path, "a"), of(tmp_path, "b")).parts
    assert alone.borrowed is None and alone.fits == 1 and alone.p_again is None
    assert "Fits: too few to say" in alone.sentence
    for index, accuracy in enumerate((0.55, 0.6, 0.65), start=1):
        write_sample(tmp_path, method="seeds", accuracy=accuracy, repeat=("seed", index), **ONE)
    (part,) = compare(of(tmp_path, "a"), of(tmp_path, "b")).parts
    assert part.borrowed is not None and part.borrowed.rows == 1 and part.interval is not None
    assert part.borrowed.interval.low < part.interval.low and part.borrowed.interval.high > part.interval.high
    assert "If their fits spread as those of the other row" in part.sentence and part.p_again is None
    # A row with one fit is paired with every fit of the other row, and still says nothing about another training.
    (mixed,) = compare(of(tmp_path, "seeds"), of(tmp_path, "b")).parts
    assert len(mixed.lists) == 3 and mixed.fits == 1 and mixed.p_again is None


def with_clusters(folder: Path) -> None:
    """Name a source for each five videos of all predictions of a folder."""
    for path in folder.rglob("*.record.json"):
        record = read_record(path)
        file = path.with_name(record.predictions.file)
        frame = read_predictions(file)
        frame["cluster"] = [f"film {int(v) // 5}" for v in np.arange(len(frame))]
        sha = write_predictions(file, frame)
        write_record(path, replace(record, predictions=replace(record.predictions, sha256=sha)))


@pytest.mark.slow
def test_the_command_prints_both_questions_and_the_sources(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for method, accuracy in (("a", 0.8), ("b", 0.5)):
        write_row(tmp_path, ("base",), method=method, accuracy=accuracy)
    assert in_process("compare", "a", "b", "--runs", tmp_path) == 0
    out = capsys.readouterr().out
    assert "OTHER VIDEOS" in out and "TRAINED AGAIN" in out and "unknown" in out
    assert "Sources are unknown here; every video counts on its own, and the interval may be too short." in out
    assert "b2n/mini_target/base: A is better on these videos and would be if trained again." in out
    plain = compare(of(tmp_path, "a"), of(tmp_path, "b")).parts[0]
    with_clusters(tmp_path)
    assert in_process("compare", "a", "b", "--runs", tmp_path, "--json") == 0
    (part,) = json.loads(capsys.readouterr().out)["parts"]
    assert part["clusters"] == 24 and part["videos"] == 120 == plain.clusters
    assert set(part) >= {"sentence", "p", "p_holm", "p_again", "p_again_holm", "interval", "interval_again", "borrowed"}
    statistics = part["statistics"]
    assert set(statistics) >= {"variance", "fit_variance", "df", "sources", "known", "differing"}
    assert statistics["known"]
