"""The published study's switches: each a named setting with both values, in the identity and in the signature."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness.cells.backbone import BackboneChoice
from harness.cells.cell import EvalCell
from harness.cells.from_request import expand
from harness.cells.request import MethodChoice, Request
from harness.machine.settings import load_settings
from harness.plugins import registry
from harness.spec import Recipe, Views
from harness.spec.published_or_clean import PUBLISHED_OR_CLEAN, RECIPE_SWITCHES, VIEWS_SWITCHES
from results import measurement_words as words
from results.measurement_words import open_reasons


def signature(cell: EvalCell) -> str:
    return words.signature(cell.measurement)


DOCS = Path(__file__).resolve().parents[1] / "docs" / "methods.md"
MINI = BackboneChoice("mini-clip", None)


@pytest.fixture
def cell_of(small_dataset: Path) -> Any:
    """A function: the first eval of a request."""

    def make(method: str = "vificlip", options: dict[str, str] | None = None, **more: Any) -> EvalCell:
        asked = {"protocols": ("b2n",), "backbone": MINI, **more}
        asked.setdefault("datasets", (str(small_dataset),))
        request = Request((MethodChoice(method, options or {}),), **asked)
        found = expand(request, load_settings({"runs": "runs"}, {"HARNESS_CONFIG": "/dev/null"}))
        return next(cell for cell in found.evals if cell.eval.part in ("base", "all", "k2"))

    return make


@pytest.fixture
def filled_cell_of(cell_of: Any, large_lists: Path) -> Any:
    """`cell_of` on lists that fill the effective batch of every recipe, so that the recipe is not changed."""
    return partial(cell_of, datasets=(str(large_lists),))


def test_the_signature_carries_every_switch_of_a_method(cell_of: Any, filled_cell_of: Any) -> None:
    options = "set:logits=clean,template=a photo of a {}.,text_embedding=published"
    assert f"|text:names|{options}|" in signature(cell_of())
    bridge = signature(cell_of("bridge_prompt", {"stage_one": "clip", "prompt_rounding": "clean"}))
    for text in ("logits=clean", "prompt_rounding=clean", "stage_one=clip", "text_embedding=published"):
        assert text in bridge
    assert "logits=clean" in signature(cell_of("xclip"))
    assert "fusion=mean" in signature(cell_of("actionclip", {"fusion": "mean"}))
    assert "|init:clip|recipe:own|" in signature(filled_cell_of("efficient_prompt"))
    assert "|recipe:none|" in signature(cell_of("vanilla_clip"))


def test_every_option_with_two_ways_is_published_or_clean_in_signature_and_identity(cell_of: Any) -> None:
    found = 0
    for name, source in registry.sources("method").items():
        if source.origin != "built-in":
            continue
        options = registry.load("method", name).options_type
        for option in fields(options):
            if tuple(option.metadata.get("choices", ())) == PUBLISHED_OR_CLEAN:
                # The order of EZ-CLIP's temporal adapters has no effect without them.
                start = {"bridge_prompt": {"stage_one": "clip"}, "ez_clip": {"temporal": "adapters"}}
                one, other = (cell_of(name, {**start.get(name, {}), option.name: way}) for way in PUBLISHED_OR_CLEAN)
                for cell, way in ((one, "published"), (other, "clean")):
                    assert f"{option.name}={way}" in signature(cell)
                    assert cell.measurement.method.options[option.name] == way
                assert one.key != other.key and signature(one) != signature(other)
                found += 1
    assert found >= 12


@pytest.mark.parametrize(
    ("change", "published", "clean"),
    [
        ("normalize", "4x1x1-exact", "4x1x1-clipnorm-exact"),
        ("reader", "4x1x1", "4x1x1-exact"),
        ("sampling", "4x1x1-exact", "4x1x1-exact"),
    ],
)
def test_views_take_published_and_clean(cell_of: Any, change: str, published: str, clean: str) -> None:
    one, other = (cell_of(views={change: way}) for way in PUBLISHED_OR_CLEAN)
    assert f"|{published}|" in signature(one) and f"|{clean}|" in signature(other)
    # The default is the same row, `closed` like any other: published, but for the reader of a custom dataset.
    default = other if change == "reader" else one
    assert default.key == cell_of().key and signature(default) == signature(cell_of())
    assert (other.key == one.key) == (published == clean)


def test_several_clips_take_published_and_clean(cell_of: Any) -> None:
    one, other = (cell_of(protocols=("supervised",), views={"sampling": way}) for way in PUBLISHED_OR_CLEAN)
    assert "|4x4x3-random-exact|" in signature(one) and "|4x4x3-uniform-exact|" in signature(other)
    assert not [reason for reason in open_reasons(one.measurement) if "views" in reason]
    assert [reason for reason in open_reasons(other.measurement) if "views" in reason]
    assert one.fit and other.fit and one.fit.key == other.fit.key  # training draws its frames either way


def test_recipes_show_their_origin_and_every_change(filled_cell_of: Any) -> None:
    assert "|recipe:own|" in signature(filled_cell_of())  # scaled to the tiny model
    one, other = (filled_cell_of(recipe={"flip": way}) for way in PUBLISHED_OR_CLEAN)
    assert one.key == filled_cell_of().key and other.key != one.key
    assert "|recipe:own+flip=false|" in signature(other)
    assert "|recipe:own+accumulate=1+lr=0.1|" in signature(filled_cell_of(recipe={"lr": "0.1", "accumulate": "1"}))
    assert "|recipe:own+seed=7|" in signature(filled_cell_of(recipe={"seed": "7"}))


@pytest.mark.parametrize(
    ("method", "protocol", "origin"),
    [
        ("vificlip", "b2n", "published"), ("vificlip", "few_shot", "published"), ("bridge_prompt", "b2n", "published"),
        ("xclip", "few_shot", "published"), ("xclip", "b2n", "own"), ("actionclip", "few_shot", "own"),
        ("actionclip", "supervised", "published"), ("efficient_prompt", "b2n", "own"),
    ],
)  # fmt: skip
def test_a_recipe_that_nobody_published_is_own(filled_cell_of: Any, method: str, protocol: str, origin: str) -> None:
    options = {"stage_one": "clip"} if method == "bridge_prompt" else {}
    cell = filled_cell_of(method, options, protocols=(protocol,), backbone=BackboneChoice("ViT-B-16", "random"))
    assert f"|recipe:{origin}|" in signature(cell)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "change"), [("vificlip", "published+accumulate=1+ranks=3"), ("efficient_prompt", "own+micro_batch=12")]
)
def test_a_lowered_batch_keeps_origin_and_division(cell_of: Any, filled_cell_of: Any, method: str, change: str) -> None:
    """The list of 12 clips does not fill the batch of 64: the row states it, and is ranked like other custom rows."""
    backbone = BackboneChoice("ViT-B-16", "openai")
    lowered, filled = cell_of(method, backbone=backbone), filled_cell_of(method, backbone=backbone)
    origin = change.split("+")[0]
    assert f"|recipe:{change}|" in signature(lowered) and f"|recipe:{origin}|" in signature(filled)
    assert open_reasons(lowered.measurement) == open_reasons(filled.measurement)
    assert not any("recipe" in reason for reason in words.unranked_reasons(lowered.measurement))
    request = {"accumulate": "1", "ranks": "3"} if method == "vificlip" else {"micro_batch": "12"}
    stated = cell_of(method, backbone=backbone, recipe=request)
    assert stated.key == lowered.key, "the same row as with the values of the rule"


def switches_of_the_docs() -> list[dict[str, str]]:
    """The rows of the table of switches in docs/methods.md, by column."""
    table = DOCS.read_text().split("<!-- switches: begin -->")[1].split("<!-- switches: end -->")[0]
    header, _, *rows = ([cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.strip().splitlines())
    assert header == ["switch", "setting", "published", "clean", "default", "shows in"]
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_the_table_in_the_docs_names_every_switch() -> None:
    rows = switches_of_the_docs()
    assert len({row["switch"] for row in rows}) == len(rows) >= 19
    settings = {row["setting"].strip("`"): row for row in rows}
    aliases = {f"--views {name}": values for name, values in VIEWS_SWITCHES.items()}
    aliases |= {f"--recipe {name}": values for name, values in RECIPE_SWITCHES.items()}
    for name, values in aliases.items():
        assert {way: settings[name][way] for way in PUBLISHED_OR_CLEAN} == values
    built_in = [name for name, source in registry.sources("method").items() if source.origin == "built-in"]
    two_ways: dict[str, set[str]] = {}
    for name in built_in:
        for option in fields(registry.method_spec(name).options_type):
            if tuple(option.metadata.get("choices", ())) == PUBLISHED_OR_CLEAN:
                two_ways.setdefault(option.name, set()).add(str(option.default))
    for option_name, defaults in two_ways.items():
        (row,) = [row for setting, row in settings.items() if setting.endswith(f":{option_name}")]
        assert {row["default"].split(";")[0]} == defaults, option_name


def test_the_table_in_the_docs_names_settings_that_exist() -> None:
    known = {f"--views {field.name}" for field in fields(Views)} | {
        f"--recipe {field.name}" for field in fields(Recipe)
    }
    for row in switches_of_the_docs():
        setting = row["setting"].strip("`")
        assert row["default"].split(";")[0] in PUBLISHED_OR_CLEAN
        if setting.startswith(("--views ", "--recipe ")):
            flag, _, names = setting.partition(" ")
            assert {f"{flag} {name}" for name in names.split(", ")} <= known
        elif ":" in setting:
            method, _, name = setting.partition(":")
            methods = ["vificlip"] if method == "NAME" else [method]
            assert name in {field.name for m in methods for field in fields(registry.method_spec(m).options_type)}
        else:
            assert setting in ("--label-set", "score --drop-last", "--precision", "-")
