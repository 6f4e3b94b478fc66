"""Weights in and out: published layouts, OpenAI's archive, errors that name the tensor, files that would run code."""

from __future__ import annotations

import copy
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from harness.api import Backbone, ClipMethod, LabelSet, UserError, load_backbone
from harness.engine.contract.tiny_clip import tiny_backbone, tiny_state
from harness.engine.method import method_class
from harness.engine.method_weights import export, load_published
from harness.engine.model.weights import read_weights

LABELS = LabelSet(("jump", "wave"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The seeded tiny CLIP as a file in OpenAI's naming."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(tiny_state(0), path)
    return path


def clip_state(seed: int = 1) -> dict[str, Tensor]:
    """Other weights than those of `base`."""
    return dict(tiny_state(seed))


def vificlip_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI's names as ViFi-CLIP saves them: wrapped, two encoders, prompts as a buffer, no embedding table."""
    renamed = {"module.prompt_learner.complete_text_embeddings": torch.zeros(2, 77, 64)}
    for name, value in state.items():
        if name.startswith("visual."):
            renamed["module.image_encoder." + name.removeprefix("visual.")] = value
        elif name == "logit_scale":
            renamed["module.logit_scale"] = value
        elif name != "token_embedding.weight":
            renamed["module.text_encoder." + name] = value
    return renamed


class Config:
    """Stands for the configuration object that published files pickle; its class is not importable elsewhere."""

    def __init__(self) -> None:
        self.DATA = {"NUM_FRAMES": 32}


def save(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def build(name: str, backbone: Backbone | None = None, **options: Any) -> ClipMethod:
    cls = method_class(name)
    return cls(backbone or tiny_backbone(), cls.options_for(options, frames=4)).eval()


def features(backbone: Backbone) -> Tensor:
    with torch.no_grad():
        image = backbone.encode_images(torch.ones(1, 3, 32, 32))
        return torch.cat([image, backbone.encode_texts(("a person jumps",))])


def test_published_vificlip_file(tmp_path: Path, base: Path) -> None:
    content = {"model": vificlip_names(clip_state()), "optimizer": {"state": {}}, "epoch": 10, "config": Config()}
    loaded = load_backbone(weights=save(tmp_path / "vifi.pth", content), base=base)
    expected = {**clip_state(), "token_embedding.weight": tiny_state(0)["token_embedding.weight"]}
    for name, value in loaded.clip.state_dict().items():
        assert torch.equal(value, expected[name].reshape(value.shape)), name
    assert loaded.facts.quick_gelu
    assert not torch.equal(features(loaded), features(load_backbone(weights=base, activation="quickgelu")))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("module.image_encoder.proj"), "visual.proj"),
        (lambda s: s.pop("module.text_encoder.ln_final.bias"), "ln_final.bias"),
        (lambda s: s.update({"module.image_encoder.proj": torch.zeros(3, 4)}), "visual.proj: file (3, 4)"),
        (lambda s: s.update({"module.image_encoder.extra": torch.zeros(1)}), "visual.extra"),
    ],
)
def test_vificlip_file_that_does_not_fit(tmp_path: Path, base: Path, change: Any, words: str) -> None:
    state = vificlip_names(clip_state())
    change(state)
    with pytest.raises(UserError, match=words.replace("(", r"\(").replace(")", r"\)")):
        load_backbone(weights=save(tmp_path / "vifi.pth", {"model": state}), base=base)


def test_missing_damaged_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.pth does not exist"):
        load_backbone(weights=tmp_path / "nothing.pth")
    (tmp_path / "text.pth").write_text("not weights")
    with pytest.raises(UserError, match="is a text file, not a weight file"):
        load_backbone(weights=tmp_path / "text.pth")
    whole = save(tmp_path / "whole.pth", {"model": clip_state()}).read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cut\.pth"):
        load_backbone(weights=tmp_path / "cut.pth")
    with pytest.raises(UserError, match="holds no CLIP weights"):
        load_backbone(weights=save(tmp_path / "other.pth", {"model": {"fc.weight": torch.zeros(2)}}))


