"""LoRA against the references: CLIP-LoRA and the LoRA of MAXI."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness.api import ClipMethod, LabelSet, Recipe
from harness.engine.training.schedule import rate_of_update
from harness.engine.training.step import build_optimizer
from tests.engine import golden

C, M, INPUTS = "cliplora_forward", "maxilora_forward", "later_c_inputs"
MODES = ("both_qkv_r2", "both_qkvo_r4_alpha2", "vision_qv_r8", "text_k_r1", "both_qkv_r2_layers_0_2")


def own_name(shared: Path, mode: str, name: str) -> str:
    """The name of a tensor of CLIP-LoRA in our method."""
    attention, _, rest = name.partition(".attn.")
    # Blocks of the text tower come first in the original's files.
    order = sorted(golden.facts(shared, C)["modes"][mode]["lora_layer_order"], key=lambda n: n.startswith("visual."))
    return f"layers.{order.index(f'{attention}.attn')}.{rest}"


def stored(shared: Path, mode: str, prefix: str) -> dict[str, Tensor]:
    values = golden.tensors(shared, "cliplora_extra")
    found = {n.removeprefix(f"{prefix}/"): v for n, v in values.items() if n.startswith(f"{prefix}/")}
    return {own_name(shared, mode, n): v for n, v in found.items()}


def clip_lora(shared: Path, mode: str) -> ClipMethod:
    facts = golden.facts(shared, C)["modes"][mode]
    layers = facts["layers"] if isinstance(facts["layers"], str) else "+".join(map(str, facts["layers"]))
    return golden.method(
        shared, "lora", rank=facts["r"], alpha=facts["alpha"], dropout=facts["dropout_rate"],
        projections="".join(facts["params"]), encoder=facts["encoder"], blocks=layers,
    )  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_clip_lora(shared: Path, mode: str) -> None:
    data, facts = golden.arrays(shared, C), golden.facts(shared, C)["modes"][mode]
    method, label_set = clip_lora(shared, mode), golden.labels(shared, C)
    own = {own_name(shared, mode, name) for name in facts["trainable"]}
    assert {name for name, p in method.named_parameters() if p.requires_grad} == own
    assert method.parameter_counts()[1] == facts["trainable_count"]
    assert list(method.prompts(label_set)) == golden.facts(shared, C)["texts"]
    tokens = method.backbone.tokenize(method.prompts(label_set))
    assert np.array_equal(tokens.numpy(), data["tokens"])
    values = stored(shared, mode, mode)
    assert set(values) == own
    golden.set_values(method, values)
    videos = golden.tensor(shared, INPUTS, "videos")
    frames, text = method.encode_frames(videos), method.encode_text(label_set)
    golden.close(frames, data[f"{mode}/image_features"], 2e-5, "image features")
    golden.close(text, data[f"{mode}/text_features"], 2e-5, "text features")
    golden.close(method.score(frames.flatten(0, 1), text) / 100, data[f"{mode}/cosine"].reshape(-1, 5), 1e-5, "cosine")
    golden.close(method(videos, label_set), data[f"{mode}/video_mean/logits_x100"], 1e-4, "logits")
    check_merged(shared, mode, method)
    if any(name.startswith(f"{mode}/grad/") for name in data):
        check_gradients(shared, mode, method, method.score(frames.flatten(0, 1), text))


def check_merged(shared: Path, mode: str, method: ClipMethod) -> None:
    """The weights with the update are those that the original merges."""
    data, prefix = golden.arrays(shared, C), f"{mode}/merged_first_24_rows/"
    for name in (n.removeprefix(prefix) for n in data if n.startswith(prefix)):
        block, _, rest = name.partition(".attn.")
        projection = rest.removesuffix(".weight")
        attn = method.backbone.clip.get_submodule(f"{block}.attn")
        rows = {"q_proj": 0, "k_proj": 1, "v_proj": 2}.get(projection)
        weight = attn.out_proj.weight if rows is None else attn.in_proj_weight.chunk(3)[rows]
        update = method.get_submodule(own_name(shared, mode, f"{block}.attn.{projection}"))
        merged = weight + update.scale * update.w_lora_B @ update.w_lora_A
        golden.close(merged[:24], data[prefix + name], 1e-6, name)


def check_gradients(shared: Path, mode: str, method: ClipMethod, logits: Tensor) -> None:
    """The gradients of the cross-entropy over frames; in evaluation mode, where no dropout acts."""
    data, facts = golden.arrays(shared, C), golden.facts(shared, C)["modes"][mode]["gradient"]
    loss = nn.functional.cross_entropy(logits, torch.tensor(facts["labels_per_image"]))
    golden.close(loss, facts["loss"], 5e-5, "loss")
    loss.backward()
    parameters, prefix = dict(method.named_parameters()), f"{mode}/grad/"
    for name, expected in ((n, v) for n, v in data.items() if n.startswith(prefix)):
        gradient = parameters[own_name(shared, mode, name.removeprefix(prefix))].grad
        golden.close(gradient, expected, max(1e-5, 1e-4 * float(np.abs(expected).max())), name)


class Masked(nn.Module):
    """Dropout with a given mask (tokens, batch, width)."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.mask = mask

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask.transpose(0, 1)[:, : x.shape[1]] / 0.75


