"""Faults of comparability that planning must make impossible: generations, twins, own training lists, late options."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import UserError
from harness.cells.backbone import BackboneChoice
from harness.cells.cell import Cells, EvalCell
from harness.cells.eval_state import RENEWED, REUSED
from harness.cells.from_request import expand
from harness.cells.plan import make_plan
from harness.cells.request import MethodChoice, Request
from harness.data.official.cards import load_card
from harness.machine.compute_options import ComputeOptions
from harness.machine.settings import Settings, load_settings
from harness.plugins.loose_files import load_file
from harness.running.run import execute
from results.measurement import keys_of
from results.measurement_words import division, open_reasons, signature, unranked_reasons
from results.record import read_record
from tests.conftest import CLASSES, write_clip

MINI = BackboneChoice("mini-clip", None)
RECIPE = {"epochs": "1", "ranks": "1", "accumulate": "1", "warmup_epochs": "0"}
pytestmark = pytest.mark.usefixtures("plugins_forgotten")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    places = {"runs": str(tmp_path / "runs"), "cache": str(tmp_path / "cache"), "lists": str(tmp_path / "lists")}
    return load_settings(places, {"HARNESS_CONFIG": "/dev/null"})


def request(*datasets: Path | str, method: str = "vificlip", **more: Any) -> Request:
    base = Request((MethodChoice(method),), ("b2n",), tuple(map(str, datasets)), MINI, RECIPE, {"frames": "2"})
    return replace(base, **more)


def first(cells: Cells, part: str = "base") -> EvalCell:
    return next(cell for cell in cells.evals if cell.eval.part == part)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["vificlip", "vanilla_clip"])
def test_a_folder_that_grew_is_another_generation_of_the_same_line(
    method: str, settings: Settings, small_dataset: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(small_dataset, tmp_path / "videos"))
    before = expand(request(data, method=method), settings)
    write_clip(data / CLASSES[0] / "more.avi", CLASSES[0], seed=99)
    after = expand(request(data, method=method), settings)
    for part in ("base", "novel", "joint"):
        old, new = (keys_of(first(cells, part).measurement) for cells in (before, after))
        assert old.line == new.line and old.row != new.row and old.group != new.group


@pytest.mark.slow
def test_two_folders_of_one_name_stay_two_datasets(settings: Settings, three_subsets: Path, tmp_path: Path) -> None:
    one = Path(shutil.copytree(three_subsets, tmp_path / "a" / "videos"))
    two = Path(shutil.copytree(three_subsets, tmp_path / "b" / "videos"))
    for clip in sorted(two.rglob("*.avi")):
        write_clip(clip, clip.parent.name, seed=500 + int(clip.stem.removeprefix("clip")))
    cells = expand(request(one, two, protocols=("b2n", "few_shot")), settings)
    assert len([cell for cell in cells.evals if cell.eval.part == "k2"]) == 2
    names = {cell.name for cell in cells.evals}
    assert len(names) == len(cells.evals) == 2 * (9 + 2), "names tell the two apart"
    keys = [keys_of(first(expand(request(path), settings)).measurement) for path in (one, two)]
    assert all(getattr(keys[0], name) != getattr(keys[1], name) for name in ("cell", "row", "line", "group"))


@pytest.mark.slow
def test_a_folder_that_was_moved_keeps_its_cells(settings: Settings, small_dataset: Path, tmp_path: Path) -> None:
    one = Path(shutil.copytree(small_dataset, tmp_path / "a" / "videos"))
    before = expand(request(one, method="vanilla_clip"), settings)
    execute(make_plan(before), settings, ComputeOptions(device="cpu", workers=0, quiet=True))
    moved = one.rename(tmp_path / "videos")
    after = expand(request(moved, method="vanilla_clip"), settings)
    assert {state.state for state in make_plan(after).evals} == {"done"}


@pytest.mark.slow
def test_the_scope_does_not_depend_on_the_selection(settings: Settings, three_subsets: Path) -> None:
    whole = expand(request(three_subsets), settings)
    part = expand(request(three_subsets, repeats=(2,)), settings)
    scopes = {cell.measurement.protocol.scope for cell in (*whole.evals, *part.evals)}
    assert len(scopes) == 1
    (scope,) = scopes
    assert sorted((e.part, e.repeat.kind, e.repeat.index) for e in scope.expected) == sorted(
        (part, "train_subset", i) for part in ("base", "novel", "joint") for i in (1, 2, 3)
    )
    untrained = expand(request(three_subsets, method="vanilla_clip"), settings)
    (other,) = {cell.measurement.protocol.scope for cell in untrained.evals}
    assert {(e.repeat.kind, e.repeat.index) for e in other.expected} == {("single", 1)}
    groups = {keys_of(cell.measurement).group for cell in (*whole.evals, *untrained.evals)}
    assert len(groups) == 1, "trained and untrained methods are ranked together"


@pytest.fixture
def hmdb_lists(settings: Settings) -> Path:
    """The training and evaluation list of HMDB-51, made up, without few-shot lists."""
    card = load_card("hmdb51")
    folder = settings.lists.path
    for name, clips in (("train", range(20)), ("val", range(20, 24))):
        file = folder / card.find_list(name).file
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            f"film{i}_{label.replace(' ', '_')}_f_cm_np1_fr_med_{i}.avi {number}\n"
            for number, label in enumerate(card.names)
            for i in clips
        ]
        file.write_text("".join(lines))
    return folder


@pytest.mark.slow
def test_own_training_lists_are_marked(settings: Settings, hmdb_lists: Path) -> None:
    asked = request("hmdb51", protocols=("few_shot",))
    with pytest.raises(UserError, match="few_shot"):
        expand(asked, settings)
    own = first(expand(replace(asked, lists="own"), settings), "k2").measurement
    assert own.fitted is not None and own.fitted.list.origin == "own" and own.evaluation.list.origin != "own"
    assert division(own) == "open" and "own training list" in open_reasons(own)
    assert "+own-training" in signature(own)
    untrained = request("hmdb51", protocols=("few_shot",), method="vanilla_clip")
    published = first(expand(untrained, settings), "k2").measurement
    assert division(replace(published, evaluation=replace(published.evaluation, views=own.evaluation.views))) != ""
    assert keys_of(published).group != keys_of(own).group, "never ranked with published lists"
    beside = first(expand(replace(untrained, lists="own"), settings), "k2").measurement
    assert keys_of(beside).group == keys_of(own).group, "an untrained method of the same request is ranked with it"
    assert keys_of(beside).number == keys_of(published).number, "and scored once"


def test_a_chosen_source_is_marked(settings: Settings, small_dataset: Path) -> None:
    asked = request("mini_target", protocols=("zero_shot",))
    usual = first(expand(asked, settings), "all").measurement
    chosen = first(expand(replace(asked, source="mini_target"), settings), "all").measurement
    assert "a chosen source" in open_reasons(chosen) and "a chosen source" not in open_reasons(usual)
    assert all(getattr(keys_of(usual), key) != getattr(keys_of(chosen), key) for key in ("row", "line", "group"))


@pytest.mark.slow
def test_a_changed_recipe_has_no_rank_in_the_closed_division(settings: Settings, small_dataset: Path) -> None:
    def reasons(dataset: Path | str, recipe: dict[str, str]) -> list[str]:
        m = first(expand(request(dataset, recipe=recipe, views={}), settings)).measurement
        done = replace(m.evaluation, evaluated=m.evaluation.list.n)
        assert m.fitted is not None
        training = replace(m.fitted, used=m.fitted.list.n)
        return list(unranked_reasons(replace(m, evaluation=done, training=training)))

    assert reasons("mini_target", {}) == []
    assert reasons("mini_target", {"epochs": "1"}) == ["changed recipe: epochs=1"]
    assert reasons("mini_target", {"seed": "7"}) == ["changed recipe: seed=7"]
    assert reasons("mini_target", {"epochs": "11"}) == [], "the declared value given again is no change"
    assert reasons(small_dataset, {"epochs": "1", "ranks": "1", "accumulate": "1"}) == []


LATE = '''
"""A method with an option that matters only in evaluation."""

from dataclasses import dataclass

from harness.api import ClipMethod, MethodCard, MethodOptions, Recipe, option, register_method


@dataclass(frozen=True)
class LateOptions(MethodOptions):
    """One option for fits, one for evals."""

    width: int = option(1, "decides the fit")
    temperature: float = option(1.0, "decides scores alone", evaluation_only=True)


@register_method("late")
class Late(ClipMethod):
    card = MethodCard(title="Late")
    recipe = Recipe(epochs=1, lr=1e-3)
    options_type = LateOptions
'''


@pytest.mark.slow
def test_options_and_views_of_evaluation_do_not_refit(settings: Settings, small_dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(LATE)
    load_file(tmp_path / "late.py")

    def of(options: dict[str, str], **more: Any) -> Cells:
        return expand(request(small_dataset, methods=(MethodChoice("late", options),), **more), settings)

    plain = of({})
    for other in (of({"temperature": "2"}), of({}, eval_views={"frames": "3"})):
        assert [c.key for c in other.fits] == [c.key for c in plain.fits]
        assert [c.folder for c in other.fits] == [c.folder for c in plain.fits]
        assert not {c.key for c in other.evals} & {c.key for c in plain.evals}
        rows = {keys_of(c.measurement).row for c in (*other.evals, *plain.evals)}
        assert len(rows) == 2
    wider = of({"width": "2"})
    assert not {c.key for c in wider.fits} & {c.key for c in plain.fits}
    assert first(of({}, eval_views={"frames": "3"})).views.frames == 3
    assert first(of({}, eval_views={"frames": "3"})).measurement.fitted.views.frames == 2  # type: ignore[union-attr]


VIEWS_PER_EVAL = '''
"""A protocol whose second part is seen with other views."""

from harness.api import Column, Eval, Fit, ListRef, Protocol, Repeat, Views, register_protocol


@register_protocol("two_views")
class TwoViews(Protocol):
    """One fit, two parts."""

    title = "Two views"
    columns = (Column("one", "one"), Column("two", "two"))

    def fits(self, dataset):
        yield Fit(ListRef(dataset.name, "train", "all"))

    def evals(self, dataset, fit):
        yield Eval("one", ListRef(dataset.name, "val", "all"))
        yield Eval("two", ListRef(dataset.name, "val", "all"), views=Views(frames=2))
'''


def test_a_protocol_sets_views_per_eval(settings: Settings, small_dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "two_views.py").write_text(VIEWS_PER_EVAL)
    load_file(tmp_path / "two_views.py")
    cells = expand(request(small_dataset, protocols=("two_views",), views={}), settings)
    one, two = first(cells, "one"), first(cells, "two")
    assert (one.views.frames, two.views.frames) == (4, 2) and len(cells.fits) == 1
    assert keys_of(one.measurement).row == keys_of(two.measurement).row
    assert not [reason for cell in (one, two) for reason in open_reasons(cell.measurement) if "views" in reason]


@pytest.mark.slow
def test_what_was_scored_for_another_row_is_taken_over(settings: Settings, small_dataset: Path, tmp_path: Path) -> None:
    """A list that stays is not scored again when another list of its row changes, nor for another protocol."""
    data = tmp_path / "videos"
    for clip in sorted(small_dataset.rglob("*.avi")):
        side = "train" if int(clip.stem.removeprefix("clip")) < 5 else "val"
        (data / side / clip.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, data / side / clip.parent.name)
    cells = expand(request(data, method="vanilla_clip"), settings)
    compute = ComputeOptions(device="cpu", workers=0, quiet=True)
    execute(make_plan(cells), settings, compute)
    joint, novel = first(cells, "joint"), first(cells, "novel")
    few = expand(request(data, method="vanilla_clip", protocols=("few_shot",)), settings)
    assert {state.reason for state in make_plan(few).evals} == {REUSED}
    execute(make_plan(few), settings, compute)
    assert read_record(few.evals[0].record).metrics == read_record(joint.record).metrics
    assert few.evals[0].predictions.read_bytes() == joint.predictions.read_bytes()

    write_clip(data / "val" / novel.labels.names[0] / "more.avi", novel.labels.names[0], seed=99)
    again = expand(request(data, method="vanilla_clip"), settings)
    base, old = first(again), read_record(first(cells).record)
    states = {state.cell.eval.part: state for state in make_plan(again).evals}  # type: ignore[union-attr]
    assert states["base"].reason == REUSED and states["novel"].reason != REUSED
    execute(make_plan(again), settings, compute)
    new = read_record(base.record)
    assert {state.state for state in make_plan(again).evals} == {"done"}
    assert (new.metrics, new.predictions.sha256) == (old.metrics, old.predictions.sha256)
    assert keys_of(new.measurement).row == keys_of(read_record(first(again, "novel").record).measurement).row
    assert keys_of(new.measurement).row != keys_of(old.measurement).row
    assert read_record(first(cells).record) == old, "the older generation stays"


@pytest.mark.slow
def test_an_incomplete_record_is_taken_over_only_if_that_is_allowed(
    settings: Settings, small_dataset: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(small_dataset, tmp_path / "videos"))
    cells, few = (
        expand(request(data, method="vanilla_clip", protocols=(name,)), settings) for name in ("b2n", "few_shot")
    )
    (data / first(cells, "joint").test.rows[0][0]).unlink()
    compute = ComputeOptions(device="cpu", workers=0, quiet=True)
    execute(make_plan(cells), settings, replace(compute, allow_missing=True))
    assert {state.reason for state in make_plan(few).evals} == {REUSED}
    with pytest.raises(UserError, match="were not found"):
        execute(make_plan(few), settings, compute)
    execute(make_plan(few), settings, replace(compute, allow_missing=True))
    assert read_record(few.evals[0].record).incomplete


@pytest.mark.slow
def test_a_changed_card_is_written_without_computing(
    settings: Settings, small_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = expand(request(small_dataset, method="vanilla_clip"), settings)
    compute = ComputeOptions(device="cpu", workers=0, quiet=True)
    execute(make_plan(cells), settings, compute)
    old = read_record(first(cells).record)
    spec = first(cells).row.spec
    monkeypatch.setattr(spec, "card", replace(spec.card, title="Another title"))
    assert {state.reason for state in make_plan(cells).evals} == {RENEWED}
    execute(make_plan(cells), settings, compute)
    new = read_record(first(cells).record)
    assert new.method.title == "Another title" != old.method.title
    assert replace(new, method=old.method) == old
