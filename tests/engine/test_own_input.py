"""`normalize=model`: frames as open_clip prepares them for the weights, by default, in the measurement and in words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from harness.api import UserError, Views, load_backbone
from harness.cells.backbone import BackboneChoice, overridden, views_for
from harness.cells.open_clip_source import CLIP_INPUT, pretrained_tags
from harness.engine.contract.tiny_clip import tiny_backbone
from harness.engine.method import method_class
from harness.engine.method_weights import export
from harness.engine.video import mm_pipeline
from harness.engine.video.batches import Draw
from harness.engine.video.frames import normalise
from harness.engine.video.transforms import OwnResize
from harness.spec import Recipe
from harness.spec.views import NO_INPUT, InputSettings
from tests.conftest import in_process

SIGLIP = InputSettings((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "squash", "bicubic")


def prepared(settings: InputSettings, size: int, frame: np.ndarray) -> torch.Tensor:
    """A frame as open_clip prepares it."""
    config = PreprocessCfg(
        size=size, mean=settings.mean, std=settings.std, interpolation=settings.interpolation,
        resize_mode=settings.resize,
    )  # fmt: skip
    tensor: torch.Tensor = image_transform_v2(config, is_train=False)(Image.fromarray(frame))
    return tensor


@pytest.mark.parametrize("resize", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_frames_equal_those_of_open_clip(resize: str, interpolation: str) -> None:
    settings, generator = (
        InputSettings((0.5, 0.4, 0.3), (0.2, 0.3, 0.4), resize, interpolation),
        np.random.default_rng(0),
    )
    views = Views(frames=1, normalize="model", input=settings)
    for height, width, size in ((37, 91, 32), (91, 37, 32), (64, 64, 32), (20, 21, 32), (97, 96, 33)):
        frame = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        (own,) = OwnResize(size, resize, interpolation)({"imgs": [frame]})["imgs"]
        normal = normalise(torch.from_numpy(own.copy()).permute(2, 0, 1)[None], views, torch.device("cpu"))[0]
        assert torch.allclose(normal, prepared(settings, size, frame), atol=1e-5), (height, width, size)


def test_a_decoded_clip_is_prepared_as_by_open_clip(small_dataset: Path) -> None:
    video = next(small_dataset.rglob("*.avi"))
    for settings in (SIGLIP, CLIP_INPUT):
        views = Views(frames=3, normalize="model", input=settings)
        steps = mm_pipeline.eval_pipeline(views, 32)
        own = mm_pipeline.ListVideoDataset([(video, 0)], steps, 0)[Draw(0)]["frames"]
        plain = [step for step in steps if step["type"] != "HarnessOwnResize"]
        decoded = mm_pipeline.ListVideoDataset([(video, 0)], plain, 0)[Draw(0)]["frames"]
        frames = [prepared(settings, 32, frame.transpose(1, 2, 0).copy()) for frame in decoded]
        assert torch.allclose(
            normalise(torch.from_numpy(own), views, torch.device("cpu")), torch.stack(frames), atol=1e-5
        )
        training = mm_pipeline.fit_pipeline(views, 32, Recipe(epochs=1, lr=1e-3))
        clip = mm_pipeline.ListVideoDataset([(video, 0)], training, 0)[Draw(0, 0, 0)]["frames"]
        assert clip.shape == (3, 3, 32, 32)
        assert (training[3]["resize"], training[3]["size"]) == (settings.resize, 36)
    three = mm_pipeline.eval_pipeline(Views(frames=1, crops=3, normalize="model", input=CLIP_INPUT), 32)
    assert mm_pipeline.ListVideoDataset([(video, 0)], three, 0)[Draw(0)]["frames"].shape == (3, 3, 32, 32)


def test_statistics_of_every_tag_are_those_of_open_clip() -> None:
    for arch, tags in pretrained_tags().items():
        for tag, facts in tags.items():
            config = open_clip.pretrained.get_pretrained_cfg(arch, tag)
            stated = (config["mean"], config["std"], config["resize_mode"], config["interpolation"])
            own = facts.input
            assert (own.mean, own.std, own.resize, own.interpolation) == stated, (arch, tag)


@pytest.mark.parametrize(
    ("arch", "weights", "normalize"),
    [
        ("ViT-B-16", "openai", "imagenet"), ("ViT-L-14", None, "imagenet"), ("mini-clip", None, "imagenet"),
        ("ViT-B-16", "random", "imagenet"), ("ViT-B-16-SigLIP", "webli", "model"),
        ("ViT-B-16-SigLIP", "random", "model"),
        ("ViT-B-16", "laion2b_s34b_b88k", "model"), ("ViT-L-14", "laion2b_s32b_b82k", "model"),
    ],
)  # fmt: skip
def test_published_input_is_the_default_of_the_original_backbones(
    arch: str, weights: str | None, normalize: str
) -> None:
    choice = BackboneChoice(arch, weights)
    views = views_for(Views(frames=4), choice, {})
    assert views.normalize == normalize
    assert views.input == (choice.own_input.settings if normalize == "model" else NO_INPUT)
    own = overridden(views, choice, {"normalize": "model"})
    assert own.input == choice.own_input.settings and own.single.input == own.input
    assert overridden(own, choice, {"normalize": "clip"}).input == NO_INPUT


def test_own_settings_are_not_an_argument_and_leave_no_room_for_crops() -> None:
    choice = BackboneChoice("ViT-B-16-SigLIP", "webli")
    with pytest.raises(UserError, match="input"):
        views_for(Views(frames=4), choice, {"input": "x"})
    with pytest.raises(UserError, match=r"crops is 3, but the weights take frames with resize squash"):
        views_for(Views(frames=4), choice, {"crops": "3"})
    with pytest.raises(UserError, match="without the settings of a model"):
        mm_pipeline.eval_pipeline(Views(normalize="model"), 32)


def test_a_file_takes_its_configuration(tmp_path: Path) -> None:
    file = tmp_path / "open_clip_model.safetensors"
    file.write_bytes(b"not read here")
    choice = BackboneChoice("ViT-B-16", str(file))
    assert choice.own_input.settings == CLIP_INPUT and choice.takes_published_input
    config = {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1], "interpolation": "bilinear", "resize_mode": "squash"}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": {}, "preprocess_cfg": config}))
    assert choice.own_input.settings == InputSettings((0.1, 0.2, 0.3), (1.0, 1.0, 1.0), "squash", "bilinear")
    assert not choice.takes_published_input
    for broken, message in (('{"preprocess_cfg": {"std": [0, 1, 1]}}', "std above 0"), ("{", "not a configuration"),
                            ('{"preprocess_cfg": {"resize_mode": "pad"}}', "resize_mode is 'pad'")):  # fmt: skip
        (tmp_path / "open_clip_config.json").write_text(broken)
        with pytest.raises(UserError, match=message):
            views_for(Views(), choice, {})


@pytest.mark.slow
def test_an_export_keeps_the_input_of_its_weights(tmp_path: Path) -> None:
    backbone = tiny_backbone()
    backbone.facts = replace(backbone.facts, input=SIGLIP)
    path = export(method_class("vanilla_clip")(backbone), tmp_path / "export.safetensors")
    assert BackboneChoice("ViT-B-16", str(path)).own_input.settings == SIGLIP


def test_spellings_of_a_tag_are_one_cell() -> None:
    assert BackboneChoice("ViT-B-16", "OpenAI") == BackboneChoice("ViT-B-16", "openai")
    assert BackboneChoice(None, "LAION2B-s34b-B88K").weights == "laion2b_s34b_b88k"
    assert BackboneChoice("ViT-B-16", "no-such-tag").weights == "no-such-tag"
    assert load_backbone("mini-clip").facts.views_of(Views(normalize="model")).input.resize == "shortest"


@pytest.mark.slow
def test_plan_and_show_name_the_input(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folders = ("--protocol", "b2n", "--method", "vanilla_clip", "--runs", tmp_path / "runs", "--cache", tmp_path / "c")
    assert in_process("plan", *folders, "--arch", "ViT-B-16", "--weights", "OpenAI") == 0
    assert (
        "normalize=imagenet as published; --views normalize=model takes that of the weights" in capsys.readouterr().err
    )
    in_process("plan", *folders, "--arch", "ViT-L-14", "--weights", "laion2b_s32b_b82k")
    assert "normalize=model: mean 0.5,0.5,0.5, std 0.5,0.5,0.5, resize shortest, bicubic" in capsys.readouterr().err
    assert in_process("show", "ViT-B-16-SigLIP") == 0
    shown = capsys.readouterr().out
    assert "webli: mean 0.5,0.5,0.5, std 0.5,0.5,0.5, resize squash, bicubic" in shown
    assert "64 tokens, tokenizer timm/ViT-B-16-SigLIP (needs the extra hf)" in shown