@pytest.mark.slow
@torch.no_grad()
def test_clip_lora_dropout(shared: Path) -> None:
    """Each of q, k and v has a mask of its own, on the input of the update alone."""
    data, facts = golden.arrays(shared, C), golden.facts(shared, C)["dropout"]
    method = golden.set_values(clip_lora(shared, facts["mode"]), stored(shared, facts["mode"], facts["mode"])).train()
    for name, shape in facts["shapes"].items():
        bits = np.unpackbits(data[f"dropout/mask/{name}"])[: np.prod(shape)].reshape(shape)
        update = method.get_submodule(own_name(shared, facts["mode"], name))
        assert update.dropout.p == facts["probability"] == 0.25
        update.dropout = Masked(torch.from_numpy(bits).float())
    frames = method.encode_frames(golden.tensor(shared, INPUTS, "videos")[:1, :2])
    golden.close(frames[0], data["dropout/image_features"], 2e-5, "image features")
    golden.close(method.encode_text(golden.labels(shared, C)), data["dropout/text_features"], 2e-5, "text features")


@pytest.mark.parametrize(
    "run", ["large_lr", *(pytest.param(run, marks=pytest.mark.slow) for run in ("published_lr", "two_passes"))]
)
def test_clip_lora_trajectory(shared: Path, run: str) -> None:
    data, facts = golden.arrays(shared, C), golden.facts(shared, C)["trajectory"][run]
    mode, label_set = facts["mode"], golden.labels(shared, C)
    method = golden.set_values(clip_lora(shared, mode), stored(shared, mode, "trajectory_initial"))
    settings = facts["optimizer"]
    recipe = Recipe(
        epochs=1, lr=facts["lr"], warmup_epochs=0, accumulate=1, ranks=1, weight_decay=settings["weight_decay"],
        betas=tuple(settings["betas"]), eps=settings["eps"], min_lr_ratio=1e-6 / facts["lr"],
        schedule="slowfast_cosine",
    )  # fmt: skip
    optimizer, images = build_optimizer(method, recipe), golden.tensor(shared, INPUTS, "images_train")
    for step, labels in enumerate(facts["labels"]):
        rate = rate_of_update(step, recipe, facts["steps"])
        assert rate == pytest.approx(float(data[f"trajectory/{run}/lr_at_step"][step]), rel=1e-9)
        for group in optimizer.param_groups:
            group["lr"] = rate
        logits = method(images[step % 5][:, None], label_set)
        golden.close(logits, data[f"trajectory/{run}/logits"][step], 1e-4, f"logits {step}")
        loss = nn.functional.cross_entropy(logits, torch.tensor(labels))
        golden.close(loss, data[f"trajectory/{run}/loss"][step], 5e-5, f"loss {step}")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    parameters, prefix = dict(method.named_parameters()), f"trajectory/{run}/final/"
    for name, expected in ((n.removeprefix(prefix), v) for n, v in data.items() if n.startswith(prefix)):
        allowed = max(1e-6, 10 * facts["max_diff_float64"][name])
        golden.close(parameters[own_name(shared, mode, name)], expected, allowed, name)


