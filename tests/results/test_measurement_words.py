"""Division, reasons, differences and recipe changes behave as their docstrings say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from results.measurement import Measurement, Start
from results.measurement_words import (
    _FOLLOWS,
    NOT_SHOWN,
    Difference,
    differences,
    division,
    incomplete,
    model_text,
    open_reasons,
    own_recipe,
    plain,
    recipe_changes,
    recipe_text,
    unknown_fields,
    unranked_reasons,
    views_text,
)
from tests.results.factories import Sample, sample_measurement
from tests.results.measurements import get, leaf_paths, measurements, others, put

MANY = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)  # fmt: skip
SHA = "c" * 64


def measured(**changes: Any) -> Measurement:
    return sample_measurement(replace(Sample(part="base"), **changes), "base_1", "0" * 64, ("a", "b"), 120)


def said(a: Measurement, b: Measurement, besides: tuple[str, ...] = ()) -> list[str]:
    return [str(difference) for difference in differences(a, b, besides)]


# --- division and reasons


def test_a_plain_measurement_is_closed_complete_known_and_ranked() -> None:
    for m in (measured(), measured(trained=False), measured(class_text="templates"), measured(init="fit parent")):
        assert (division(m), open_reasons(m), incomplete(m), unknown_fields(m), unranked_reasons(m)) == (
            "closed", (), (), (), (),
        )  # fmt: skip


OPEN: list[tuple[str, Any, str]] = [
    ("evaluation.list.origin", "own", "own evaluation list"),
    ("protocol.scope.training_origin", "own", "own training list"),
    ("protocol.scope.training_origin", "source", "a chosen source"),
    ("evaluation.views.frames", 16, "views 16x1x1, prescribed 8x1x1"),
    ("evaluation.views.reader", "exact", "views 8x1x1-exact, prescribed 8x1x1"),
    ("protocol.prescribed.views.normalize", "clip", "views 8x1x1, prescribed 8x1x1-clipnorm"),
    ("evaluation.transform", "reverse", "view transform reverse, prescribed none"),
    ("protocol.prescribed.transform", "reverse", "view transform none, prescribed reverse"),
    ("evaluation.sample", "every 10th", "sample: every 10th"),
    ("method.extra_data", ("k710", "ssv2"), "extra data: k710, ssv2"),
    ("method.checkpoint", SHA, "weights of a checkpoint"),
    ("method.class_text", "llm-rewritten", "class text of a language model"),
    ("method.class_text", "human-written", "class text written by people"),
    (
        "training.recipe.selection", "epoch:2",
        "checkpoint selection epoch:2 (chosen on the evaluation list), prescribed last",
    ),
]


@pytest.mark.parametrize(("path", "value", "reason"), OPEN)
def test_each_setting_of_its_own_opens_the_division_and_is_named(path: str, value: Any, reason: str) -> None:
    m = put(measured(), path, value)
    assert (division(m), open_reasons(m)) == ("open", (reason,))


@pytest.mark.slow
@given(measurements())
@MANY
def test_nothing_else_opens_the_division(m: Measurement) -> None:
    deciding = {path for path, _, _ in OPEN} | {
        f"protocol.prescribed.views.{name}"
        for name in (
            "frames", "clips", "crops", "sampling", "normalize", "reader", "input.mean", "input.std", "input.resize",
            "input.interpolation", "resize", "combine",
        )
    }  # fmt: skip
    deciding |= {path.replace("protocol.prescribed", "evaluation") for path in deciding}
    deciding |= {"protocol.prescribed.selection"}
    for path in leaf_paths(Measurement):
        if path not in deciding and (m.fitted is not None or not path.startswith("training")):
            assert all(open_reasons(other) == open_reasons(m) for other in others(m, path)), path


def test_incomplete_names_missing_videos_an_incomplete_parent_and_random_weights() -> None:
    assert incomplete(put(measured(), "evaluation.evaluated", 118)) == ("2 of 120 videos missing",)
    assert incomplete(put(measured(), "training.used", 190)) == ("fitted on 190 of 192 videos",)
    parent = replace(Start("fit", "vificlip mini_source/train", "k", SHA), complete=False)
    assert incomplete(put(measured(), "training.start", parent)) == (
        "the parent fit vificlip mini_source/train lacked videos",
    )
    assert incomplete(put(measured(), "model.weights", "random")) == ("random weights: only the pipeline is shown",)
    sampled = put(put(measured(), "evaluation.evaluated", 12), "evaluation.sample", "every 10th")
    assert incomplete(sampled) == (), "a sample is not an incomplete list: it has its own reason"
    everything = put(put(put(measured(), "evaluation.evaluated", 1), "training.used", 1), "model.weights", "random")
    assert len(incomplete(everything)) == 3 and incomplete(everything) == unranked_reasons(everything)


def test_unknown_fields_are_named_and_never_ranked() -> None:
    m = put(put(measured(), "method.code", "unknown"), "model.tensors_sha256", "unknown")
    assert unknown_fields(m) == ("method.code", "model.tensors_sha256")
    assert unranked_reasons(m) == ("unknown: code, tensors of the weights",)
    assert unknown_fields(replace(m, training="unknown"))[-1] == "training"
    named = put(measured(), "method.options", {"fallback": "unknown"})
    assert unknown_fields(named) == () == unranked_reasons(named), "a word in an option is a value like any other"


def test_a_sample_a_changed_recipe_and_incompleteness_take_the_rank() -> None:
    assert unranked_reasons(put(measured(), "evaluation.sample", "every 10th")) == ("a sample of the list: every 10th",)
    changed = measured(recipe=(("lr", 8e-6), ("epochs", 1)))
    assert unranked_reasons(changed) == ("changed recipe: epochs=1, lr=8e-06",)
    assert unranked_reasons(put(changed, "evaluation.list.origin", "own")) == (), (
        "own lists are ranked among themselves"
    )
    assert unranked_reasons(measured(seed=7)) == ("changed recipe: seed=7",)


# --- recipes


def test_recipe_changes_are_what_differs_from_the_declared_recipe_except_its_source() -> None:
    m = measured(recipe=(("lr", 8e-6), ("source", "own: tuned")))
    assert recipe_changes(m.fitted) == {"lr": 8e-6} and recipe_changes(measured().fitted) == {}
    assert recipe_changes(None) == {} and not own_recipe(None) and not own_recipe(m.fitted)
    assert own_recipe(put(m, "training.declared.source", "own: ours").fitted)
    assert recipe_changes(put(measured(), "training.recipe.epochs", 11.0).fitted) == {}
    assert recipe_text({"lr": 8e-6, "betas": (0.9, 0.98), "flip": False}) == "betas=0.9, 0.98, flip=false, lr=8e-06"


def test_two_close_numbers_are_written_apart() -> None:
    a, b = 8e-6, 8.0000001e-6
    assert plain(a) == "8e-06" and plain(a) != plain(b) and float(plain(b)) == b
    assert (plain(5.0), plain(1234567.0), plain(1e22), plain(0.1)) == ("5", "1234567", "1e+22", "0.1")


# --- differences

FOLLOWING = set(_FOLLOWS)


def shown(path: str) -> bool:
    return not any(path == name or (name.endswith(".") and path.startswith(name)) for name in NOT_SHOWN)


@pytest.mark.slow
@given(measurements())
@MANY
def test_a_changed_field_is_the_one_difference_unless_it_is_said_to_be_left_out(m: Measurement) -> None:
    assert differences(m, m) == ()
    for path in leaf_paths(Measurement):
        if m.fitted is None and path.startswith("training"):
            continue
        for other in others(m, path):
            found = {difference.path for difference in differences(m, other)}
            if "options" in path:
                assert found and all(one.startswith(f"{path}.") for one in found), path
            elif shown(path):
                assert found == {path}, f"{path}: {get(m, path)!r} -> {get(other, path)!r}"
            else:
                assert found == set(), path


@pytest.mark.slow
@given(measurements(), measurements())
@MANY
def test_differences_are_the_same_from_both_sides_and_can_be_written(a: Measurement, b: Measurement) -> None:
    there, back = differences(a, b), differences(b, a)
    assert sorted(d.path for d in there) == sorted(d.path for d in back)
    assert {(d.path, d.a, d.b) for d in there} == {(d.path, d.b, d.a) for d in back}
    assert all(str(d).startswith(f"{d.label} ") and " against " in str(d) for d in there)
    assert all(d.short == f"{d.label} {d.value(d.a)}" for d in there)


def test_differences_in_words() -> None:
    a = measured(options=(("k", 3), ("template", "a {}")))
    b = measured(recipe=(("lr", 8e-6),), frames=16, options=(("k", 5), ("template", "a {}")), arch="large")
    assert said(a, b) == [
        "option k 3 against 5", "backbone tiny against large", "lr 2e-06 against 8e-06",
        "training views frames 8 against 16", "views frames 8 against 16",
    ]  # fmt: skip
    assert said(a, b, ("model.arch", "method.options.k"))[0] == "lr 2e-06 against 8e-06"
    assert said(measured(), measured(code="d" * 64)) == [f"code {measured().method.code[:8]} against dddddddd"]
    assert said(measured(class_text="names"), measured(class_text="none")) == ["class text names against none"]
    assert said(measured(), put(measured(), "method.extra_data", ("a", "b"))) == ["extra data none against a, b"]
    assert said(measured(), put(measured(), "model.weights", "sha256:" + SHA)) == ["weights mini against cccccccc"]
    assert said(measured(), put(measured(), "method.code", "unknown"))[0].endswith("against unknown")


def test_options_of_one_method_alone_are_left_out_and_named_within_a_method() -> None:
    a, b = measured(options=(("k", 3),)), measured(options=(("k", 3), ("extra", True)))
    assert said(a, b) == ["option extra none against true"]
    assert "option extra none against true" not in said(a, put(b, "method.name", "other"))
    for path in ("method.options", "method.evaluation_options"):
        one = put(measured(), path, {"monkey": "a long value of an option", "own": 1})
        two = put(
            put(measured(method="other"), path, {"monkey": "b", "else": 2}), "method.code", measured().method.code
        )
        assert [d for d in said(one, two) if d.startswith("option")] == [
            "option monkey a long value of an option against b"
        ]


def test_the_training_of_an_untrained_method_is_not_compared() -> None:
    trained, untrained, unknown = measured(), measured(trained=False), replace(measured(), training="unknown")
    assert said(trained, untrained) == ["training trained against untrained"]
    assert said(unknown, trained) == ["training unknown against trained"]
    assert said(unknown, untrained) == ["training unknown against none"]
    other = measured(method="clip", trained=False, code=measured().method.code)
    assert said(trained, other) == ["method vificlip against clip"]
    assert said(trained, other, ("method.name",)) == []


def test_hashes_are_left_out_where_a_name_tells_the_difference() -> None:
    other = put(put(measured(), "evaluation.list.name", "base_2"), "evaluation.list.sha256", "1" * 64)
    assert said(measured(), other) == ["evaluation list name base_1 against base_2"]
    variant = put(put(measured(), "evaluation.list.label_variant", "split"), "evaluation.list.labels_sha256", SHA)
    assert said(measured(), variant) == ["evaluation list label variant published against split"]
    grown = put(put(measured(), "evaluation.list.n", 130), "evaluation.list.content", SHA)
    assert said(measured(), grown) == [
        "evaluation list n 120 against 130", "evaluation list content none against cccccccc",
    ]  # fmt: skip
    renamed = put(measured(), "evaluation.list.labels_sha256", SHA)
    assert [d.partition(" against ")[2] for d in said(measured(), renamed)] == ["cccccccc"]
    assert said(measured(), put(put(measured(code=SHA), "method.name", "other"), "method.version", 2)) == [
        "method vificlip against other"
    ]


def test_a_truth_value_and_a_number_differ() -> None:
    assert said(measured(options=(("k", True),)), measured(options=(("k", 1),))) == ["option k true against 1"]
    assert said(measured(options=(("k", 5),)), measured(options=(("k", 5.0),))) == []


def test_values_of_differences_are_short() -> None:
    assert Difference("evaluation.list.sha256", SHA, "").short == "evaluation list sha256 cccccccc"
    assert Difference("method.options.monkey", "abcdefghijk", None).short == "option monkey abcdefghijk"
    assert Difference("training.recipe.lr", 8e-6, 1e-3).short == "lr 8e-06"
    assert str(Difference("training.start.name", "", "a")) == "parent fit none against a"


# --- texts


def test_views_and_models_in_words() -> None:
    assert views_text(measured(frames=16, clips=4).evaluation.views) == "16x4x1-uniform"
    m = measured()
    assert views_text(put(m, "evaluation.views.normalize", "clip").evaluation.views) == "8x1x1-clipnorm"
    assert model_text(m.model) == "tiny/mini"
    assert model_text(put(m, "model.weights", "sha256:" + SHA).model) == "tiny/file-cccccccc"
