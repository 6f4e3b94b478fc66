"""Checkpoints of LoRA, ST-Adapter and AIM under the originals' names, made up from seeded tensors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from harness.api import ClipMethod, UserError, load_published
from harness.engine.contract.tiny_clip import tiny_backbone, tiny_state
from harness.engine.method import method_class
from harness.engine.method_weights import export
from harness.weights.describe import describe

CLIP_BLOCKS = 2


def build(name: str, **options: object) -> ClipMethod:
    cls = method_class(name)
    return cls(tiny_backbone(), cls.options_for(options, frames=4)).eval()


@torch.no_grad()
def moved(method: ClipMethod) -> ClipMethod:
    """The method with other values of the trained tensors."""
    generator = torch.Generator().manual_seed(3)
    for parameter in method.trainable():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return method


def check_load(method: ClipMethod, path: Path, family: str, expected: ClipMethod) -> None:
    """The file loads into the method, and every tensor is then that of the expected method."""
    assert load_published(method, path) == family
    for name, value in expected.state_dict().items():
        assert torch.equal(method.state_dict()[name], value), name


def save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def clip_lora_file(method: ClipMethod) -> dict[str, object]:
    """The layout that CLIP-LoRA saves, of a method whose layers are in the order of the file."""
    layers: dict[str, dict[str, dict[str, Tensor]]] = {}
    for name, value in method.state_dict().items():
        if name.startswith("layers."):
            _, number, projection, factor = name.split(".")
            layers.setdefault(f"layer_{number}", {}).setdefault(projection, {})[factor] = value
    metadata = {"r": 2, "alpha": 1, "encoder": "both", "params": ["q", "k", "v"], "position": "all"}
    return {"weights": layers, "metadata": metadata}


@pytest.mark.slow
def test_clip_lora(tmp_path: Path) -> None:
    expected = moved(build("lora"))
    content = clip_lora_file(expected)
    assert set(content["weights"]) == {f"layer_{number}" for number in range(2 * CLIP_BLOCKS)}  # type: ignore[call-overload]
    path = save(tmp_path / "lora_weights.pt", content)
    check_load(build("lora"), path, "cliplora", expected)
    assert not describe(path).is_complete and describe(path).title == "CLIP-LoRA"
    for method, hint in (
        (build("vificlip"), "--method lora"),
        (build("lora", rank=4), "--set rank=2"),
        (build("lora", projections="qv"), "--set projections=qkv"),
        (build("lora", form="maxi"), "--set form=clip_lora"),
    ):
        with pytest.raises(UserError) as refused:
            load_published(method, path)
        assert hint in refused.value.hint, refused.value.hint


def maxi_name(name: str) -> str:
    """The name of a tensor of our method in a file of MAXI."""
    if name.startswith("patches."):
        return "image_encoder.conv1." + name.removeprefix("patches.w_")
    if not name.startswith("layers."):
        name = name.removeprefix("backbone.clip.")
        if name.startswith("visual."):
            return "image_encoder." + name.removeprefix("visual.")
        return name if name == "logit_scale" else f"text_encoder.{name}"
    _, number, layer, factor = name.split(".")
    tower, index = ("text", int(number)) if int(number) < CLIP_BLOCKS else ("image", int(number) - CLIP_BLOCKS)
    places = {"in_proj": "attn.in_proj_weight_", "proj": "attn.out_proj.", "c_fc": "mlp.c_fc.", "c_proj": "mlp.c_proj."}
    return f"{tower}_encoder.transformer.resblocks.{index}.{places[layer]}{factor.removeprefix('w_')}"


@pytest.mark.slow
def test_lora_of_maxi(tmp_path: Path) -> None:
    expected = moved(build("lora", form="maxi"))
    state = {f"module.{maxi_name(n)}": v for n, v in expected.state_dict().items() if "token_embedding" not in n}
    state["module.prompt_learner.complete_text_embeddings"] = torch.zeros(2, 77, 64)
    path = save(tmp_path / "maxi.pth", {"model": state, "epoch": 3})
    check_load(build("lora", form="maxi"), path, "maxilora", expected)
    with pytest.raises(UserError) as refused:
        load_published(build("lora"), path)
    assert "--set form=maxi" in refused.value.hint


def st_adapter_file(method: ClipMethod) -> dict[str, object]:
    own = {n: v for n, v in method.state_dict().items() if not n.startswith("backbone.")}
    names = {n: n.replace("adapters.", "transformer.resblocks.") for n in own}
    return {"model": {names[n]: v for n, v in own.items()}, "next_epoch": 12, "optimizer": {"state": {}}}


@pytest.mark.slow
def test_st_adapter(tmp_path: Path) -> None:
    options = {"head": "classes", "fixed_classes": 5, "bottleneck": 16, "before": "attn+mlp"}
    expected = moved(build("st_adapter", **options))
    path = save(tmp_path / "checkpoint-11.pth", st_adapter_file(expected))
    check_load(build("st_adapter", **options), path, "stadapter", expected)
    with pytest.raises(UserError) as refused:
        load_published(build("st_adapter"), path)
    for hint in ("--set before=attn+mlp", "--set bottleneck=16", "--set head=classes", "--set fixed_classes=5"):
        assert hint in refused.value.hint, refused.value.hint


def aim_file(method: ClipMethod) -> dict[str, object]:
    state: dict[str, Tensor] = {}
    for name, value in method.state_dict().items():
        if name.startswith("backbone.clip.visual.") and name != "backbone.clip.visual.proj":
            state["backbone." + name.removeprefix("backbone.clip.visual.")] = value
        elif name.startswith("fc."):
            state[f"cls_head.fc_cls.{name.removeprefix('fc.')}"] = value
        elif not name.startswith("backbone."):
            state["backbone." + name.replace("adapters.", "transformer.resblocks.")] = value
    return {"meta": {"epoch": 30}, "state_dict": state, "optimizer": {"state": {}}}


@pytest.mark.slow
def test_aim(tmp_path: Path) -> None:
    options = {"head": "classes", "fixed_classes": 5, "inner_adapter": True}
    expected = moved(build("aim", **options))
    path = save(tmp_path / "vit_b_clip_32frame_k400.pth", aim_file(expected))
    check_load(build("aim", **options), path, "aim", expected)
    with pytest.raises(UserError) as refused:
        load_published(build("aim"), path)
    for hint in ("--set inner_adapter=True", "--set head=classes", "--set fixed_classes=5"):
        assert hint in refused.value.hint, refused.value.hint


VITA_NAMES = {
    "visual.class_embedding": "visual.cls_token", "visual.positional_embedding": "visual.pos_embed",
    "visual.conv1.weight": "visual.patch_embed.proj.weight", "patch_bias": "visual.patch_embed.proj.bias",
    "ctx": "prompt_learner.ctx", "logit_scale": "logit_scale",
}  # fmt: skip


VITA_LAYERS = (
    (".transformer.resblocks.", ".blocks."), (".mlp.c_fc.", ".mlp.fc1."), (".mlp.c_proj.", ".mlp.fc2."),
    (".ln_1.", ".norm1."), (".ln_2.", ".norm2."),
)  # fmt: skip


def vita_clip_file(method: ClipMethod) -> dict[str, object]:
    state = {"module.prompt_learner.token_prefix": torch.zeros(5, 1, 64)}
    for full, value in method.state_dict().items():
        name = full.removeprefix("backbone.clip.")
        values = {"": value}
        if name in VITA_NAMES:
            name = VITA_NAMES[name]
        elif name == full:
            name = f"visual.{name}"
        elif name.startswith("visual."):
            for ours, theirs in VITA_LAYERS:
                name = name.replace(ours, theirs)
            if ".attn.in_proj_" in name:
                values = dict(zip("qkv", value.chunk(3), strict=True))
        else:
            name = f"textual.{name}"
        for letter, part in values.items():
            state["module." + name.replace("in_proj_", f"{letter}_proj.") if letter else f"module.{name}"] = part
    return {"model": state, "optimizer": {"state": {}}, "next_step": 30000}


@pytest.mark.slow
def test_vita_clip(tmp_path: Path) -> None:
    options = {"context": "classes", "fixed_classes": 5, "contexts": 6, "global_prompts": 3}
    expected = moved(build("vita_clip", **options))
    with torch.no_grad():
        expected.patch_bias.add_(0.5)
    path = save(tmp_path / "checkpoint-30000.pth", vita_clip_file(expected))
    check_load(build("vita_clip", **options), path, "vitaclip", expected)
    assert describe(path).is_complete
    with pytest.raises(UserError) as refused:
        load_published(build("vita_clip", summary=False), path)
    for hint in ("context=classes", "fixed_classes=5", "contexts=6", "global_prompts=3", "summary=True"):
        assert f"--set {hint}" in refused.value.hint, refused.value.hint


def viclip_file(method: ClipMethod) -> dict[str, object]:
    own = {"text_positions": "text_encoder.positional_embedding", "temp": "temp"}
    state: dict[str, Tensor] = {}
    for full, value in method.state_dict().items():
        name = full.removeprefix("backbone.clip.")
        if name in ("positional_embedding", "logit_scale"):
            continue
        if name in own:
            state[own[name]] = value
        elif name == full or name.startswith("visual."):
            state[f"vision_encoder.{name.removeprefix('visual.')}"] = value[:, :, None] if "conv1" in name else value
        else:
            state[f"text_encoder.{name}"] = value
    return {"model": state, "optimizer": {"state": {}}}


@pytest.mark.slow
def test_viclip(tmp_path: Path) -> None:
    expected = moved(build("viclip").requires_grad_(True)).requires_grad_(False)
    path = save(tmp_path / "ViClip-InternVid-10M-FLT.pth", viclip_file(expected))
    loaded = build("viclip")
    assert load_published(loaded, path) == "viclip"
    kept = ("backbone.clip.positional_embedding", "backbone.clip.logit_scale")
    for name, value in expected.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value) != (name in kept), name
    with pytest.raises(UserError) as refused:
        load_published(build("vificlip"), path)
    assert "--method viclip" in refused.value.hint


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lora", {}),
        ("lora", {"form": "maxi"}),
        ("st_adapter", {"bottleneck": 8}),
        ("aim", {"head": "classes", "fixed_classes": 3}),
        ("vita_clip", {}),
    ],
)
def test_exports_come_back(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    expected = moved(build(name, **options))
    path = export(expected, tmp_path / "weights.safetensors")
    check_load(build(name, **options), path, "export", expected)


def test_a_tensor_of_the_wrong_shape_is_named(tmp_path: Path) -> None:
    content = st_adapter_file(build("st_adapter", head="classes", fixed_classes=5, bottleneck=16))
    content["model"]["fc.weight"] = torch.zeros(5, 3)  # type: ignore[index]
    path = save(tmp_path / "checkpoint-11.pth", content)
    with pytest.raises(UserError, match=r"fc\.weight: file \(5, 3\)"):
        load_published(build("st_adapter", head="classes", fixed_classes=5, bottleneck=16), path)


def test_the_tiny_clip_has_as_many_blocks() -> None:
    assert f"transformer.resblocks.{CLIP_BLOCKS - 1}.ln_1.weight" in tiny_state(0)