def test_clip_lora_sizes_and_start(shared: Path) -> None:
    facts = golden.facts(shared, C)
    method = golden.method(shared, "lora")
    for name, largest in facts["modes"]["both_qkv_r2"]["initial_A_absmax"].items():
        found = method.get_parameter(own_name(shared, "both_qkv_r2", name))
        assert float(found.detach().abs().max()) == pytest.approx(largest, rel=0.02)
        assert not method.get_parameter(own_name(shared, "both_qkv_r2", name)[:-1] + "B").any()
    plain, label_set = golden.method(shared, "vanilla_clip"), LabelSet(("run",))
    videos = golden.tensor(shared, INPUTS, "videos")[:1]
    golden.close(method.encode_frames(videos), plain.encode_frames(videos).detach(), 2e-5, "start")
    assert method.encode_text(label_set).requires_grad


def maxi_name(name: str, texts: int = 3) -> str:
    """The name of a tensor of MAXI in our method."""
    tower, _, rest = name.partition(".")
    if rest.startswith("conv1."):
        return f"patches.w_{rest.removeprefix('conv1.')}"
    _, _, index, *words = rest.split(".")
    number = int(index) + (texts if tower == "image_encoder" else 0)
    part, factor = ".".join(words).rsplit("lora_", 1)
    layer = {"attn.in_proj_weight_": "in_proj", "attn.out_proj.": "proj", "mlp.c_fc.": "c_fc", "mlp.c_proj.": "c_proj"}
    return f"layers.{number}.{layer[part]}.w_lora_{factor}"


def test_maxi(shared: Path) -> None:
    data, facts = golden.arrays(shared, M), golden.facts(shared, M)
    method, label_set = golden.method(shared, "lora", form="maxi", rank=facts["rank"]), golden.labels(shared, M)
    own = {maxi_name(name) for name in facts["trainable"]}
    assert {name for name, p in method.named_parameters() if p.requires_grad} == own
    assert method.parameter_counts()[1] == facts["trainable_count"]
    for name, (_, deviation, largest) in facts["initial_mean_std_absmax"].items():
        value = method.get_parameter(maxi_name(name)).detach()
        assert float(value.std()) == pytest.approx(deviation, rel=0.15), name
        assert float(value.abs().max()) == pytest.approx(largest, rel=0.05), name
    golden.set_values(method, {maxi_name(n): v for n, v in golden.tensors(shared, "maxilora_extra").items()})
    tokens = method.backbone.tokenize(method.prompts(label_set))
    assert np.array_equal(tokens.numpy(), data["tokens"])
    videos = golden.tensor(shared, INPUTS, "videos")
    golden.close(method.encode_frames(videos), data["lora/frame_features"], 2e-5, "frame features")
    golden.close(method.encode_text(label_set), data["lora/text_features"], 2e-5, "text features")
    golden.close(method(videos, label_set), data["lora/logits"], 1e-4, "logits")
    loss = method.loss(videos, torch.eye(5)[facts["labels"]], label_set)
    golden.close(loss, facts["loss"], 5e-5, "loss")
    loss.backward()
    parameters = dict(method.named_parameters())
    for name, norm in facts["grad_norm"].items():
        assert float(parameters[maxi_name(name)].grad.norm()) == pytest.approx(norm, rel=1e-4), name
    for name, expected in ((n, v) for n, v in data.items() if n.startswith("lora/grad/")):
        gradient = parameters[maxi_name(name.removeprefix("lora/grad/"))].grad
        golden.close(gradient, expected, max(1e-5, 1e-4 * float(np.abs(expected).max())), name)
