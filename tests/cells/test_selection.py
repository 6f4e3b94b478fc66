"""Selections act where they apply and are reported where they do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.cells.backbone import BackboneChoice
from harness.cells.cell import Cells
from harness.cells.from_request import expand
from harness.cells.request import MethodChoice, Request
from harness.machine.settings import load_settings

Expand = Callable[..., Cells]


@pytest.fixture
def cells_of(tmp_path: Path) -> Expand:
    settings = load_settings({"runs": str(tmp_path / "runs"), "cache": str(tmp_path / "cache")}, {})

    def make(
        method: str, *protocols: str, repeats: tuple[int, ...] = (), shots: tuple[int, ...] = (),
        parts: tuple[str, ...] = (), source: str | None = None,
    ) -> Cells:  # fmt: skip
        request = Request(
            (MethodChoice(method),), protocols, ("mini_target",), BackboneChoice("mini-clip", None),
            repeats=repeats, shots=shots, parts=parts, source=source,
        )  # fmt: skip
        return expand(request, settings)

    return make


def lists(cells: Cells) -> list[str]:
    return [cell.train.name for cell in cells.fits]


def evals(cells: Cells) -> list[tuple[str, str, int]]:
    return [(cell.protocol.name, cell.eval.part, cell.repeat.index) for cell in cells.evals]


def test_shots_restrict_few_shot_and_are_reported_for_b2n(cells_of: Expand) -> None:
    cells = cells_of("vificlip", "b2n", "few_shot", shots=(4,))
    assert lists(cells) == ["base_s1", "base_s2", "base_s3", "few_shot_4"]
    assert cells.notes == ("--shots 4 does not act on b2n on mini_target, whose fits all take 16 clips per class",)


def test_repeats_choose_test_splits_of_zero_shot(cells_of: Expand) -> None:
    cells = cells_of("vanilla_clip", "zero_shot", repeats=(2,))
    assert [(cell.test.name, cell.repeat.index) for cell in cells.evals] == [("val2", 2)] and cells.notes == ()
    trained = cells_of("vificlip", "zero_shot", repeats=(1, 3))
    assert lists(trained) == ["train"] and [index for *_, index in evals(trained)] == [1, 3]


def test_repeats_are_reported_for_protocols_without_repeats(cells_of: Expand) -> None:
    cells = cells_of("vificlip", "b2n", "few_shot", repeats=(2,))
    assert lists(cells) == ["base_s2", *(f"few_shot_{k}" for k in (2, 4, 8, 16))]
    assert cells.notes == ("--repeat 2 does not act on few_shot on mini_target, which has no repeats",)


def test_the_first_repeat_of_a_protocol_without_repeats_needs_no_report(cells_of: Expand) -> None:
    assert cells_of("vificlip", "few_shot", repeats=(1,)).notes == ()


@pytest.mark.parametrize("part", ["base", "novel"])
def test_base_or_novel_alone(cells_of: Expand, part: str) -> None:
    cells = cells_of("vificlip", "b2n", parts=(part,), repeats=(1,))
    assert lists(cells) == ["base_s1"] and evals(cells) == [("b2n", part, 1)]


def test_parts_of_few_shot_select_its_fits(cells_of: Expand) -> None:
    assert lists(cells_of("vificlip", "few_shot", parts=("k8",))) == ["few_shot_8"]


def test_a_part_is_reported_for_a_protocol_that_lacks_it(cells_of: Expand) -> None:
    cells = cells_of("vanilla_clip", "b2n", "zero_shot", parts=("novel",))
    assert evals(cells) == [("b2n", "novel", 1), *(("zero_shot", "all", i) for i in (1, 2, 3))]
    assert cells.notes == ("--part novel does not act on zero_shot on mini_target, whose parts are all, source",)


def test_a_zero_shot_fit_is_evaluated_on_its_source_if_that_is_requested(cells_of: Expand) -> None:
    plain = cells_of("vificlip", "zero_shot")
    assert {part for _, part, _ in evals(plain)} == {"all"}
    cells = cells_of("vificlip", "zero_shot", parts=("source",))
    assert [(cell.dataset.name, cell.test.name) for cell in cells.evals] == [("mini_source", "val")]
    both = cells_of("vificlip", "zero_shot", parts=("all", "source"))
    assert {cell.key for cell in both.evals} == {cell.key for cell in (*plain.evals, *cells.evals)}
    assert [cell.key for cell in both.fits] == [cell.key for cell in plain.fits]


def test_a_backbone_is_reported_for_a_method_with_a_model_of_its_own(tmp_path: Path) -> None:
    settings = load_settings({"runs": str(tmp_path / "runs"), "cache": str(tmp_path / "cache")}, {})
    options = {"config": "tiny", "checkpoint": "random", "fixed_classes": "36"}
    request = Request((MethodChoice("mformer", options),), ("supervised",), ("mini_source",))
    assert expand(request, settings).notes == ()
    backbones = {"--weights openai": (None, "openai"), "--arch RN50 --weights random": ("RN50", "random")}
    for given, (arch, weights) in backbones.items():
        cells = expand(replace(request, backbone=BackboneChoice(arch, weights)), settings)
        assert cells.notes == (f"{given} does not act on mformer, which has a model of its own",)


def test_a_source_is_reported_where_no_protocol_takes_it(cells_of: Expand) -> None:
    notes = cells_of("vanilla_clip", "b2n", source="mini_source").notes
    (note,) = notes
    assert note.startswith("--source mini_source does not act on b2n: only zero_shot, zero_shot_full, probes and ")
    assert cells_of("bridge_prompt", "b2n", source="mini_source").notes == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"repeats": (4,)}, "selected by --repeat 4; it has the repeats 1, 2, 3"),
        ({"parts": ("nvel",)}, "There is no part of b2n named 'nvel'"),
        ({"repeats": (9,), "parts": ("base",)}, "selected by --repeat 9 --part base"),
    ],
)
def test_a_selection_of_nothing_is_an_error(cells_of: Expand, arguments: dict[str, tuple[int]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        cells_of("vificlip", "b2n", **arguments)


def test_shots_that_do_not_exist_name_the_existing_ones(cells_of: Expand) -> None:
    with pytest.raises(UserError, match="selected by --shots 3; it has the shots 2, 4, 8, 16"):
        cells_of("vificlip", "few_shot", shots=(3,))
