"""Settings that a later method cannot have are refused by `plan`, before a fit starts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.base.errors import UserError
from harness.cells.backbone import BackboneChoice
from harness.cells.exported_method import with_checkpoint
from harness.cells.from_request import expand
from harness.cells.plan import make_plan
from harness.cells.request import MethodChoice, Request
from harness.cells.scored_together import check_scored_together
from harness.data.official.cards import load_card
from harness.engine.contract.fixture import FRAMES as CLIP_FRAMES
from harness.engine.contract.fixture import MethodUnderTest
from harness.engine.contract.tiny_clip import tiny_backbone
from harness.engine.method import method_class
from harness.engine.method_weights import export
from harness.engine.model.backbone import load_backbone
from harness.machine.compute_options import ComputeOptions
from harness.machine.settings import load_settings
from harness.plugins import registry
from harness.running.run import execute
from harness.spec import LabelSet, Recipe, Views
from harness.weights.exported import ExportedFit, metadata_of
from methods._specs._texts import split_words
from tests.conftest import write_clip


def planned(method: str, protocol: str = "b2n", recipe: dict[str, str] | None = None, **options: str) -> None:
    request = Request((MethodChoice(method, options),), (protocol,), ("mini_target",), recipe=recipe or {})
    expand(request, load_settings({}))


@pytest.mark.parametrize("method", ["actionclip", "ost", "ez_clip"])
@pytest.mark.parametrize("setting", ["smoothing", "mixup", "cutmix"])
def test_targets_of_a_contrast_are_single_classes(method: str, setting: str) -> None:
    planned(method)
    with pytest.raises(UserError, match=f"{method} needs one class per clip; the recipe has {setting}=0.5, expected 0"):
        planned(method, recipe={setting: "0.5"})


TOGETHER = {"ost": ({"stop": "batch"}, 2), "ez_clip": ({"temporal": "adapters", "adapter_order": "published"}, 1)}
"""Options with which the scores of a video depend on the videos beside it, and the videos of the original."""


@pytest.mark.parametrize("method", TOGETHER)
def test_the_number_of_videos_that_are_scored_together_is_the_methods(method: str, tmp_path: Path) -> None:
    options, together = TOGETHER[method]
    settings = load_settings({"runs": str(tmp_path / "runs"), "cache": str(tmp_path / "cache")})
    cells = expand(Request((MethodChoice(method, options),), ("b2n",), ("mini_target",)), settings)
    for allowed in (None, together):
        check_scored_together(cells.evals, ComputeOptions(eval_clips=allowed))
    with pytest.raises(UserError, match=f"{method} scores {together} videos together .* --eval-clips is 3, expected"):
        execute(make_plan(cells), settings, ComputeOptions(eval_clips=3))
    assert not (tmp_path / "runs").exists()
    plain = expand(Request((MethodChoice(method),), ("b2n",), ("mini_target",)), settings)
    check_scored_together(plain.evals, ComputeOptions(eval_clips=3))


@pytest.mark.parametrize(
    ("method", "option", "value"),
    [
        ("lora", "projections", "xyz"), ("lora", "projections", ""), ("lora", "blocks", "0+a"),
        # One spelling of each value, so that one method has one row.
        ("lora", "projections", "vkq"), ("lora", "projections", "qq"), ("lora", "blocks", "2+0"),
        ("lora", "blocks", "1+1"), ("lora", "blocks", "01"), ("tc_clip", "prompt_layers", "12+10"),
        ("tc_clip", "prompt_layers", "0"), ("st_adapter", "kernel", "03x1x1"),
        ("st_adapter", "kernel", "2x1x1"), ("st_adapter", "kernel", "abc"), ("st_adapter", "kernel", "3x3"),
    ],
)  # fmt: skip
def test_words_of_options(method: str, option: str, value: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"{method}:{option} is '{value}', expected")):
        planned(method, **{option: value})


@pytest.mark.parametrize("method", ["froster", "tc_clip"])
def test_a_method_with_one_text_per_class_refuses_several(method: str, tmp_path: Path) -> None:
    file = tmp_path / "texts.json"
    names = [f"c{i}" for i in range(3)]
    texts = {name: [f"{name}: one", f"{name}: two"] for name in names}
    file.write_text(json.dumps({"form": "class texts 1", "source": "human", "texts": texts}))
    spec = registry.method_spec(method)
    with pytest.raises(UserError, match=f"The class 'c0' has 2 texts in .*, and {method} reads one per class"):
        spec.check_classes(spec.options_for({"class_texts": str(file)}), LabelSet(tuple(names)))


def test_divided_names_of_tc_clip_need_their_own_label_set() -> None:
    spec = registry.method_spec("tc_clip")
    divided, plain = spec.options_for({"split_names": "true"}), spec.options_for({})
    for dataset in ("hmdb51", "k400", "k600", "ssv2"):
        spec.check_classes(divided, load_card(dataset).labels("all", "published"))
    published, split = (load_card("ucf101").labels("all", variant) for variant in ("published", "split"))
    spec.check_classes(plain, published)
    spec.check_classes(divided, split)
    with pytest.raises(UserError, match="split_names=true divides the class name 'ApplyEyeMakeup' of the label set"):
        spec.check_classes(divided, published)
    # The label set gives the texts of the original.
    assert [split_words(name) for name in published.names] == [split_words(name) for name in split.names]
    assert [split_words(name) for name in split.names] == list(split.names)


@pytest.mark.parametrize(("method", "option"), [("st_adapter", "head=text"), ("vita_clip", "context=shared")])
def test_a_fixed_set_of_classes_is_explained_by_the_option(method: str, option: str) -> None:
    name = option.partition("=")[0]
    with pytest.raises(UserError, match=f"{method} has a fixed set of classes, and b2n evaluates") as caught:
        planned(method, **{name: "classes", "fixed_classes": "20"})
    assert f"--set {option}" in f"{caught.value.message} {caught.value.hint}"


def test_few_shot_recipes_of_ez_clip_are_published_for_one_k() -> None:
    spec = registry.method_spec("ez_clip")
    for dataset, published in (("hmdb51", 2), ("ucf101", 8)):
        for shots in (2, 4, 8, 16):
            recipe = spec.recipe_for("few_shot", dataset, shots)
            assert recipe is not None
            assert recipe.source.startswith("own: published for K") is (shots != published)


FRAMES = [
    # Fits and evals have one number of frames, which the option follows.
    ("ez_clip", {"frames": "16"}, {}, {}, "ez_clip is set up for 16 frames, the view has 4"),
    ("xclip", {"frames": "8"}, {}, {}, "xclip is set up for 8 frames, the view has 4"),
    ("aim", {}, {}, {"frames": "8"}, "aim is set up for 4 frames, the view has 8"),
    ("efficient_prompt", {}, {}, {"frames": "8"}, "efficient_prompt is set up for 4 frames, the view has 8"),
    ("efficient_prompt", {"temporal": "no"}, {}, {"frames": "8"}, ""),
    ("vita_clip", {}, {"frames": "6"}, {"frames": "8"}, "vita_clip is set up for 6 frames, the view has 8"),
    ("vita_clip", {"local_prompts": "no", "summary": "no"}, {}, {"frames": "8"}, ""),
    ("tc_clip", {"positions": "joint"}, {}, {"frames": "8"}, "tc_clip is set up for 4 frames, the view has 8"),
    ("tc_clip", {}, {}, {"frames": "8"}, ""),
    ("actionclip", {}, {"frames": "78"}, {}, "actionclip has positions for 77 frames, the view has 78"),
    ("actionclip", {"fusion": "mean"}, {"frames": "78"}, {}, ""),
    ("mote", {}, {"frames": "77"}, {}, ""),
    ("mote", {}, {}, {"frames": "78"}, "mote has positions for 77 frames, the view has 78"),
    ("viclip", {"tubelet": "3"}, {}, {}, "viclip:tubelet is 3, which does not divide the 4 frames"),
    ("viclip", {"tubelet": "2"}, {}, {}, ""),
]
"""(method, options, views, views of evals, refusal); no refusal if it is empty."""


@pytest.mark.parametrize(("method", "options", "views", "eval_views", "message"), FRAMES)
def test_a_plan_refuses_frames_that_a_method_cannot_take(
    method: str, options: dict[str, str], views: dict[str, str], eval_views: dict[str, str], message: str
) -> None:
    request = Request(
        (MethodChoice(method, options),), ("zero_shot",), ("mini_target",), views=views, eval_views=eval_views
    )
    if not message:
        expand(request, load_settings({}))
        return
    with pytest.raises(UserError, match=message):
        expand(request, load_settings({}))


def test_frames_are_checked_where_videos_are_read() -> None:
    """Methods refuse other frames on their own, too, for code that makes no plan."""
    for name in ("aim", "ez_clip", "xclip", "efficient_prompt", "vita_clip"):
        cls = method_class(name)
        method = cls(tiny_backbone(), cls.options_for({}, frames=2)).eval()
        size = method.backbone.image_size
        with torch.no_grad():
            method.encode_video(torch.zeros(1, 2, 3, size, size))
            with pytest.raises(UserError, match=f"{name} is set up for 2 frames, the view has 3"):
                method.encode_video(torch.zeros(1, 3, 3, size, size))


def test_rates_of_ost_that_depend_on_k() -> None:
    spec = registry.method_spec("ost")
    rates = {(d, k): spec.recipe_for("few_shot", d, k).lr for d in ("hmdb51", "ssv2") for k in (2, 4, 8, 16)}  # type: ignore[union-attr]
    assert {key: lr for key, lr in rates.items() if lr != 5e-6} == {("hmdb51", 4): 3.5e-6, ("ssv2", 16): 2.5e-6}
    assert spec.recipe_for("few_shot", "hmdb51", 4, "mini") == spec.recipes["mini"]


def test_words_of_vita_clip_decide_the_number_of_vectors() -> None:
    planned("vita_clip", words="a video of")
    for others in ({"contexts": "4"}, {"context": "classes", "fixed_classes": "10"}):
        with pytest.raises(UserError, match=f"vita_clip:{next(iter(others))} has no effect with words=a video of"):
            planned("vita_clip", words="a video of", **others)


def test_an_option_without_effect_makes_no_row_of_its_own() -> None:
    planned("lora", form="maxi", rank="4")
    # The embedded CLIP has a value of its own as the default of `scale`.
    planned("lora", form="maxi", scale="model")
    with pytest.raises(UserError, match="Option lora:alpha has no effect with form=maxi"):
        planned("lora", form="maxi", alpha="4")


def test_divided_names_of_tc_clip_are_refused_by_a_plan(tmp_path: Path) -> None:
    """Once the check was called for files of class texts alone."""
    folder = tmp_path / "shapes"
    for name in ("CircleBouncing", "StarSpinning"):
        for number in range(8):
            write_clip(folder / name / f"{number}.avi", seed=number)
    for options, message in (({}, ""), ({"split_names": "true"}, "divides the class name 'CircleBouncing'")):
        request = Request(
            (MethodChoice("tc_clip", options),), ("supervised",), (str(folder),), BackboneChoice("mini-clip", None)
        )
        if not message:
            expand(request, load_settings({}))
            continue
        with pytest.raises(UserError, match=message):
            expand(request, load_settings({}))


def test_training_classes_of_mote_are_counted_by_a_plan() -> None:
    planned("mote", training_classes="12")
    with pytest.raises(UserError, match="mote on mini_target, label set 'base': mote has room for 2 training classes"):
        planned("mote", training_classes="2")


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("st_adapter", {"blocks": "0"}, "st_adapter:blocks is 0, expected at least 2: no adapter learns"),
        ("st_adapter", {"blocks": "1"}, "st_adapter:blocks is 1, expected at least 2"),
        ("st_adapter", {"blocks": "0", "before": "attn"}, "st_adapter:blocks is 0, expected at least 1"),
        ("ez_clip", {"dropout": "1"}, "ez_clip:dropout is 1, expected from 0 to 0.99"),
        ("lora", {"dropout": "1"}, "lora:dropout is 1, expected from 0 to 0.99"),
        ("tc_clip", {"context_vectors": "80"}, "tc_clip:context_vectors is 80, expected from 1 to 72"),
        ("tc_clip", {"freeze": "image", "stop_gradient": "no"}, "stop_gradient has no effect with freeze=image"),
        ("vita_clip", {"contexts": "90"}, "vita_clip:contexts is 90, expected from 1 to 72"),
    ],
)  # fmt: skip
def test_a_plan_refuses_settings_with_which_nothing_learns(method: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        planned(method, **options)


def test_one_table_of_positions_is_for_small_pictures() -> None:
    spec = registry.method_spec("mformer")
    spec.options_for({"config": "base", "positions": "joint"})
    with pytest.raises(UserError, match="mformer:positions=joint is for pictures of 224 pixels; config=hr has 336"):
        spec.options_for({"positions": "joint"})


TRAINED = [
    name for name, source in registry.sources("method").items()
    if source.origin == "built-in" and registry.method_spec(name).uses_clip and registry.method_spec(name).recipes
]  # fmt: skip


@pytest.mark.parametrize("method", TRAINED)
def test_a_share_of_initial_weights_needs_trained_tensors_of_clip(method: str) -> None:
    cls = method_class(method)
    built = cls(tiny_backbone(), cls.options_for({}, frames=2))
    trained = [name for name, p in built.named_parameters() if p.requires_grad and built.shares_initial(name)]
    assert cls.frozen_clip is (not trained)
    if cls.frozen_clip:
        protocol = "b2n" if "b2n" in cls.recipes else "zero_shot"
        planned(method, protocol)
        with pytest.raises(UserError, match=f"initial_share is 0.5, but {method} trains no tensor of CLIP"):
            planned(method, protocol, recipe={"initial_share": "0.5"})


@pytest.mark.parametrize("method", TRAINED)
def test_smoothed_targets_change_the_loss_or_are_refused(method: str) -> None:
    """A method that reads hard labels alone would give two rows with equal weights."""
    cls = method_class(method)
    if cls(tiny_backbone(), cls.options_for({}, frames=CLIP_FRAMES)).fits_at_once:
        return
    test = MethodUnderTest(cls, {}, tiny_backbone())
    recipe = replace(test.own_recipe, smoothing=0.3, mixup=0.0, cutmix=0.0)
    try:
        cls.check_recipe(recipe)
    except UserError as error:
        assert "smoothing=0.3, expected 0" in error.message
        return
    losses = []
    for share in (0.0, 0.3):
        torch.manual_seed(0)
        built = test.fresh()
        test.targets = (1 - share) * torch.eye(3)[torch.arange(4) % 3] + share / 3
        losses.append(test.see(built, test.base))
    assert not torch.equal(*losses)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("mformer", {"checkpoint": "random"}),
        ("st_adapter", {"head": "classes", "fixed_classes": "5", "blocks": "0"}),
    ],
)  # fmt: skip
def test_a_method_with_fixed_classes_leaves_the_others_in_the_plan(method: str, options: dict[str, str]) -> None:
    """The hint tries choices of options, some of which do not go with the others."""
    both = (MethodChoice("vificlip"), MethodChoice(method, options))
    cells = expand(Request(both, ("b2n",), ("mini_target",)), load_settings({}))
    assert {cell.row.name for cell in cells.evals} == {"vificlip"}
    assert any("has a fixed set of classes" in reason for _, reason in cells.left_out)


def test_an_export_of_tc_clip_is_evaluated_with_other_frames(tmp_path: Path) -> None:
    """The option `frames` has no effect with one table of positions, so that the export's number does not apply."""
    cls = method_class("tc_clip")
    for options, stated in (({}, False), ({"positions": "joint"}, True)):
        built = cls(load_backbone("mini-clip"), cls.options_for(options, frames=4))
        facts = ExportedFit(
            "tc_clip", built.options.as_dict(), "mini-clip", "mini", ("a", "b"), Views(frames=4), "shapes/base",
            Recipe(epochs=1, lr=1e-3), "0" * 16,
        )  # fmt: skip
        file = export(built, tmp_path / f"{stated}.safetensors", facts=metadata_of(facts))
        choice = with_checkpoint(MethodChoice("tc_clip"), str(file))
        assert ("frames" in choice.options) is stated
        request = Request((choice,), ("b2n",), ("mini_target",), views={"frames": "8"})
        if not stated:
            expand(request, load_settings({}))
            continue
        with pytest.raises(UserError, match="tc_clip is set up for 4 frames, the view has 8"):
            expand(request, load_settings({}))


def test_weights_of_a_model_of_its_own_are_an_option(tmp_path: Path) -> None:
    file = tmp_path / "mf.pyth"
    torch.save({"model_state": {"patch_embed.proj.weight": torch.zeros(1)}}, file)
    request = Request((MethodChoice("mformer", checkpoint=str(file)),), ("supervised",), ("mini_target",))
    with pytest.raises(UserError, match="needs the weights of a checkpoint"):
        expand(request, load_settings({}))