def test_stage_two_file_of_vificlip(tmp_path: Path, base: Path) -> None:
    state = vificlip_names(clip_state())
    del state["module.prompt_learner.complete_text_embeddings"]
    prompts = {
        "module.prompt_learner.token_prefix": torch.zeros(2, 1, 64),
        "module.prompt_learner.token_suffix": torch.zeros(2, 60, 64),
        "module.prompt_learner.ctx": torch.full((6, 64), 1.0),
        "module.image_encoder.VPT": torch.full((5, 128), 2.0),
        "module.image_encoder.transformer.resblocks.1.VPT_shallow": torch.full((5, 128), 3.0),
        "module.text_encoder.transformer.resblocks.1.VPT_shallow": torch.full((6, 64), 4.0),
    }
    path = save(tmp_path / "prompts.pth", {"model": {**state, **prompts}})
    with pytest.raises(UserError, match="text_context"):
        load_backbone(weights=path, base=base)
    sizes = {"stage_one": "clip", "text_tokens": 6, "vision_tokens": 5, "text_depth": 2, "vision_depth": 2}
    method = build("bridge_prompt", **sizes)
    assert load_published(method, path) == "vificlip"
    found = [method.text_context, method.vision_prompts[0], method.vision_prompts[1], method.text_prompts[0]]
    assert [float(p.detach().mean()) for p in found] == [1.0, 2.0, 3.0, 4.0]
    assert torch.equal(method.backbone.visual.proj, clip_state()["visual.proj"])
    with pytest.raises(UserError, match=r"vision_prompts\.1"):
        load_published(build("bridge_prompt", **{**sizes, "vision_depth": 1}), path)


def test_stage_one_file_of_bridge_prompt(tmp_path: Path) -> None:
    path = save(tmp_path / "vifi.pth", {"model": vificlip_names(clip_state())})
    method = build("bridge_prompt", stage_one=str(path))
    assert torch.equal(method.backbone.visual.proj, clip_state()["visual.proj"])
    assert torch.equal(method.backbone.text.token_embedding.weight, tiny_state(0)["token_embedding.weight"])
    assert method.options.as_dict()["stage_one"].startswith("sha256:")
    assert type(method).parent_fit(method.options) is None
    moved = path.rename(tmp_path / "elsewhere.pth")
    assert build("bridge_prompt", stage_one=str(moved)).options.as_dict() == method.options.as_dict()
    with pytest.raises(UserError, match=r"gone\.pth does not exist"):
        build("bridge_prompt", stage_one=str(tmp_path / "gone.pth"))


def test_published_xclip_file(tmp_path: Path) -> None:
    source = build("xclip", tiny_backbone(1))
    state = dict(clip_state())
    for name, value in source.state_dict().items():
        if name.startswith("messages."):
            block, rest = name.removeprefix("messages.").split(".", 1)
            state[f"visual.transformer.resblocks.{block}.message_{rest}"] = value
        elif not name.startswith("backbone."):
            state[name] = value
    names = {"visual.transformer.resblocks.1.message_attn.in_proj_weight", "mit.positional_embedding",
             "prompts_visual_proj", "prompts_generator.decoder.0.cross_attn.q_proj.weight"}  # fmt: skip
    assert names <= set(state)
    path = save(tmp_path / "xclip.pth", {"model": state, "config": Config()})
    target = build("xclip", tiny_backbone(2))
    assert load_published(target, path) == "xclip"
    video = torch.randn(1, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(target(video, LABELS), source(video, LABELS))
    with pytest.raises(UserError, match="positional_embedding"):
        load_published(method_class("xclip")(tiny_backbone(), method_class("xclip").options_for({}, frames=8)), path)
    with pytest.raises(UserError, match="tensors of a method"):
        load_backbone(weights=path)


def test_published_actionclip_file(tmp_path: Path) -> None:
    source = build("actionclip", tiny_backbone(1))
    fusion = {
        "module." + n.removeprefix("fusion."): v for n, v in source.state_dict().items() if n.startswith("fusion.")
    }
    assert "module.frame_position_embeddings.weight" in fusion
    half = {n: v.half() if n.endswith("weight") and v.ndim > 1 else v for n, v in clip_state().items()}
    path = save(tmp_path / "actionclip.pt", {"epoch": 9, "model_state_dict": half, "fusion_model_state_dict": fusion})
    target = build("actionclip", tiny_backbone(2))
    assert load_published(target, path) == "actionclip"
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value), name
    with pytest.raises(UserError, match="fusion"):
        load_published(build("actionclip", fusion="mean"), path)


