"""A request is resolved in one pass: each dataset, option set, views and recipe is computed once per command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import UserError
from harness.cells import datasets, from_request, resolve, resolve_views
from harness.cells.backbone import BackboneChoice
from harness.cells.from_request import expand
from harness.cells.request import MethodChoice, Request
from harness.machine.settings import load_settings
from harness.spec.method_spec import MethodSpec
from tests.conftest import in_process

MINI = BackboneChoice("mini-clip", None)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, Counter[str]]:
    """How often each step of resolving was called with each combination of arguments."""
    counts: dict[str, Counter[str]] = {}

    def count(owner: Any, name: str) -> None:
        original: Callable[..., Any] = getattr(owner, name)
        counts[name] = Counter()

        def counted(*arguments: Any, **options: Any) -> Any:
            counts[name][repr((arguments, options))] += 1
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, counted)

    count(from_request, "resolve")
    count(datasets, "open_dataset")
    count(resolve_views, "views_for")
    count(resolve, "code_of")
    original = MethodSpec.options_for.__func__  # type: ignore[attr-defined]
    counts["options_for"] = Counter()

    def options_for(cls: type[MethodSpec], *arguments: Any) -> Any:
        counts["options_for"][repr((cls, arguments))] += 1
        return original(cls, *arguments)

    monkeypatch.setattr(MethodSpec, "options_for", classmethod(options_for))
    return counts


@pytest.mark.slow
def test_each_setting_is_resolved_once_per_command(
    calls: dict[str, Counter[str]], small_dataset: Path, tmp_path: Path
) -> None:
    code = in_process(
        "plan", "--method", "image_ft:template='a {}'", "bridge_prompt", "vanilla_clip", "--protocol", "b2n",
        "few_shot", "zero_shot", "--dataset", small_dataset, "mini_target", "--arch", "mini-clip",
        "--source", "mini_source",
        "--views", "frames=2", "--eval-views", "frames=3", "--recipe", "epochs=1", "--runs", tmp_path / "runs",
    )  # fmt: skip
    assert code == 0
    assert sum(calls["resolve"].values()) == 1
    assert len(calls["open_dataset"]) == 3, "the two datasets, and the source of the zero-shot protocol"
    for name in ("open_dataset", "options_for", "views_for", "code_of"):
        repeated = {arguments: n for arguments, n in calls[name].items() if n > 1}
        assert calls[name] and not repeated, f"{name} was called again with equal arguments: {repeated}"


def test_combinations_hold_what_cells_read(three_subsets: Path) -> None:
    request = Request(
        (MethodChoice("vificlip"), MethodChoice("vanilla_clip")), ("b2n",), (str(three_subsets),), MINI,
        {"epochs": "1"}, {"frames": "2"}, {"frames": "3"}, repeats=(2,),
    )  # fmt: skip
    resolved = resolve.resolve(request, load_settings({}, {"HARNESS_CONFIG": "/dev/null"}))
    trained, untrained = resolved.combinations
    assert len(trained.prescribed) == 3 and len(trained.chosen) == 1, "the scope covers what is not selected too"
    (fit,) = [chosen.training for chosen in trained.chosen]
    assert fit is not None and fit.recipe.epochs == 1 != fit.declared.epochs
    assert fit.views.frames == 2 and {planned.views.frames for planned, _ in trained.chosen[0].evals} == {3}
    assert untrained.chosen[0].training is None and untrained.parent is None


def test_a_parent_fit_is_shared(small_dataset: Path) -> None:
    request = Request(
        (MethodChoice("bridge_prompt"),), ("b2n", "few_shot"), (str(small_dataset),), MINI, source="mini_source"
    )
    resolved = resolve.resolve(request, load_settings({}, {"HARNESS_CONFIG": "/dev/null"}))
    parents = [combination.parent for combination in resolved.combinations]
    assert parents[0] is not None and parents[0] is parents[1] and parents[0].row.name == "vificlip"


def test_nothing_is_computed_of_a_request_with_a_wrong_word(small_dataset: Path) -> None:
    request = Request((MethodChoice("vificlip"),), ("b2n",), (str(small_dataset),), MINI, {"epoch": "1"})
    with pytest.raises(UserError, match="no recipe setting named 'epoch'"):
        expand(request, load_settings({}, {"HARNESS_CONFIG": "/dev/null"}))


def test_more_frames_than_the_tiny_clip_takes_by_default_are_fitted_and_evaluated(small_dataset: Path) -> None:
    request = Request((MethodChoice("vificlip"),), ("b2n",), (str(small_dataset),), MINI, views={"frames": "16"})
    resolved = resolve.resolve(request, load_settings({}, {"HARNESS_CONFIG": "/dev/null"}))
    chosen = resolved.combinations[0].chosen[0]
    assert chosen.training is not None and chosen.training.views.frames == 16
    assert {planned.views.frames for planned, _ in chosen.evals} == {16}
