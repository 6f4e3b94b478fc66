from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.errors import UserError
from harness.data.lists import rules


def rows_of(counts):
    return tuple((f"c{label}_{i}.avi", label) for label, count in enumerate(counts) for i in range(count))


def test_novel_is_the_rarer_half_and_ties_keep_id_order():
    split = rules.base_novel_split([5, 3, 9, 3, 5])
    assert split.novel == (1, 3)
    assert split.base == (0, 4, 2)


def test_equal_counts_leave_id_order():
    split = rules.base_novel_split([70] * 51)
    assert split.novel == tuple(range(25))
    assert split.base == tuple(range(25, 51))


@pytest.mark.parametrize(
    ("seed", "size", "positions"),
    [  # test vectors of Python's Mersenne-Twister random.sample, as the published lists hold them
        (1, 70, [17, 8, 32, 15, 63, 57, 60, 41, 24, 50, 13, 6, 31, 1, 53, 61]),
        (2, 70, [7, 11, 10, 46, 21, 39, 32, 38, 13, 62, 2, 37, 43, 67, 27, 40]),
        (1, 581, [137, 64, 261, 120, 507, 460, 483, 388, 214, 96, 499, 29, 399, 443, 2, 456]),
    ],
)
def test_base_draw_takes_the_published_positions(seed, size, positions):
    drawn = rules.base_draw(rows_of([size, size]), 2, seed)
    expected = [f"c0_{i}.avi" for i in positions] + [f"c1_{i}.avi" for i in positions]
    assert [path for path, _ in drawn] == expected


def test_base_draw_leaves_the_global_generator_alone():
    random.seed(7)
    expected = random.random()
    random.seed(7)
    rules.base_draw(rows_of([20]), 1, 1)
    assert random.random() == expected


def test_base_draw_refuses_a_class_that_is_too_small():
    with pytest.raises(UserError, match="class 1 has 15"):
        rules.base_draw(rows_of([16, 15]), 2, 1)


def test_a_label_outside_the_classes_is_an_error():
    with pytest.raises(UserError, match="label id 3"):
        rules.class_counts([("a.avi", 3)], 3)


counts = st.lists(st.integers(1, 40), min_size=2, max_size=30)


@given(counts)
def test_the_split_is_a_partition_with_base_at_least_as_frequent(sizes):
    split = rules.base_novel_split(sizes)
    assert sorted((*split.base, *split.novel)) == list(range(len(sizes)))
    assert len(split.base) - len(split.novel) == len(sizes) % 2
    assert max(sizes[c] for c in split.novel) <= min(sizes[c] for c in split.base)
    for half in (split.base, split.novel):
        assert list(half) == sorted(half, key=lambda c: (sizes[c], c))


@given(counts, st.integers(0, 10**6))
def test_restrict_keeps_order_and_only_its_classes(sizes, seed):
    rows = list(rows_of(sizes))
    random.Random(seed).shuffle(rows)
    split = rules.base_novel_split(sizes)
    base, novel = rules.restrict(rows, split.base), rules.restrict(rows, split.novel)
    assert len(base) + len(novel) == len(rows)
    assert [path for path, _ in base] == [path for path, label in rows if label in split.base]
    back = dict(rows)
    assert all(split.base[label] == back[path] for path, label in base)
    assert all(split.novel[label] == back[path] for path, label in novel)


@given(counts, st.integers(0, 10**6), st.integers(1, 16))
def test_own_draws_are_nested_and_take_k_of_each_class(sizes, seed, shots):
    rows = rows_of(sizes)
    small = rules.own_draw(rows, len(sizes), shots, seed)
    large = rules.own_draw(rows, len(sizes), 2 * shots, seed)
    taken = Counter(label for _, label in small)
    assert all(taken[label] == min(shots, size) for label, size in enumerate(sizes))
    assert set(small) <= set(large) <= set(rows)
    assert len(set(small)) == len(small)
    assert small == rules.own_draw(rows, len(sizes), shots, seed)


@given(st.lists(st.integers(16, 30), min_size=2, max_size=12))
def test_derived_lists_hold_sixteen_of_each_base_class(sizes):
    train, val = rows_of(sizes), tuple((f"v{i}.avi", i) for i in range(len(sizes)))
    split = rules.base_novel_split(sizes)
    lists = rules.derived_b2n(train, val, split)
    assert set(lists) == {"base_train", "base_val", "novel_val", "base_s1", "base_s2", "base_s3"}
    for seed in (1, 2, 3):
        assert [label for _, label in lists[f"base_s{seed}"]] == [c for c in range(len(split.base)) for _ in range(16)]
        assert set(lists[f"base_s{seed}"]) <= set(lists["base_train"])