def test_published_efficient_prompt_file(tmp_path: Path) -> None:
    source = build("efficient_prompt", tiny_backbone(1))
    state = {n.replace("backbone.clip.", "clipmodel."): v for n, v in source.state_dict().items()}
    assert {"embedding.weight", "temporalEmbedding.weight", "clipmodel.visual.proj"} <= set(state)
    path = save(tmp_path / "prompts.pth.tar", {"state_dict": state, "iteration": 1100})
    target = build("efficient_prompt", tiny_backbone(2))
    assert load_published(target, path) == "efficient_prompt"
    assert torch.equal(target.embedding.weight, source.embedding.weight)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
def test_openai_archive(tmp_path: Path, base: Path) -> None:
    """A TorchScript archive with the names, the three scalars and the mixed precision of OpenAI's file."""
    root = nn.Module()
    for name, value in clip_state().items():
        *path, last = name.split(".")
        module = root
        for part in path:
            if not hasattr(module, part):
                module.add_module(part, nn.Module())
            module = getattr(module, part)
        half = value.ndim > 1 and "embedding" not in name
        module.register_parameter(last, nn.Parameter(value.half() if half else value, requires_grad=False))
    for name, value in (("input_resolution", 32), ("context_length", 77), ("vocab_size", 49408)):
        root.register_buffer(name, torch.tensor(value))
    root.forward = lambda x: x + root.logit_scale
    file = tmp_path / "tiny.pt"
    torch.jit.save(torch.jit.trace(root, torch.zeros(1)), file)
    assert read_weights(file)[1] == "torchscript"
    loaded = load_backbone(weights=file)
    assert loaded.facts.quick_gelu
    plain = tmp_path / "plain.safetensors"
    save_file(clip_state(), plain)
    assert torch.equal(features(loaded), features(load_backbone(weights=plain, activation="quickgelu")))


@pytest.mark.slow
def test_a_mismatch_names_the_family_and_the_setting(tmp_path: Path, base: Path) -> None:
    """The hint is the method of the file, or the options and views that it was made with."""
    state = vificlip_names(clip_state())
    prompts = {"module.prompt_learner.ctx": torch.zeros(6, 64), "module.image_encoder.VPT": torch.zeros(5, 128)}
    with_prompts = save(tmp_path / "prompts.pth", {"model": {**state, **prompts}})
    frames = {name: value for name, value in build("xclip").state_dict().items() if not name.startswith("backbone.")}
    frames = {n: v for n, v in frames.items() if not n.startswith("messages.")} | {
        "mit.positional_embedding": torch.zeros(1, 8, 64)
    }
    xclip = save(tmp_path / "xclip.pth", {"model": {**clip_state(), **frames}})
    tcclip = save(
        tmp_path / "tc.pth", {"model": {**state, "module.text_encoder.prompt_generation_layer.0.x": torch.zeros(1)}}
    )
    mean = {"model_state_dict": clip_state(), "fusion_model_state_dict": {}}
    lstm = {"model_state_dict": clip_state(), "fusion_model_state_dict": {"lstm_visual.weight_ih_l0": torch.zeros(1)}}
    for method, path, family, hint in (
        (build("vificlip"), with_prompts, "ViFi-CLIP", "--method bridge_prompt"),
        (build("bridge_prompt", stage_one="clip"), with_prompts, "ViFi-CLIP", "--set text_tokens=6"),
        (build("vificlip"), xclip, "X-CLIP", "--method xclip"),
        (build("xclip"), xclip, "X-CLIP", "--views frames=8"),
        (build("vificlip"), tcclip, "TC-CLIP", "--method tc_clip"),
        (build("actionclip"), save(tmp_path / "mean.pt", mean), "ActionCLIP", "--set fusion=mean"),
        (build("actionclip"), save(tmp_path / "lstm.pt", lstm), "ActionCLIP", "has another one"),
    ):  # fmt: skip
        with pytest.raises(UserError) as refused:
            load_published(method, path)
        assert f"({family}) does not fit the model" in refused.value.message
        assert hint in refused.value.hint, refused.value.hint


