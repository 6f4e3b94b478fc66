from __future__ import annotations

import random
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.statistics.drop_last import drop_last, dropped_videos
from tests.conftest import in_process
from tests.results.factories import write_sample


@pytest.mark.parametrize(
    ("videos", "eight", "four", "one"),
    [
        (1530, 6, 2, 0), (3783, 7, 1, 1), (3734, 6, 2, 0), (3696, 0, 0, 0), (14084, 4, 4, 0), (13978, 6, 2, 0),
        (14136, 8, 0, 0), (19877, 5, 3, 1), (24777, 7, 1, 1), (9944, 8, 0, 0), (9933, 3, 3, 1), (780, 4, 4, 0),
        (750, 2, 2, 0), (2088, 8, 0, 0), (1695, 1, 1, 1), (17562, 6, 2, 0), (7215, 1, 1, 1),
    ],
)  # fmt: skip
def test_the_published_lists_lose_what_was_counted(videos: int, eight: int, four: int, one: int) -> None:
    assert [dropped_videos(videos, ranks) for ranks in (8, 4, 1)] == [eight, four, one]


def test_the_spread_is_that_of_random_choices() -> None:
    found = drop_last(390, 780)
    assert (found.dropped, round(found.spread, 2), round(100 * 4 / 780, 2)) == (4, 0.13, 0.51)
    rng, answers = random.Random(1), [True] * 390 + [False] * 390
    rates = [100 * statistics.fmean(rng.sample(answers, 776)) for _ in range(3000)]
    assert statistics.pstdev(rates) == pytest.approx(found.spread, rel=0.1)
    assert found.low <= min(rates) and max(rates) <= found.high


@given(st.integers(1, 400), st.integers(0, 400), st.integers(1, 16))
def test_any_counts_give_an_interval_round_the_accuracy(videos: int, correct: int, ranks: int) -> None:
    found = drop_last(min(correct, videos), videos, ranks)
    assert 0 <= found.dropped <= min(ranks, videos)
    if found.dropped < videos:
        assert 0 <= found.low <= found.top1 + 1e-9 and found.top1 - 1e-9 <= found.high <= 100


def test_score_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part in ("base", "novel", "joint"):
        write_sample(tmp_path, part=part, videos=84)
    assert in_process("score", tmp_path, "--drop-last", 8) == 0
    out = capsys.readouterr().out
    assert "videos left out, top-1" in out and out.endswith("3 records recomputed, 0 findings\n")
    assert in_process("score", tmp_path, "--drop-last", 0) == 2
