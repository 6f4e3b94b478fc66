"""The command that a row of the board shows measures that row again: the same keys, whatever was changed."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness.cells.backbone import BackboneChoice
from harness.cells.from_request import expand
from harness.cells.request import MethodChoice, Request
from harness.cli import build_parser
from harness.commands._arguments import request_of
from harness.data.official.cards import load_card
from harness.machine.settings import Settings, load_settings
from reports.aggregate import rows_of
from reports.command import run_command
from reports.entries import Entry
from reports.row import Row
from results.measurement import keys_of
from results.measurement_words import signature
from results.record import read_record
from tests.results.factories import Sample, write_sample

MINI = BackboneChoice("mini-clip", None)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    places = {"runs": str(tmp_path / "runs"), "cache": str(tmp_path / "cache"), "lists": str(tmp_path / "lists")}
    return load_settings(places, {"HARNESS_CONFIG": "/dev/null"})


def measured(request: Request, settings: Settings, tmp_path: Path, activation: str = "") -> list[Row]:
    """The rows of a request, as if its cells had been computed with weights of an activation."""
    template = read_record(write_sample(tmp_path / "template", protocol="few_shot", part="k2", shots=2))
    entries = []
    for cell in expand(request, settings).evals:
        m = cell.measurement
        if m.fitted is not None:
            fit = replace(m.fitted, used=m.fitted.list.n, precision="bf16", weights_sha256="0" * 64)
            m = replace(m, training=fit)
        m = replace(m, model=replace(m.model, activation=activation))
        m = replace(m, evaluation=replace(m.evaluation, evaluated=m.evaluation.list.n))
        card = replace(template.method, title=cell.row.card.title, defaults=cell.row.defaults.as_dict())
        record = replace(
            template, measurement=m, key=cell.key, signature=signature(m), columns=cell.protocol.columns, method=card,
            embedded=cell.dataset.kind == "embedded", fit=template.fit if m.fitted else None,
        )  # fmt: skip
        entries.append(Entry(cell.record, cell.record.name, record, "2026-01-01T00:00:00+00:00"))
    return rows_of(entries)


def again_of(command: str, places: dict[str, str]) -> Request:
    """The request that `run` makes of a command, with the places filled in."""
    words = shlex.split(command)
    assert words[:4] == ["python", "-m", "harness", "run"]
    for name, place in places.items():
        assert any(name in word for word in words), name
        words = [word.replace(name, place) for word in words]
    assert not [word for word in words if "PATH-TO" in word], words
    return request_of(build_parser().parse_args(words[3:]))


def keys(request: Request, settings: Settings) -> set[tuple[str, str, str]]:
    found = [keys_of(cell.measurement) for cell in expand(request, settings).evals]
    return {(key.cell, key.row, key.group) for key in found}


BASE: dict[str, Any] = {"methods": (MethodChoice("vificlip"),), "protocols": ("b2n",), "datasets": ("mini_target",)}
REQUESTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "few_shot": {"protocols": ("few_shot",)},
    "zero_shot": {"protocols": ("zero_shot",)},
    "supervised": {"protocols": ("supervised",), "datasets": ("mini_source",)},
    "untrained": {"methods": (MethodChoice("vanilla_clip"),)},
    "parent fit": {"methods": (MethodChoice("bridge_prompt"),), "protocols": ("few_shot",)},
    "recipe": {"recipe": {"lr": "0.00123456789", "betas": "0.9,0.999", "epochs": "3", "seed": "7", "flip": "false"}},
    "some recipes": {"protocols": ("few_shot",), "recipe": {"epochs": "50"}},
    "views": {"views": {"frames": "2", "normalize": "clip", "reader": "exact"}},
    "several clips": {"views": {"clips": "4", "crops": "3", "sampling": "uniform"}},
    "views of evals": {"eval_views": {"frames": "3", "reader": "exact", "clips": "2", "sampling": "random"}},
    "both views": {"views": {"frames": "2"}, "eval_views": {"frames": "4", "normalize": "clip"}},
    "views of an untrained method": {"methods": (MethodChoice("vanilla_clip"),), "views": {"frames": "2"},
                                     "eval_views": {"frames": "3"}},
    "options": {"methods": (MethodChoice("vificlip", {"template": "it's a \"video\", of {}: ok"}),)},
    "options of prompts": {"methods": (MethodChoice("bridge_prompt", {"stage_one": "clip", "vision_tokens": "3"}),)},
    "class names": {"variant": "corrected"},
    "random weights": {"backbone": BackboneChoice("ViT-B-32", "random")},
    "other weights": {"backbone": BackboneChoice("ViT-L-14", "laion2b_s32b_b82k")},
    "usual weights on embedded data": {"backbone": BackboneChoice("ViT-B-16", "openai")},
    "a source": {"protocols": ("zero_shot",), "source": "mini_target"},
    "two repeats": {"repeats": (1, 2)},
    "seeds": {"protocols": ("few_shot",), "seeds": 3},
    "seeds with a changed recipe": {"protocols": ("supervised",), "datasets": ("mini_source",), "seeds": 2,
                                    "recipe": {"epochs": "3"}},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", REQUESTS)
def test_the_command_measures_the_row_again(name: str, settings: Settings, tmp_path: Path) -> None:
    request = Request(**{**BASE, **REQUESTS[name]})
    (row,) = measured(request, settings, tmp_path)
    made = again_of(run_command(row).text, {})
    assert keys(replace(made, repeats=request.repeats), settings) == keys(request, settings), run_command(row).text
    assert not run_command(row).notes


def test_a_default_row_has_a_short_command(settings: Settings, tmp_path: Path) -> None:
    (row,) = measured(Request(**BASE), settings, tmp_path)
    assert run_command(row).text == (
        "python -m harness run --method vificlip --protocol b2n --dataset mini_target --precision bf16"
    )


@pytest.mark.slow
def test_files_and_folders_must_be_filled_in(settings: Settings, small_dataset: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(small_dataset, tmp_path / "my videos"))
    weights, stage, checkpoint = (tmp_path / name for name in ("w.pt", "s.pth", "c.pth"))
    for number, path in enumerate((weights, stage, checkpoint)):
        save_file({"visual.proj": np.full((4, 2), number, np.float32), "ln_final.weight": np.ones(4, np.float32)}, path)
    places = {"PATH-TO-my videos": str(data), "PATH-TO-WEIGHTS": str(weights)}
    for arch, activation in ((None, "gelu"), (None, "quickgelu"), ("ViT-B-16", "gelu"), ("ViT-B-16", "quickgelu")):
        backbone = BackboneChoice(arch, str(weights), activation)
        own = Request(**{**BASE, "datasets": (str(data),), "backbone": backbone})
        (row,) = measured(own, settings, tmp_path, {"gelu": "gelu", "quickgelu": "quick_gelu"}[activation])
        assert keys(again_of(run_command(row).text, places), settings) == keys(own, settings)
    assert [note.split(":")[0] for note in run_command(row).notes] == list(places)
    assert row.measurement.model.weights.removeprefix("sha256:") in run_command(row).notes[1]

    staged = replace(own, datasets=("mini_target",), backbone=None,
                     methods=(MethodChoice("bridge_prompt", {"stage_one": str(stage)}),))  # fmt: skip
    (row,) = measured(staged, settings, tmp_path)
    again_staged = again_of(run_command(row).text, {"PATH-TO-OPTION-STAGE_ONE": str(stage)})
    assert keys(again_staged, settings) == keys(staged, settings)

    evaluated = replace(staged, methods=(MethodChoice("vificlip", checkpoint=str(checkpoint)),))
    (row,) = measured(evaluated, settings, tmp_path)
    made = again_of(run_command(row).text, {"PATH-TO-CHECKPOINT": str(checkpoint)})
    assert keys(made, settings) == keys(evaluated, settings)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["b2n", "few_shot", "supervised", "zero_shot"])
def test_rows_of_own_data_are_measured_again(
    settings: Settings, small_dataset: Path, tmp_path: Path, protocol: str
) -> None:
    """Batches that short lists lowered differ by K; texts with both kinds of quotes come back unchanged."""
    data = Path(shutil.copytree(small_dataset, tmp_path / "it's my 12:30"))
    template = """it's a video of "{}", 'slowly'"""
    own = Request(
        (MethodChoice("vificlip", {"template": template}),), (protocol,), (str(data),),
        BackboneChoice("ViT-B-16", "openai"), {"epochs": "3"},
        source="mini_source" if protocol == "zero_shot" else None,
    )  # fmt: skip
    (row,) = measured(own, settings, tmp_path)
    text = run_command(row).text
    assert "accumulate" not in text and "epochs=3" in text
    words = [w.replace(f"PATH-TO-{data.name}", str(data)) for w in shlex.split(text)]
    assert keys(request_of(build_parser().parse_args(words[3:])), settings) == keys(own, settings)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["vificlip", "vanilla_clip"])
