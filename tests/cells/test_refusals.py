"""`plan` says which cells `run` would refuse, and takes all arguments of `run`."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.cells.architecture_table import ARCHITECTURES
from harness.cells.backbone import BackboneChoice
from harness.cells.first_estimate import first_estimate
from harness.cells.from_request import expand
from harness.cells.open_clip_source import architectures, pretrained_tags
from harness.cells.plan import Plan, make_plan
from harness.cells.refusals import Finding, findings
from harness.cells.request import MethodChoice, Request
from harness.cli import build_parser
from harness.machine.settings import Settings, load_settings
from tests.conftest import in_process

MINI = BackboneChoice("mini-clip", None)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folders = {name: str(tmp_path / name) for name in ("runs", "cache", "weights")}
    return load_settings(folders, {})


@pytest.fixture
def root(small_dataset: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_dataset, tmp_path / "shapes"))


def plan_of(
    root: Path | str, settings: Settings, method: str = "vificlip", backbone: BackboneChoice = MINI, **recipe: str
) -> Plan:  # fmt: skip
    request = Request((MethodChoice(method),), ("b2n",), (str(root),), backbone, recipe, repeats=(1,))
    return make_plan(expand(request, settings))


def refused(found: list[Finding]) -> list[str]:
    return [finding.message for finding in found if finding.refused]


def test_missing_videos_are_counted(root: Path, settings: Settings) -> None:
    plan = plan_of(root, settings, "vanilla_clip")
    rows = plan.open_evals()[0].test.rows
    (root / rows[0][0]).unlink()
    (message, joint) = refused(findings(plan, settings))
    assert message.startswith(f"1 of {len(rows)} videos of the list 'base_val' of shapes were not found") and joint
    allowed = findings(plan, settings, allow_missing=True)
    assert not refused(allowed) and "marked incomplete and not ranked" in str(allowed[0])


@pytest.mark.slow
def test_a_batch_that_gives_no_update(root: Path, settings: Settings) -> None:
    found = refused(findings(plan_of("mini_target", settings, ranks="100", accumulate="4"), settings))
    assert "training clips give no update at an effective batch of" in found[0]
    assert not refused(findings(plan_of("mini_target", settings, ranks="1", accumulate="1"), settings))
    # A custom list lowers the batch; the videos that are missing on this machine do not.
    plan = plan_of(root, settings, ranks="16", accumulate="4")
    assert not refused(findings(plan, settings))
    (fit,) = plan.open_fits()
    for path, _ in fit.train.rows[1:]:
        (root / path).unlink()
    (short,) = refused(findings(plan, settings, allow_missing=True))
    assert short.startswith("1 training clips give no update at an effective batch of")


def test_copies_in_both_lists_are_refused(root: Path, settings: Settings) -> None:
    for clip in root.rglob("clip[1-9].avi"):
        shutil.copy(clip.with_name("clip0.avi"), clip)
    (message, *_) = refused(findings(plan_of(root, settings), settings))
    assert "have the same bytes as clips of the training list" in message and "Remove the copies" in message


def test_large_copies_are_not_compared_by_a_plan(root: Path, settings: Settings) -> None:
    """Clips of 2 GiB (without content, so that they take no space) with equal ends."""
    for clip in root.rglob("*.avi"):
        with clip.open("wb") as file:
            file.write(clip.parent.name.encode())
            file.truncate(2 * 2**30)
    started = time.monotonic()
    found = findings(plan_of(root, settings), settings)
    assert time.monotonic() - started < 1 and not refused(found)
    (text,) = [str(finding) for finding in found if "equal size" in finding.message]
    assert text.startswith("not checked: ") and "`run` compare them" in text
    assert re.search(r"\d+ pairs of clips .*first: \S+ \w+/clip\d.avi and ", text)


@pytest.mark.slow
def test_absent_weights_are_named(root: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(root))
    monkeypatch.setenv("HOME", str(root))
    backbone = BackboneChoice("ViT-B-16", "openai")
    notes = [str(f) for f in findings(plan_of(root, settings, "vanilla_clip", backbone), settings) if not f.refused]
    assert "the weights ViT-B-16/openai are not on this machine" in notes[0]
    settings.weights.path.mkdir()
    (settings.weights.path / "ViT-B-16-openai.safetensors").touch()
    plan = plan_of(root, settings, "vanilla_clip", backbone)
    assert not any("not on this machine" in f.message for f in findings(plan, settings))


@pytest.mark.slow
def test_a_method_that_does_not_work_on_an_architecture(root: Path, settings: Settings) -> None:
    """It is left out, as other combinations that do not exist, and does not end the plan or the run of the others."""
    with pytest.raises(UserError, match=r"xclip does not work on RN50: .* RN50 has a ModifiedResNet"):
        plan_of(root, settings, "xclip", BackboneChoice("RN50", "random"))
    methods = tuple(MethodChoice(name) for name in ("xclip", "vanilla_clip", "bridge_prompt"))
    cells = expand(Request(methods, ("b2n",), (str(root),), BackboneChoice("RN50", "random")), settings)
    assert {cell.row.name for cell in cells.evals} == {"vanilla_clip"}
    assert [name.split()[0] for name, _ in cells.left_out] == ["xclip", "bridge_prompt"]


@pytest.mark.slow
def test_options_can_make_a_method_work(root: Path, settings: Settings) -> None:
    """16 + 16 learned vectors leave no room in a context of 32 tokens, 4 + 4 do."""
    backbone = BackboneChoice("PE-Core-B-16", "random")
    request = Request((MethodChoice("efficient_prompt"),), ("b2n",), (str(root),), backbone)
    with pytest.raises(UserError, match=r"efficient_prompt does not work on PE-Core-B-16: .*32"):
        expand(request, settings)
    shorter = MethodChoice("efficient_prompt", {"prefix": "4", "postfix": "4"})
    plan = make_plan(expand(replace(request, methods=(shorter,)), settings))
    assert any("whether efficient_prompt" in f.message and not f.checked for f in findings(plan, settings))


@pytest.mark.parametrize("name", ["tc_clip", "lora"])
def test_a_later_method_that_does_not_work_on_an_architecture(root: Path, settings: Settings, name: str) -> None:
    """LoRA of the text tower alone works on a ResNet."""
    backbone = BackboneChoice("RN50", "random")
    with pytest.raises(UserError, match=rf"{name} does not work on RN50: .* RN50 has a ModifiedResNet"):
        plan_of(root, settings, name, backbone)
    text = MethodChoice("lora", {"encoder": "text"})
    assert expand(Request((text,), ("b2n",), (str(root),), backbone), settings).fits


def test_an_architecture_outside_of_the_table_is_not_checked(
    root: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(ARCHITECTURES, "ViT-S-32-alt")
    plan = plan_of(root, settings, "vanilla_clip", BackboneChoice("ViT-S-32-alt", "random"))
    assert any("not in the table" in f.message and not f.checked for f in findings(plan, settings))


def test_what_only_a_run_can_check_is_named(root: Path, settings: Settings) -> None:
    texts = [str(f) for f in findings(plan_of(root, settings, ranks="1", accumulate="1"), settings)]
    assert texts == ["not checked: videos are not decoded, and class texts are not tokenized"]


@pytest.mark.slow
def test_the_first_estimate_is_proportional_to_epochs(root: Path, settings: Settings) -> None:
    backbone = BackboneChoice("ViT-B-16", "random")
    plan = plan_of(root, settings, "vificlip", backbone, ranks="1", accumulate="1", epochs="1000")
    text = first_estimate(plan.open_fits(), plan.open_evals())
    cell = plan.open_fits()[0]
    hours = len(cell.train) * 1000 * cell.views.frames * ARCHITECTURES["ViT-B-16"].gmacs / 24.0 / 3600
    assert f"fits {hours:,.0f} h" in text and "on one CPU core" in text and "on one H200" in text
    assert first_estimate(plan_of(root, settings).open_fits(), ()) == ""  # mini-clip is not in the table


def test_plan_takes_every_option_of_run() -> None:
    verbs = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
    options = {verb: {o for a in verbs[verb]._actions for o in a.option_strings} for verb in ("run", "plan")}
    assert options["run"] - options["plan"] == set()


def test_a_refused_plan_ends_with_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = ("--runs", tmp_path / "runs", "--cache", tmp_path / "cache")
    command = ("plan", "--method", "vificlip", "--protocol", "b2n", "--dataset", "mini_target", "--arch",
               "mini-clip", *folders)  # fmt: skip
    assert in_process(*command, "--quiet", "--recipe", "ranks=100", "--keep-going", "--workers", 0, "--json") == 1
    rows = json.loads(capsys.readouterr().out)
    assert all("give no update" in row["refused"] for row in rows if row["kind"] == "fit")
    assert all(row["refused"] == "" for row in rows if row["kind"] == "eval")


def test_tags_are_read_from_the_source_of_open_clip() -> None:
    tag = pretrained_tags()["ViT-B-16"]["openai"]
    assert tag.quick_gelu and tag.url.endswith("ViT-B-16.pt") and tag.hub
    assert "ViT-B-16" in architectures() and "openai" in pretrained_tags()["ViT-B-16-quickgelu"]
    assert set(ARCHITECTURES) <= set(architectures())


@pytest.mark.slow
def test_names_of_the_table_are_those_of_open_clip() -> None:
    import open_clip

    assert list(architectures()) == sorted(open_clip.list_models())
    for arch, tags in pretrained_tags().items():
        assert sorted(tags) == sorted(open_clip.list_pretrained_tags_by_model(arch)), arch


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["ViT-B-16", "ViT-B-32", "RN50", "convnext_tiny"])
def test_the_table_of_architectures_is_that_of_the_models(arch: str) -> None:
    from benchmarks.architecture_table import measured

    made, known = measured(arch), ARCHITECTURES[arch]
    assert made.gmacs == pytest.approx(known.gmacs, rel=1e-3)
    assert (made.image_size, made.refused) == (known.image_size, known.refused)