def test_an_incomplete_file_says_what_it_lacks_and_takes_a_base(tmp_path: Path, base: Path) -> None:
    path = save(tmp_path / "vifi.pth", {"model": vificlip_names(clip_state())})
    with pytest.raises(UserError, match=r"vifi\.pth \(ViFi-CLIP\) lacks the token embedding") as refused:
        load_backbone(weights=path, base=tmp_path / "gone.pt")
    assert "--base TAG|FILE" in refused.value.hint
    with pytest.raises(UserError, match="holds all of CLIP"):
        load_backbone(weights=base, activation="quickgelu", base=base)


@pytest.mark.slow
def test_a_checkpoint_is_not_loaded_into_a_model_with_another_activation(tmp_path: Path, base: Path) -> None:
    gelu = build("vificlip", load_backbone(weights=base, activation="gelu"))
    exported = export(build("vificlip"), tmp_path / "quick.safetensors")
    for path in (exported, save(tmp_path / "v.pth", vificlip_names(clip_state()))):
        with pytest.raises(UserError, match=r"needs QuickGELU .* computes GELU"):
            load_published(gelu, path)


class Bomb:
    """Unpickling this makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_planted_bomb_does_not_run(tmp_path: Path, base: Path) -> None:
    live = tmp_path / "live"
    pickle.loads(pickle.dumps(Bomb(live)))
    assert live.is_dir()  # the bomb works where pickles are trusted

    target = tmp_path / "exploded"
    content = {"model": vificlip_names(clip_state()), "config": Bomb(target), "optimizer": [Bomb(target)]}
    loaded = load_backbone(weights=save(tmp_path / "bomb.pth", content), base=base)
    assert not target.exists()
    assert torch.equal(loaded.visual.proj, clip_state()["visual.proj"])

    raw = pickle.dumps(Bomb(target))
    with zipfile.ZipFile(tmp_path / "raw.pth", "w") as archive:
        archive.writestr("archive/data.pkl", raw)
    with pytest.raises(UserError):
        load_backbone(weights=tmp_path / "raw.pth")
    assert not target.exists()


@pytest.mark.parametrize("name", ["vificlip", "bridge_prompt", "actionclip", "xclip", "efficient_prompt"])
def test_export_comes_back(tmp_path: Path, name: str) -> None:
    method = build(name, tiny_backbone(1))
    path = export(method, tmp_path / "out" / "weights.safetensors")
    back = build(name)
    load_published(back, path)
    for key, value in method.state_dict().items():
        assert torch.equal(back.state_dict()[key], value), key
    if any(not key.startswith("backbone.") for key in method.state_dict()):
        with pytest.raises(UserError, match="tensors of a method"):
            load_backbone(weights=path)
    else:
        assert torch.equal(features(load_backbone(weights=path)), features(method.backbone))


def test_export_remembers_the_activation(tmp_path: Path) -> None:
    from harness.engine.model.backbone import as_backbone, clip_from_openai_names

    clip = clip_from_openai_names(clip_state(), quick_gelu=False)
    clip.load_state_dict({n: v.reshape(clip.state_dict()[n].shape) for n, v in clip_state().items()}, strict=False)
    backbone = as_backbone(copy.deepcopy(clip), "tiny", "gelu")
    loaded = load_backbone(weights=export(build("vificlip", backbone), tmp_path / "gelu.safetensors"))
    assert not loaded.facts.quick_gelu
    assert torch.equal(features(loaded), features(backbone))