def test_own_training_lists_of_an_official_dataset_are_drawn_again(
    method: str, settings: Settings, tmp_path: Path
) -> None:
    card = load_card("hmdb51")
    for name, clips in (("train", range(20)), ("val", range(20, 24))):
        file = settings.lists.path / card.find_list(name).file
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            f"film{i}_{label.replace(' ', '_')}_f_cm_np1_fr_med_{i}.avi {number}\n"
            for number, label in enumerate(card.names)
            for i in clips
        ]
        file.write_text("".join(lines), encoding="utf-8")
    own = Request((MethodChoice(method),), ("few_shot",), ("hmdb51",), MINI, variant="corrected", lists="own")
    (row,) = measured(own, settings, tmp_path)
    assert ("--lists", "own") in pairs(command(row)) and ("--label-set", "corrected") in pairs(command(row))
    assert keys(again_of(run_command(row).text, {}), settings) == keys(own, settings)


def row_of(tmp_path: Path, **changes: Any) -> Row:
    path = write_sample(tmp_path, Sample(protocol="few_shot", part="k2", shots=2), **changes)
    (row,) = rows_of([Entry(path, path.name, read_record(path), "")])
    return row


def command(row: Row) -> list[str]:
    return shlex.split(run_command(row).text)


def pairs(words: list[str]) -> list[tuple[str, str]]:
    return list(pairwise(words))


