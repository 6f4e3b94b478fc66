"""Measurements of one title have different names, and the unchanged one has none."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.spec import Views
from results.measurement import Measurement, keys_of
from results.measurement_names import changes_of, names_of
from results.measurement_words import open_reasons
from tests.results.factories import Sample, digest, sample_measurement
from tests.results.measurements import leaf_paths, measurements, others


def measured(part: str = "base", repeat: tuple[str, int] = ("train_subset", 1), **changes: Any) -> Measurement:
    """The measurement of a sample."""
    sample = replace(Sample(part=part, repeat=repeat), **changes)
    return sample_measurement(sample, f"{part}_1", digest([part, sample.lists]), ("a", "b"), 120)


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"recipe": (("lr", 8e-6),)}, "lr 8e-06"),
    ({"recipe": (("epochs", 1), ("lr", 1e-5))}, "epochs 1, lr 1e-05"),
    ({"seed": 7}, "seed 7"),
    ({"options": (("layers", 3),)}, "option layers 3"),
    ({"arch": "ViT-L-14"}, "backbone ViT-L-14"),
    ({"frames": 16}, "views frames 16"),
    ({"training_origin": "own"}, "training list origin own"),
    ({"list_origin": "own"}, "evaluation list origin own"),
    ({"init": "checkpoint x"}, "start checkpoint"),
    ({"init": "fit vificlip k400/train"}, "start fit"),
    ({"class_text": "templates"}, "class text templates"),
    ({"sample": "every 10th video"}, "sample every 10th video"),
    ({"engine": 2}, "engine version 2"),
    ({"code": "c" * 64}, "code cccccccc"),
]


@pytest.mark.parametrize(("change", "name"), CHANGES)
def test_the_changed_measurement_names_its_change_and_the_other_has_no_name(change: dict[str, Any], name: str) -> None:
    plain, changed = measured(options=(("layers", 2),)), measured(**{"options": (("layers", 2),), **change})
    if changes_of(changed) or open_reasons(changed):
        first, second = names_of([plain, changed])
        assert first == "" and second.endswith(name) and names_of([changed, plain]) == [second, ""]
    else:  # a measurement does not say which of the two values is the usual one
        first, second = names_of([plain, changed])
        assert name in second and first and first != second
    assert names_of([plain]) == [""] == names_of([plain, plain])[:1]


def test_a_recipe_change_is_named_where_there_is_nothing_to_compare_with() -> None:
    assert names_of([measured(seed=7)]) == ["seed 7"]
    assert names_of([measured(seed=7), measured(recipe=(("lr", 1e-3),))]) == ["seed 7", "lr 0.001"]


def test_options_are_named_against_the_defaults_where_these_are_known() -> None:
    two, three = measured(options=(("layers", 2), ("width", 8))), measured(options=(("layers", 3), ("width", 8)))
    assert names_of([two, three]) == ["option layers 2", "option layers 3"]
    defaults = {"layers": 2, "width": 8}
    assert names_of([two, three], [defaults, defaults]) == ["", "option layers 3"]
    assert names_of([three], [defaults]) == ["option layers 3"]
    assert [(d.path, d.a, d.b) for d in changes_of(three, defaults)] == [("method.options.layers", 3, 2)]


def test_a_changed_setting_of_the_protocol_does_not_take_the_plain_name() -> None:
    """Of two measurements that differ in views the one with the prescribed views keeps the title."""
    short = measured()
    prescribed = replace(short.protocol.prescribed, views=Views(frames=32))
    protocol = replace(short.protocol, prescribed=prescribed)
    short = replace(short, protocol=protocol)
    long = replace(short, evaluation=replace(short.evaluation, views=Views(frames=32)), protocol=replace(
        protocol, scope=replace(protocol.scope, views="other", evaluation_views="other")))  # fmt: skip
    assert names_of([short, long]) == ["views frames 8", ""]


def test_names_do_not_depend_on_the_order_and_are_unique() -> None:
    variants = [
        measured(), measured(seed=7), measured(recipe=(("lr", 8e-6),)), measured(arch="large"),
        measured(arch="large", seed=7), measured(arch="large", frames=16), measured(options=(("k", 3),)),
    ]  # fmt: skip
    wanted = dict(zip([keys_of(m).row for m in variants], names_of(variants), strict=True))
    assert len(set(wanted.values())) == len(variants)
    for order in list(permutations(range(len(variants))))[::500]:
        found = names_of([variants[i] for i in order])
        assert found == [wanted[keys_of(variants[i]).row] for i in order]


def test_other_parts_and_repeats_are_no_difference() -> None:
    """Rows that have no part in common are compared by another part of each."""
    base, novel = measured("base"), measured("novel", ("train_subset", 2), seed=7)
    assert names_of([base, novel]) == ["", "seed 7"]
    assert names_of([measured("base"), measured("novel", frames=16)]) == ["views frames 8", "views frames 16"]
    assert names_of([measured("base"), measured("novel")]) == ["", ""], "one row"


def test_methods_of_one_title_are_told_apart_by_their_names() -> None:
    assert names_of([measured(method="one"), measured(method="two")]) == ["method one", "method two"]


def test_rows_that_no_shown_field_tells_apart_are_named_by_their_keys() -> None:
    one = measured()
    two = replace(one, protocol=replace(one.protocol, scope=replace(one.protocol.scope, recipes="other")))
    assert names_of([one, two]) == [f"row {keys_of(m).row[:8]}" for m in (one, two)]
    own = replace(one, training=None, protocol=replace(one.protocol, scope=replace(
        one.protocol.scope, training_origin="own", own_training_lists="x")))  # fmt: skip
    assert names_of([replace(one, training=None), own]) == ["", "own training list"]


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(measurements(), st.data())
def test_rows_that_differ_in_any_fields_have_different_names(m: Measurement, data: st.DataObject) -> None:
    """Whatever fields differ: where the row keys differ, the names do."""
    paths = [path for path in leaf_paths(Measurement) if m.fitted or not path.startswith("training")]
    for path in data.draw(st.lists(st.sampled_from(paths), min_size=8, max_size=8, unique=True)):
        found = [m, *others(m, path)[:3]]
        found += [other for one in found[1:2] for other in others(one, data.draw(st.sampled_from(paths)))[:2]]
        rows = {keys_of(one).row: name for one, name in zip(found, names_of(found), strict=True)}
        assert len(set(rows.values())) == len(rows), (path, rows)
