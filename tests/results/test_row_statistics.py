"""Statistics of cells and pairs as they are printed: fits, sources, and rows that cannot be told apart."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest

from results.frame_designs import designs_of
from results.list_videos import ListVideos, VideoIds, list_weights
from results.outcomes import Outcome
from results.predictions import COLUMNS
from results.row_samples import Design, RowSample, Scored, harmonic_sample, row_sample
from results.row_statistics import cell_statistics, pair_statistics
from results.statistics.intervals import cell_interval


def design(videos: int = 120, classes: int = 6, clustered: bool = True, first: int = 0) -> Design:
    ids = np.arange(videos) + 1000 * first
    return Design(ListVideos(np.arange(videos) % classes, ids // 5 if clustered else ids, ids, clustered))


def sample(seed: int, share: float, fits: tuple[str, ...], designs: list[Design]) -> RowSample:
    rng = np.random.default_rng(seed)
    scored = [
        Scored(i, fit, d, rng.random(d.clustered.videos) < share)
        for i, (fit, d) in enumerate(zip(fits, designs, strict=True), start=1)
    ]
    return row_sample(scored)


def test_repeats_of_one_fit_are_no_fits() -> None:
    """Three test splits of one fit show how lists differ, and nothing of another training."""
    lists = [design(first=i) for i in range(3)]
    one, three, untrained = (sample(1, 0.6, fits, lists) for fits in (("a",) * 3, ("a", "b", "c"), ("",) * 3))
    assert (one.fits, three.fits, untrained.fits) == (1, 3, 0)
    for row in (one, untrained):
        found = cell_statistics(row)
        assert found is not None and found.again is None and found.fit_variance is None
    found = cell_statistics(three)
    assert found is not None and found.again is not None and found.again.low <= found.other.low


def test_unknown_sources_are_said_so_and_known_ones_lengthen_the_interval() -> None:
    unknown, known = (cell_statistics(sample(1, 0.6, ("a",), [design(clustered=c)])) for c in (False, True))
    assert unknown is not None and known is not None
    assert not unknown.known and unknown.other == unknown.plain and unknown.longer == 1.0
    assert known.known and known.plain == unknown.plain and known.sources < unknown.sources
    assert known.longer == pytest.approx((known.other.high - known.other.low) / (known.plain.high - known.plain.low))


def test_one_source_has_no_interval() -> None:
    one = Design(ListVideos(np.arange(8) % 2, np.zeros(8, dtype=np.int64), np.arange(8), True))
    rows = [sample(seed, 0.5, ("a",), [one]) for seed in (1, 2)]
    assert cell_statistics(rows[0]) is None
    pair = pair_statistics(rows[0], rows[1])
    assert pair.p is None and pair.interval is None and not pair.few_sources


def test_a_pair_needs_two_fits_on_each_trained_side() -> None:
    shared = design()
    three = sample(1, 0.7, ("a", "b", "c"), [shared] * 3)
    other = sample(2, 0.6, ("d", "e", "f"), [shared] * 3)
    single, untrained = sample(3, 0.5, ("g",), [shared]), sample(4, 0.5, ("",), [shared])
    assert [pair_statistics(three, b).fits for b in (other, single, untrained)] == [3, 1, 3]
    assert [pair_statistics(three, b).p_again is None for b in (other, single, untrained)] == [False, True, False]
    both = pair_statistics(untrained, sample(5, 0.5, ("",), [shared]))
    assert both.fits == 0 and both.p_again is None


def test_turned_pairs_have_the_other_sign() -> None:
    shared = design()
    a, b = (sample(seed, share, ("a", "b", "c"), [shared] * 3) for seed, share in ((1, 0.8), (2, 0.5)))
    one, other = pair_statistics(a, b, ("a", "b")), pair_statistics(b, a, ("b", "a")).turned
    assert one.difference == pytest.approx(other.difference) and one.interval == pytest.approx(other.interval)
    assert (one.a, one.p, one.again) == (other.a, other.p, pytest.approx(other.again))


def test_few_differing_sources_cannot_tell() -> None:
    shared = design(40, 2)
    a = np.ones(40, dtype=bool)
    b = a.copy()
    b[:5] = False  # all videos of one source
    rows = [row_sample([Scored(1, name, shared, right)]) for name, right in (("a", a), ("b", b))]
    pair = pair_statistics(*rows)
    assert pair.differing == 1 and pair.p == 1.0 and pair.few_sources


def test_harmonic_means_share_sources_of_both_columns() -> None:
    lists = design(), design(60, 4, first=1)
    rows = []
    for seed in (1, 2):
        base = sample(seed, 0.9, ("a", "b", "c"), [lists[0]] * 3)
        novel = sample(seed, 0.6, ("a", "b", "c"), [lists[1]] * 3)
        rows.append(harmonic_sample(base, novel))
        assert base.row.scores.mean > novel.row.scores.mean
    assert rows[0] is not None and rows[1] is not None
    found = cell_statistics(rows[0])
    assert found is not None and found.again is not None and found.other == cell_interval(rows[0].row.scores)
    pair = pair_statistics(rows[0], rows[1])
    assert pair.fits == 3 and 0 < pair.p <= 1 and pair.interval is not None


def test_lists_of_different_lengths_count_equally() -> None:
    assert list_weights([3783, 3734, 3696]) == [1, 1, 1]
    assert list_weights([20, 200]) == [10, 1] and list_weights([7]) == [1]


def _subset(ids: VideoIds, names: str, first: int, clustered: bool = False) -> Design:
    """A list of 40 videos of four classes with ids from 0."""
    lines = [f"v{first + i},{i % 4}" + "," * 10 + (f"s{first + i // 4}" if clustered else "") for i in range(40)]
    data = gzip.compress("\n".join([",".join(COLUMNS), *lines, ""]).encode())
    labels = np.arange(40, dtype=np.int64) % 4
    return Design(ids.of(Outcome(labels == 0, labels, clustered, data), tuple(names)))


@pytest.mark.parametrize("clustered", [False, True])
def test_classes_of_two_label_sets_are_different_strata_though_ids_start_at_0(clustered: bool) -> None:
    ids = VideoIds()
    first, other, overlapping = (
        _subset(ids, names, 100 * i, clustered) for i, names in enumerate(("abcd", "efgh", "dabz"))
    )
    assert sample(1, 0.6, ("f", "f"), [first, other]).row.scores.strata == 8
    assert sample(1, 0.6, ("f", "f"), [first, overlapping]).row.scores.strata == 5
    assert sample(1, 0.6, ("f", "f"), [first, first]).row.scores.strata == 4
    base, novel = sample(1, 0.6, ("f", "f"), [first, overlapping]), sample(2, 0.5, ("f", "f"), [other, other])
    both = harmonic_sample(base, novel)
    assert both is not None and both.row.scores.strata == 9
    scores = both.row.scores
    squares = scores.shares**2
    rule = (1 - 9 / len(scores.clusters)) * squares.sum() ** 2 / (squares**2).sum()
    assert scores.df_rule == pytest.approx(rule, rel=1e-12)


def test_tables_of_two_class_subsets_have_different_strata() -> None:
    tables = [
        pd.DataFrame({"video": [f"{name}{i}" for i in range(8)], "label": np.arange(8) % 2, "cluster": ""})
        for name in "ab"
    ]
    designs = designs_of(tables, [("x", "y"), ("z", "y")])
    assert sample(1, 0.6, ("f", "f"), designs).row.scores.strata == 3
    assert designs_of([tables[0]] * 2, [("x", "y"), ("z", "w")])[0].clustered.strata.tolist() == [0, 1]
    assert sample(1, 0.6, ("f", "f"), designs_of([tables[0]] * 2, [("x", "y"), ("z", "w")])).row.scores.strata == 4