@pytest.mark.parametrize("trained", [True, False])
def test_drawn_training_lists_are_drawn_again(tmp_path: Path, trained: bool) -> None:
    """Of an untrained method the scope alone says that the training lists of its table are own ones."""
    row = row_of(tmp_path, training_origin="own", trained=trained)
    assert row.measurement.protocol.scope.training_origin == "own"
    assert ("--lists", "own") in pairs(command(row))
    assert "--lists" not in command(row_of(tmp_path / "other"))


def test_a_chosen_source_of_an_untrained_method_is_asked_for(tmp_path: Path) -> None:
    row = row_of(tmp_path, trained=False)
    entry, m = row.entries[0], row.measurement
    scope = replace(m.protocol.scope, training_origin="source", own_training_lists="x")
    m = replace(m, protocol=replace(m.protocol, scope=scope))
    (row,) = rows_of([replace(entry, record=replace(entry.record, measurement=m))])
    assert ("--source", "NAME-OF-THE-SOURCE") in pairs(command(row))
    assert "NAME-OF-THE-SOURCE" in run_command(row).notes[0]


def test_an_own_source_is_a_place(tmp_path: Path) -> None:
    row = row_of(tmp_path)
    entry, m = row.entries[0], row.measurement
    assert m.fitted is not None
    listed = replace(m.fitted.list, dataset="mine", root="1a2b3c4d", origin="own")
    scope = replace(m.protocol.scope, training_origin="source", own_training_lists="x")
    m = replace(m, protocol=replace(m.protocol, scope=scope), training=replace(m.fitted, list=listed))
    (row,) = rows_of([replace(entry, record=replace(entry.record, measurement=m))])
    assert ("--source", "PATH-TO-mine") in pairs(command(row)) and "--lists" not in command(row)


def test_options_without_known_defaults_are_all_given(tmp_path: Path) -> None:
    options = (("a", 3), ("b", True), ("c", None), ("d", (1, 2.5)), ("e", 1.23456789e-7), ("f", "x, 'y'"))
    row = row_of(tmp_path, options=options)
    given = [value for flag, value in pairs(command(row)) if flag == "--set"]
    assert given == ["a=3", "b=true", "c=none", "d=(1, 2.5)", "e=1.23456789e-07", "f=x, 'y'"]


def test_a_loose_plugin_file_is_loaded_first(tmp_path: Path) -> None:
    row = row_of(tmp_path)
    entry = row.entries[0]
    for origin, words in (("file mine.py", ["--plugin", "mine.py"]), ("package mine 1.0", ["--method", "vificlip"])):
        record = replace(entry.record, method=replace(entry.record.method, origin=origin))
        assert command(replace(row, entries=(replace(entry, record=record),)))[4:6] == words


def test_what_the_command_cannot_say_is_noted(tmp_path: Path) -> None:
    row = row_of(tmp_path)
    entry, m = row.entries[0], row.measurement
    m = replace(m, evaluation=replace(m.evaluation, sample="every 10th"))
    (row,) = rows_of([replace(entry, record=replace(entry.record, measurement=m))])
    assert "every 10th" in run_command(row).notes[0]


def test_seeds_are_repeats_and_no_changed_recipe(tmp_path: Path) -> None:
    entries = []
    for index in (1, 2, 3):
        path = write_sample(tmp_path, Sample(protocol="few_shot", part="k2", shots=2), repeat=("seed", index))
        entries.append(Entry(path, path.name, read_record(path), ""))
    (row,) = rows_of(entries)
    assert ("--seeds", "3") in pairs(command(row)) and "--recipe" not in command(row)
