"""Statements of a record that nothing supports: families of values of each field, all of which are refused."""

from __future__ import annotations

import copy
import string
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.cells.backbone import BackboneChoice
from harness.engine.model.backbone import load_backbone
from harness.spec import Views
from harness.submitting.benchmark_facts import facts_of
from harness.submitting.known_models import known_models, mini_model, model_problems, prescribed_views
from results.measurement import ModelId
from results.record import Record
from results.submission.check_claims import check_claims
from results.submission.check_costs import date_problems
from results.submission.facts import Facts
from results.submission.submission import Submission
from tests.results.submission.corrupted import fresh
from tests.results.submission.installed_facts import check

QUICKLY = settings(max_examples=25, deadline=None)
VIT = ModelId("ViT-B-16", "openai", "", "a" * 64, 224, "quick_gelu", 77, "clip")


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Submission:
    """A checked submission of one row; tests change the first record of copies."""
    return check(fresh().write(tmp_path_factory.mktemp("claims") / "a.zip")).submission


@cache
def facts() -> Facts:
    return facts_of([("b2n", "mini_target")])


def rules(honest: Submission, edit: Callable[[Record], Record]) -> set[str]:
    """The rules on statements that a changed first record violates."""
    submission = copy.copy(honest)
    first = copy.copy(honest.measured[0])
    first.failed, first.record = set(), edit(first.record)
    first.__dict__.pop("keys", None)
    submission.measured, submission.findings = [first], []
    check_claims(submission, facts())
    return {finding.rule for finding in submission.findings}


def part_of(name: str, **changes: Any) -> Callable[[Record], Record]:
    """An edit of one part of a record."""
    return lambda record: replace(record, **{name: replace(getattr(record, name), **changes)})


@pytest.mark.slow
def test_the_honest_record_passes(honest: Submission) -> None:
    assert rules(honest, lambda record: record) == set()


@pytest.mark.slow
@QUICKLY
@given(st.one_of(st.text(max_size=30), st.datetimes().map(str), st.dates().map(str)))
def test_a_text_that_is_no_utc_time_is_refused(honest: Submission, created: str) -> None:
    assert "A018" in rules(honest, lambda record: replace(record, created=created))


@QUICKLY
@given(st.integers(2, 10**6), st.booleans())
def test_a_time_before_the_harness_or_after_now_is_refused(days: int, future: bool) -> None:
    now = datetime(2026, 6, 1, tzinfo=UTC)
    try:
        time = now + timedelta(days=days) if future else datetime(2026, 1, 1, tzinfo=UTC) - timedelta(days=days)
    except OverflowError:
        assume(False)
    assert list(date_problems(time.isoformat(timespec="seconds"), now))
    assert not list(date_problems("2026-05-31T23:00:00+00:00", now))


@QUICKLY
@given(st.text(max_size=12))
def test_an_origin_that_the_registry_does_not_write_is_refused(honest: Submission, origin: str) -> None:
    assert "P016" in rules(honest, part_of("method", origin=f"{origin} "))


@QUICKLY
@given(st.dictionaries(st.text(string.ascii_lowercase, min_size=1, max_size=8), st.integers(), max_size=3))
def test_options_without_defaults_are_refused(honest: Submission, options: dict[str, int]) -> None:
    assume(set(options) != {"width"})

    def edit(record: Record) -> Record:
        method = replace(record.measurement.method, options=options)
        return replace(record, measurement=replace(record.measurement, method=method))

    assert "P030" in rules(honest, edit)


@QUICKLY
@given(st.lists(st.integers(0, 11), min_size=1, max_size=12))
def test_other_seen_classes_than_the_lists_give_are_refused(honest: Submission, ids: list[int]) -> None:
    names = honest.measured[0].record.classes
    seen = tuple(names[id] for id in ids)
    assume(seen != honest.measured[0].record.overlap.seen_classes)
    assert "P009" in rules(honest, part_of("overlap", seen_classes=seen))


@pytest.mark.slow
@QUICKLY
@given(st.sampled_from(["train", "test", "source"]), st.text(max_size=20), st.integers(0, 99), st.booleans())
def test_another_leakage_check_is_refused(honest: Submission, name: str, text: str, classes: int, twice: bool) -> None:
    (audit,) = honest.measured[0].record.overlap.audits
    changed = replace(audit, **{name: text, "classes": classes})
    assume(changed != audit)
    assert "P009" in rules(honest, part_of("overlap", audits=(changed,)))
    assert "P009" in rules(honest, part_of("overlap", audits=(audit, audit) if twice else ()))


