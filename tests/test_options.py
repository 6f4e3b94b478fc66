"""Typed options of methods: parsing, errors, identity."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.errors import UserError
from harness.plugins import registry
from harness.spec import MethodCard
from harness.spec.method_spec import MethodSpec, spec_problem
from harness.spec.options import MethodOptions, build_options, check_used, option, split_method, unused_conditions
from tests.conftest import in_process


@dataclass(frozen=True)
class Options(MethodOptions):
    template: str = option("a photo of a {}", "text around the name")
    layers: int = option(2, "how many")
    rate: float = option(0.5, "how fast")
    deep: bool = option(False, "whether")
    mode: str = option("mean", "how to pool", choices=("mean", "max"))
    length: int | None = option(None, "longest")
    places: tuple[int, ...] = option((1, 2), "where")
    width: int = option(8, "how wide", bounds=(1, None))
    share: float = option(0.5, "how much", bounds=(0, 1))
    height: int | None = option(None, "how high", bounds=(None, 9))
    depth: int = option(3, "how deep", unused_with={"deep": (False,), "mode": ("max",), "template": ...})


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("vificlip", "vificlip", {}),
        ("vificlip:layers=3", "vificlip", {"layers": "3"}),
        ("m:template='a {}, moving: fast',layers=1", "m", {"template": "a {}, moving: fast", "layers": "1"}),
        ('m: template = "x=y" , deep=true', "m", {"template": "x=y", "deep": "true"}),
        ("m:", "m", {}),
        ("m:template=", "m", {"template": ""}),
        ("m:places='(1,2)'", "m", {"places": "(1,2)"}),
    ],
)
def test_texts_of_the_command_line(text: str, name: str, values: dict[str, str]) -> None:
    assert split_method(text) == (name, values)


@pytest.mark.parametrize("text", ["m:layers", "m:=3", "m:a=1,b", "m:template='open"])
def test_malformed_texts(text: str) -> None:
    with pytest.raises(UserError):
        split_method(text)


def test_values_are_typed() -> None:
    values = {"layers": "3", "rate": "1e-2", "deep": "yes", "mode": "max", "length": "7", "places": "(4, 5)"}
    found = build_options(Options, values, "m")
    assert found == Options(layers=3, rate=0.01, deep=True, mode="max", length=7, places=(4, 5))
    assert build_options(Options, {"length": "none", "deep": False, "places": [1]}, "m") == Options(places=(1,))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layers": "two"}, "Option m:layers is 'two', expected int"),
        ({"layers": 2.5}, "expected int"),
        ({"rate": "fast"}, "Option m:rate is 'fast', expected float"),
        ({"rate": "nan"}, "Option m:rate is 'nan'"),
        ({"rate": "inf"}, "Option m:rate is 'inf'"),
        ({"deep": "maybe"}, "expected bool"),
        ({"mode": "median"}, "Option m:mode is 'median', expected one of 'mean', 'max'"),
        ({"places": "("}, "Option m:places"),
        ({"layer": "3"}, "There is no option of m named 'layer'"),
        ({"width": "0"}, "Option m:width is 0, expected at least 1."),
        ({"width": -1}, "Option m:width is -1, expected at least 1."),
        ({"share": "-0.5"}, "Option m:share is -0.5, expected from 0 to 1."),
        ({"share": 1.5}, "Option m:share is 1.5, expected from 0 to 1."),
        ({"height": "10"}, "Option m:height is 10, expected at most 9."),
    ],
)
def test_wrong_values_name_the_option_and_what_is_expected(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        build_options(Options, values, "m")
    assert message in caught.value.message
    assert caught.value.exit_code == 2


def test_bounds_are_allowed_values_and_none_has_no_bound() -> None:
    for share in (0, 1):
        assert build_options(Options, {"share": share, "width": 1, "height": "none"}, "m").share == share
    assert build_options(Options, {"height": 9}, "m").height == 9


def test_every_number_of_a_built_in_method_is_bounded() -> None:
    """So that `plan` refuses a size or a weight below zero, which setup or the fit would refuse late, or take."""
    names = [name for name, source in registry.sources("method").items() if source.origin == "built-in"]
    for name, kind in ((name, registry.method_spec(name).options_type) for name in names):
        types = get_type_hints(kind)
        for number in (f for f in fields(kind) if types[f.name] in (int, float, int | None, float | None)):
            build_options(kind, {number.name: number.default}, name)
            with pytest.raises(UserError, match=f"{name}:{number.name} is -1, expected"):
                build_options(kind, {number.name: -1}, name)


def test_an_option_without_effect_is_refused_if_it_differs_from_its_default() -> None:
    used = build_options(Options, {"deep": True, "depth": 4}, "m")
    check_used(used, ["deep", "depth"], "m")
    for values, other in (({"deep": False}, "deep=false"), ({"deep": True, "mode": "max"}, "mode=max")):
        check_used(build_options(Options, values, "m"), list(values), "m")
        with pytest.raises(UserError, match=f"Option m:depth has no effect with {other}"):
            check_used(build_options(Options, {**values, "depth": 4}, "m"), [*values, "depth"], "m")
    unused_with = {f.name: f.metadata["unused_with"] for f in fields(Options)}
    assert unused_conditions(unused_with["depth"]) == ("deep=false", "mode=max", "template given")
    assert unused_conditions(unused_with["deep"]) == ()
    with pytest.raises(UserError, match="Option m:depth has no effect with template=other"):
        check_used(build_options(Options, {"deep": True, "depth": 4, "template": "other"}, "m"), ["depth"], "m")


@pytest.mark.parametrize("name", sorted(registry.sources("method")))
def test_options_are_shown_as_text_and_as_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert in_process("show", name, "--json") == 0
    shown = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)["options"]}
    assert list(shown) == [f.name for f in fields(registry.method_spec(name).options_type)]
    assert in_process("show", name) == 0
    text = capsys.readouterr().out
    for entry in shown.values():
        line = next(line for line in text.splitlines() if line.startswith(f"  {entry['name']} = "))
        assert all(condition in line for condition in entry["unused_with"])


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ({"from": ("a",)}, "expected names of its options: width, pool"),
        ({"pool": "mean"}, "expected a tuple of values, or an ellipsis"),
        ({"pool": ("meen",)}, "expected values of 'mean', 'max'"),
        ({"pool": ("max",)}, ""), ({"pool": ...}, ""),
    ],
)  # fmt: skip
def test_a_condition_names_an_option_and_its_values(condition: dict[str, Any], problem: str) -> None:
    @dataclass(frozen=True)
    class Mine(MethodOptions):
        width: int = option(3, "how wide", unused_with=condition)
        pool: str = option("mean", "how to pool", ("mean", "max"))

    found, _ = spec_problem(type("Mine", (MethodSpec,), {"card": MethodCard(title="Mine"), "options_type": Mine}))
    assert found.endswith(problem) and bool(found) is bool(problem)


def test_a_check_is_a_class_method() -> None:
    attributes = {"card": MethodCard(title="Mine"), "check_frames": lambda self, options, frames: None}
    assert spec_problem(type("Mine", (MethodSpec,), attributes))[0] == "has check_frames that is not a class method"


def test_an_unknown_option_lists_the_known_ones() -> None:
    with pytest.raises(UserError) as caught:
        build_options(Options, {"layer": "3"}, "m")
    assert "template, layers, rate" in caught.value.hint and "show m" in caught.value.hint


def test_identity_is_json_ready() -> None:
    assert json.dumps(Options().as_dict()["places"]) == "[1, 2]"
    assert MethodOptions().as_dict() == {}


@given(st.integers(-999, 999), st.floats(allow_nan=False, allow_infinity=False), st.booleans())
def test_typed_values_and_their_texts_mean_the_same(layers: int, rate: float, deep: bool) -> None:
    typed = build_options(Options, {"layers": layers, "rate": rate, "deep": deep}, "m")
    texts = build_options(Options, {"layers": str(layers), "rate": repr(rate), "deep": str(deep)}, "m")
    assert typed == texts


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("m:t='a video of \"{}\"'", 'a video of "{}"'), ('m:t="it\'s {}"', "it's {}"), ("m:t='{}'", "{}"),
        ("m:t=''", ""), ("m:t=\"'{}'\"", "'{}'"), ("m:t='a' and 'b'", "'a' and 'b'"), ("m:t='a, b: {}'", "a, b: {}"),
    ],
)  # fmt: skip
def test_one_pair_of_quotes_is_removed(text: str, value: str) -> None:
    assert split_method(text) == ("m", {"t": value})
