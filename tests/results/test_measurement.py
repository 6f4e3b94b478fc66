"""The one definition of a measurement: every field enters exactly the keys that it is said to enter."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

import results.measurement
from harness.base.canonical import fingerprint
from harness.spec.later import later_fields
from results.codec import decode, encode
from results.measurement import (
    FIELDS,
    KEY_NAMES,
    FitDescription,
    Keys,
    Measurement,
    Training,
    cell_key,
    fit_key,
    keys_of,
    leaves,
)
from results.measurement_words import signature
from tests.results.measurements import get, leaf_paths, lists, measurements, others, put, trainings

PATHS = leaf_paths(Measurement)
# Without the phase of shrinking: a measurement of a hundred fields takes minutes to shrink.
MANY = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)  # fmt: skip


def changed_keys(a: Measurement, b: Measurement) -> set[str]:
    return {key for key in KEY_NAMES if getattr(keys_of(a), key) != getattr(keys_of(b), key)}


def paths_of(m: Measurement) -> list[str]:
    """Fields that a measurement has: an untrained one has none of a training."""
    return [path for path in PATHS if m.fitted is not None or not path.startswith("training.")]


def class_text_kind(text: str) -> str:
    return text if text in ("llm-rewritten", "human-written", "unknown") else "names"


def at_later_default(m: Measurement, path: str) -> bool:
    """Whether a field was added later and has its default, so that neither files nor keys hold it."""
    owner, _, name = path.rpartition(".")
    holder = get(m, owner) if owner else m
    return name in later_fields(type(holder)) and getattr(holder, name) == getattr(type(holder), name)


def in_table(m: Measurement, other: Measurement, wanted: set[str]) -> set[str]:
    """Keys that a changed dataset or root changes: rows, lines and groups know those of the table alone."""
    a, b = m.table_list, other.table_list
    kept = wanted - {"row", "line", "group"}
    if a.dataset != b.dataset:
        return kept | {"row", "line", "group"}
    return kept | ({"line"} if a.root != b.root else set())


def test_every_field_says_which_keys_it_enters_and_nothing_else_does() -> None:
    assert sorted(FIELDS) == sorted(PATHS), (
        "a field of a measurement without an entry in FIELDS, or an entry without a field"
    )
    assert {key for keys in FIELDS.values() for key in keys.split()} == set(KEY_NAMES) == {f.name for f in fields(Keys)}


def test_a_new_field_without_an_entry_is_noticed() -> None:
    @dataclass(frozen=True)
    class Longer(Measurement):
        colour: str = ""

    assert set(leaf_paths(Longer)) - set(FIELDS) == {"colour"}


@pytest.mark.slow
@given(measurements())
@MANY
def test_a_changed_field_changes_exactly_the_keys_that_it_enters(m: Measurement) -> None:
    for path in paths_of(m):
        variants = others(m, path)
        assert variants or path.endswith(".clips"), f"no other valid value of {path}"  # the centre is one clip
        for other in variants:
            wanted = set(FIELDS[path].split())
            if path == "method.class_text" and class_text_kind(get(m, path)) == class_text_kind(get(other, path)):
                wanted.discard("group")  # prompts are a method's own: they do not keep two methods apart
            if m.fitted is None:
                wanted.discard("fit")
            if path in ("protocol.table", "protocol.table_root", "evaluation.list.dataset", "evaluation.list.root"):
                wanted = in_table(m, other, wanted)
            assert changed_keys(m, other) == wanted, f"{path}: {get(m, path)!r} -> {get(other, path)!r}"


@pytest.mark.slow
@given(measurements())
@MANY
def test_keys_survive_the_way_through_text(m: Measurement) -> None:
    again = decode(json.loads(json.dumps(encode(m))), Measurement)
    assert again == m and keys_of(again) == keys_of(m)
    assert signature(again) == signature(m)


@pytest.mark.slow
@given(measurements())
@MANY
def test_equal_meanings_have_equal_keys(m: Measurement) -> None:
    """Order of options, tuples and lists, whole numbers as floats; but a truth value is not a number."""

    def floats(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(floats, value))
        whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53
        return float(value) if whole else value

    method = m.method
    other = replace(
        method,
        options={name: floats(value) for name, value in reversed(method.options.items())},
        evaluation_options={name: floats(value) for name, value in reversed(method.evaluation_options.items())},
    )
    other_m = replace(m, method=other)
    if m.fitted is not None:
        recipe = replace(
            m.fitted.recipe, **{f.name: floats(getattr(m.fitted.recipe, f.name)) for f in fields(m.fitted.recipe)}
        )
        other_m = replace(other_m, training=replace(m.fitted, recipe=recipe))
    assert keys_of(other_m) == keys_of(m) and signature(other_m) == signature(m)
    truth = [replace(m, method=replace(method, options={"k": value})) for value in (True, 1)]
    assert changed_keys(*truth) >= {"row", "line", "cell", "number"}


@pytest.mark.slow
@given(measurements())
@MANY
def test_anybody_can_recompute_the_keys_from_the_record(m: Measurement) -> None:
    """The keys are hashes of the canonical JSON of their fields by path."""
    stored = json.loads(json.dumps(encode(m)))

    def value(path: str) -> Any:
        at = stored
        for name in path.split("."):
            at = at[name]
        return whole(at)

    def whole(at: Any) -> Any:
        if isinstance(at, float) and at == int(at):
            return int(at)
        if isinstance(at, list):
            return [whole(item) for item in at]
        return {name: whole(item) for name, item in at.items()} if isinstance(at, dict) else at

    for key in KEY_NAMES:
        paths = [p for p, keys in FIELDS.items() if key in keys.split()]
        if m.fitted is None:
            paths = [path for path in paths if not path.startswith("training.")]
        paths = [path for path in paths if not at_later_default(m, path)]
        chosen = {path: value(path) for path in paths if not path.startswith("protocol.table")}
        if value("protocol.table") and key in ("row", "line", "group"):
            chosen |= {"evaluation.list.dataset": value("protocol.table")}
            chosen |= {"evaluation.list.root": value("protocol.table_root")} if key == "line" else {}
        if m.fitted is None and key not in ("fit", "group"):
            chosen["training"] = m.training
        if key == "group":
            kinds = {"llm-rewritten": "language model", "human-written": "people", "unknown": "unknown"}
            chosen["method.class_text"] = kinds.get(m.method.class_text, "names")
            if m.fitted is None:
                names = ("training.recipe.selection", "training.start.kind", "training.start.name")
                usual = dict(zip(names, ("last", "clip", ""), strict=True))
                chosen |= dict.fromkeys(usual, "unknown") if m.training == "unknown" else usual
        length = 16 if key in ("fit", "number", "cell") else 12
        wanted = "" if key == "fit" and m.fitted is None else fingerprint(chosen, length)
        assert getattr(keys_of(m), key) == wanted


@pytest.mark.slow
@given(measurements(), measurements(True), st.booleans())
@MANY
def test_training_untrained_and_unknown_are_three_measurements(m: Measurement, trained: Measurement, own: bool) -> None:
    three = [replace(m, training=training) for training in (trained.training, None, "unknown")]
    for key in ("number", "cell", "row", "line"):
        assert len({getattr(keys_of(one), key) for one in three}) == 3
    assert [bool(keys_of(one).fit) for one in three] == [True, False, False]


@pytest.mark.slow
@given(measurements(False), trainings(False))
@MANY
def test_an_untrained_method_shares_the_group_of_methods_that_start_from_clip(
    m: Measurement, training: Training
) -> None:
    clip = put(put(training, "start.kind", "clip"), "start.name", "")
    trained = replace(m, training=clip)
    assert keys_of(trained).group == keys_of(m).group
    for path, value in (("start.kind", "checkpoint"), ("start.name", "a parent"), ("recipe.selection", "epoch:1")):
        assert keys_of(replace(m, training=put(clip, path, value))).group != keys_of(m).group
    assert keys_of(replace(m, training="unknown")).group != keys_of(m).group


@pytest.mark.slow
@given(measurements(True))
@MANY
def test_the_key_of_a_fit_follows_from_its_description_alone(m: Measurement) -> None:
    assert m.fitted is not None
    described = FitDescription(m.method, m.model, m.fitted, m.engine)
    assert fit_key(described) == fit_key(m) == keys_of(m).fit and cell_key(m) == keys_of(m).cell
    assert dict(leaves(m)).keys() == set(PATHS)
    assert [path for path, _ in leaves(described)] == leaf_paths(FitDescription)


@pytest.mark.slow
@given(measurements(), lists(True))
@MANY
def test_two_own_folders_of_one_name_are_two_lines_and_no_generations(m: Measurement, listed: Any) -> None:
    a = put(m, "evaluation.list", replace(listed, root="00000000"))
    b = put(m, "evaluation.list", replace(listed, root="11111111"))
    assert changed_keys(a, b) == (set() if m.protocol.table else {"line"})
    one, other = (put(put(m, "protocol.table", "mine"), "protocol.table_root", root) for root in ("0" * 8, "1" * 8))
    assert changed_keys(one, other) == {"line"}


# --- signatures


def parts_of(text: str) -> list[str]:
    """The fields of a signature, without escapes."""
    parts, escaped = [""], False
    for char in text:
        if escaped or char not in "|\\":
            parts[-1] += char
            escaped = False
        elif char == "\\":
            escaped = True
        else:
            parts.append("")
    return parts


@pytest.mark.slow
@given(measurements(), measurements())
@MANY
def test_signatures_of_two_rows_differ(a: Measurement, b: Measurement) -> None:
    assert (signature(a) == signature(b)) <= (keys_of(a).row == keys_of(b).row)


@pytest.mark.slow
@given(measurements())
@MANY
def test_one_changed_field_of_a_row_changes_the_signature(m: Measurement) -> None:
    for path in paths_of(m):
        if "row" in FIELDS[path].split():
            assert all(signature(other) != signature(m) for other in others(m, path)), path


@pytest.mark.slow
@given(measurements())
@MANY
def test_a_signature_has_its_thirteen_fields_whatever_the_names(m: Measurement) -> None:
    parts = parts_of(signature(m))
    assert len(parts) == 13 and parts[-1] == f"row:{keys_of(m).row}"
    assert parts[0] == f"{m.protocol.name}.{m.protocol.version}"
    assert parts[2] == f"{m.method.name}.{m.method.version}"
    assert parts[5] == f"text:{m.method.class_text}"


@pytest.mark.slow
@given(
    measurements(),
    st.dictionaries(st.text("|\\,=ab", min_size=1, max_size=3), st.text("|\\,=ab", max_size=4)),
    st.dictionaries(st.text("|\\,=ab", min_size=1, max_size=3), st.text("|\\,=ab", max_size=4)),
)
@MANY
def test_no_separator_in_an_option_makes_two_signatures_equal(
    m: Measurement, a: dict[str, str], b: dict[str, str]
) -> None:
    assume(a != b)
    first, second = (replace(m, method=replace(m.method, options=dict(options))) for options in (a, b))
    assert signature(first) != signature(second)


def test_two_weight_files_of_one_stem_have_two_signatures() -> None:
    from tests.results.factories import Sample, sample_measurement

    m = sample_measurement(Sample(part="base"), "base_1", "0" * 64, ("a",), 5)
    files = [put(m, "model.weights", f"sha256:{digit * 64}") for digit in "ab"]
    assert signature(files[0]) != signature(files[1])
    assert "file-aaaaaaaa" in signature(files[0]) and "file-bbbbbbbb" in signature(files[1])


def test_only_the_definition_knows_the_keys() -> None:
    """What this test file relies on: the group key alone has values in place of a measurement's own."""
    assert set(results.measurement._AS_GROUPED) == {"method.class_text"}