def test_a_checkpoint_needs_every_leakage_check_too(honest: Submission) -> None:
    def without(record: Record) -> Record:
        method = replace(record.measurement.method, checkpoint="a" * 64)
        measurement = replace(record.measurement, method=method, training=None)
        return replace(record, measurement=measurement, overlap=replace(record.overlap, audits=()))

    assert "P009" in rules(honest, without)


@QUICKLY
@given(st.sampled_from(["gflops", "score_gflops"]), st.one_of(st.floats(1.1e6, 1e308), st.just(0.0)))
def test_impossible_costs_are_refused(honest: Submission, name: str, value: float) -> None:
    costs = {"gflops": 1.0, "score_gflops": 1.0, name: value}
    assert "A017" in rules(honest, part_of("cost", **costs))


@QUICKLY
@given(st.floats(1.0, 1e8), st.floats(1.1, 1e6))
def test_more_videos_than_the_list_has_are_refused(honest: Submission, seconds: float, factor: float) -> None:
    videos = honest.measured[0].m.evaluation.evaluated * factor + 10
    assert "A017" in rules(honest, part_of("cost", eval_seconds=seconds, videos_per_second=videos / seconds + 1.0))


@QUICKLY
@given(st.sampled_from(["arch", "weights", "activation", "tokenizer"]), st.text(max_size=20))
def test_a_model_of_another_name_is_refused(name: str, text: str) -> None:
    model = replace(VIT, **{name: text})
    assume(model != VIT and text not in known_models() and text not in known_models()["ViT-B-16"].tags)
    assert list(model_problems(model)) and not list(model_problems(VIT))


@QUICKLY
@given(st.sampled_from(["image_size", "text_length", "padding"]), st.integers(0, 2000))
def test_a_model_of_other_sizes_is_refused(name: str, size: int) -> None:
    model = replace(VIT, **{name: size})
    assume(model != VIT)
    assert list(model_problems(model))


@QUICKLY
@given(st.sampled_from(["weights", "tensors_sha256", "activation"]), st.text("0123456789abcdef", max_size=64))
def test_another_tiny_clip_is_refused(honest: Submission, name: str, text: str) -> None:
    def edit(record: Record) -> Record:
        model = replace(record.measurement.model, **{name: text})
        return replace(record, measurement=replace(record.measurement, model=model))

    assert "P021" in rules(honest, edit)


@pytest.mark.parametrize("arch", ["ViT-L-14-336", "RN50", "ViT-B-32-quickgelu", "ViT-B-16"])
def test_models_of_files_state_sizes_of_their_architecture(arch: str) -> None:
    known = known_models()[arch]
    model = ModelId(arch, f"sha256:{'b' * 64}", "", "a" * 64, known.image_size or 224, "quick_gelu", 77, "clip")
    assert not list(model_problems(model))
    assert list(model_problems(replace(model, image_size=64)))
    assert not list(model_problems(replace(model, arch="inferred")))
    assert list(model_problems(replace(model, weights="sha256:b")))


@pytest.mark.slow
def test_the_tiny_clip_is_the_loaded_one() -> None:
    backbone = load_backbone("mini-clip")
    facts, expected = backbone.facts, mini_model()
    assert (facts.weights_sha256, facts.image_size, facts.quick_gelu, backbone.context_length) == (
        expected.tensors_sha256, expected.image_size, True, expected.text_length,
    )  # fmt: skip


def test_the_table_of_models_is_that_of_open_clip() -> None:
    from benchmarks.clip_models import models_of_open_clip

    assert known_models() == models_of_open_clip()


def test_the_table_is_read_without_open_clip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The workflow of a board does not install it."""
    monkeypatch.setattr("harness.cells.open_clip_source.open_clip_folder", lambda: None)
    assert list(model_problems(replace(VIT, arch="ViT-B-17")))
    assert not list(model_problems(VIT))
    siglip = replace(VIT, arch="ViT-B-16-SigLIP", weights="webli")
    assert prescribed_views(Views(), siglip, Views()).input.mean == (0.5, 0.5, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("normalize", ["imagenet", "clip", "model"])
def test_the_prescribed_views_of_all_tags_are_those_of_a_run(normalize: Literal["imagenet", "clip", "model"]) -> None:
    """The table gives without open_clip the views that `run` takes with it."""
    views = Views(frames=32, normalize=normalize)
    for arch, known in known_models().items():
        for weights in (*known.tags, "random"):
            expected = BackboneChoice(arch, weights).views_of(views)
            found = prescribed_views(views, replace(VIT, arch=arch, weights=weights), Views())
            assert found == expected, (arch, weights)
