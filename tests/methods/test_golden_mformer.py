"""Motionformer against the references: scores of all modes, gradients, frames, views, files, size and cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.engine.cost.profile import count_gmacs
from harness.engine.video import dense_indices
from harness.engine.video.augment import ShortSideViews, scaled_size
from harness.engine.video.dense_indices import DenseClip, evaluation_indices
from harness.spec.dense import DenseSampling
from methods._specs._mformer import CONFIGS, MformerOptions
from methods._trajectory import Motionformer, TrajectoryAttention
from tests.engine import golden

M = "motionformer_forward"
TINY = CONFIGS["tiny"]
MODES: dict[str, dict[str, Any]] = {
    "published": {},
    "fixed_value": {"values": "projected"},
    "joint_position": {"positions": "joint"},
    "no_mlp_head": {"mlp_head": False},
    "joint_attention": {"attention": "joint"},
    "orthoformer": {"attention": "orthoformer", "landmarks": 8},
    "frames4": {},
    "tubelet1": {"tubelet": 1},
}


def network(shared: Path, mode: str) -> Motionformer:
    size = replace(TINY, frames=4) if mode == "frames4" else TINY
    model = Motionformer(MformerOptions(config="tiny", fixed_classes=5, **MODES[mode]), size).eval()
    stored = golden.tensors(shared, "motionformer")
    own = {name.removeprefix(f"{mode}/"): value for name, value in stored.items() if name.startswith(f"{mode}/")}
    model.load_state_dict({name: own.get(name, stored.get(name)) for name in model.state_dict()})
    return model


def videos(shared: Path, mode: str = "published") -> Tensor:
    return golden.tensor(shared, "later_c_inputs", "videos")[:, : 4 if mode == "frames4" else 8]


def hooked(module: torch.nn.Module) -> list[Tensor]:
    """The outputs of the calls of a module that follow."""
    outputs: list[Tensor] = []
    module.register_forward_hook(lambda _, __, output: outputs.append(output))
    return outputs


def use_first_landmarks(model: Motionformer, firsts: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Let each block start from given landmarks; the returned list collects the landmarks that it chooses."""
    chosen: list[Tensor] = []
    choose = TrajectoryAttention.choose_landmarks
    for block, first in zip(model.blocks, firsts, strict=True):
        monkeypatch.setattr(block.attn, "first_landmarks", lambda q, first=first: first.long())
    monkeypatch.setattr(
        TrajectoryAttention, "choose_landmarks", lambda self, q: chosen.append(choose(self, q)) or chosen[-1]
    )
    return chosen


@pytest.mark.parametrize("mode", MODES)
@torch.no_grad()
def test_scores(shared: Path, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, model, video = golden.arrays(shared, M), network(shared, mode), videos(shared, mode)
    chosen: list[Tensor] = []
    if mode == "orthoformer":
        firsts = [golden.tensor(shared, M, f"{mode}/block{index}_first_landmark") for index in range(TINY.layers)]
        chosen = use_first_landmarks(model, firsts, monkeypatch)
    blocks = [hooked(block) for block in model.blocks]
    normed, head = hooked(model.norm), []
    model.head.register_forward_pre_hook(lambda _, args: head.append(args[0]))
    logits = model.classify(video)
    for index, found in enumerate(blocks):
        golden.close(found[0][:, 0], data[f"{mode}/block{index}_cls"], 2e-5, f"block {index}")
    golden.close(normed[0][:, 0], data[f"{mode}/cls_feature"], 2e-5, "class token")
    golden.close(head[0], data[f"{mode}/pre_logits"], 2e-5, "input of the linear layer")
    golden.close(logits, data[f"{mode}/logits"], 1e-4, "logits")
    golden.close(logits.softmax(dim=-1), data[f"{mode}/probabilities"], 1e-5, "probabilities")
    for index, landmarks in enumerate(chosen):
        assert np.array_equal(landmarks.sort(dim=-1).values.numpy(), data[f"{mode}/block{index}_landmarks"])
    if mode != "orthoformer":
        golden.close(model.classify(video.flip(1)), data[f"{mode}/logits_frames_reversed"], 1e-4, "reversed")
    if mode == "published":
        raw = (video * 0.5 + 0.5) * 255
        golden.close(model(raw), data[f"{mode}/logits"], 1e-4, "logits of frames as decoded")


@pytest.mark.parametrize("mode", ["published", "orthoformer"])
@torch.no_grad()
def test_the_first_block(shared: Path, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, model, video = golden.arrays(shared, M), network(shared, mode), videos(shared)
    if mode == "orthoformer":
        first = golden.tensor(shared, M, f"{mode}/block0_first_landmark")
        use_first_landmarks(model, [first] * TINY.layers, monkeypatch)
    attended, block, weights = hooked(model.blocks[0].attn), hooked(model.blocks[0]), []
    over_frames = TrajectoryAttention.over_frames
    monkeypatch.setattr(
        TrajectoryAttention, "over_frames", lambda self, q, k: weights.append(over_frames(self, q, k)) or weights[-1]
    )
    embedded = model.embed(video)
    model.classify(video)
    golden.close(attended[0][0], data[f"{mode}/block0_attention_first"], 2e-5, "attention")
    if mode == "published":
        golden.close(embedded[0], data["published/embedded_first"], 2e-5, "tokens")
        golden.close(weights[0][0], data["published/block0_temporal_first"], 1e-5, "weights of frames")
        golden.close(block[0][0], data["published/block0_output_first"], 2e-5, "tokens after the block")


@torch.no_grad()
def test_positions_are_resized(shared: Path) -> None:
    data, model = golden.arrays(shared, M), network(shared, "published")
    golden.close(model.resized_positions(16), data["position/resized"], 1e-5, "64 pixels")
    golden.close(model.resized_positions(441)[..., :8], data["position/resized_336_first8"], 1e-5, "336 pixels")
    assert model.resized_positions(196) is model.pos_embed


@pytest.mark.parametrize("mode", ["published", "fixed_value"])
def test_gradients(shared: Path, mode: str) -> None:
    """The loss of a fit, with the drop path off; no recipe of the harness fits the network."""
    data, facts, model = golden.arrays(shared, M), golden.facts(shared, M)["train"][mode], network(shared, mode).train()
    logits = model.classify(videos(shared))
    golden.close(logits, data[f"train/{mode}/logits"], 1e-4, "logits")
    loss = F.cross_entropy(logits, torch.tensor(facts["labels"]), label_smoothing=facts["smoothing"])
    golden.close(loss, facts["loss"], 5e-5, "loss")
    loss.backward()
    own = dict(model.named_parameters())
    for key in [key for key in data if key.startswith(f"train/{mode}/grad/")]:
        expected, found = data[key], own[key.removeprefix(f"train/{mode}/grad/")].grad
        assert found is not None
        golden.close(found, expected, max(1e-5, 1e-4 * float(np.abs(expected).max())), key)
    for name, norm in facts["grad_norm"].items():
        assert (norm is None) == (name not in own), name  # the unused patch layer has no gradient
        if norm is not None:
            gradient = own[name].grad
            assert gradient is not None
            golden.close(gradient.norm(), norm, max(1e-5, 1e-4 * norm), f"gradient of {name}")
    values = own["blocks.0.attn.proj_kv.weight"].grad
    assert values is not None and bool(values[TINY.width :].any()) == (mode == "fixed_value")


def test_frames_of_clips(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files without a duration are decoded in another way by the original, which the harness does not follow."""
    facts = golden.facts(shared, M)["sampling"]
    rows = [row for row in facts["table"] if row["duration_known"]]
    assert len(rows) == 36
    for row in rows:
        monkeypatch.setattr(dense_indices, "TICKS", row["ticks_per_frame"])
        clip = DenseClip(row["frames"], row["num_frames"], row["rate"], row["fps"])
        found = evaluation_indices(DenseSampling("motionformer", row["rate"]), clip, facts["views_temporal"])
        assert found.tolist() == row["clips"], row


def test_geometry(shared: Path) -> None:
    for row in golden.facts(shared, M)["geometry"]:
        size = row["size"]
        height, width = scaled_size(row["height"], row["width"], size)
        assert [height, width] == row["resized"]
        grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), axis=-1).astype(np.float32)
        frame = np.concatenate([grid, np.zeros((height, width, 1), np.float32)], axis=-1)
        crops = ShortSideViews(size, 3)({"imgs": [frame]})["imgs"]  # type: ignore[typeddict-item]
        corners = [crop[0, 0, :2].astype(int).tolist() for crop in crops]
        assert [corners[0], corners[2], corners[1]] == row["crop_top_left"]


@torch.no_grad()
def test_views(shared: Path) -> None:
    """From frames to the sum of the probabilities of nine views."""
    data, facts, model = golden.arrays(shared, M), golden.facts(shared, M)["views"], network(shared, "published")
    sums = []
    for row in facts["videos"]:
        raw = data[f"views/{row['name']}/raw"]
        clip = DenseClip(len(raw), TINY.frames, facts["rate"], row["fps"])
        indices = evaluation_indices(DenseSampling("motionformer", facts["rate"]), clip, facts["temporal"])
        assert indices.tolist() == row["frame_indices"]
        frames = list(raw[indices.reshape(-1)])
        imgs = ShortSideViews(TINY.size, facts["spatial"])({"imgs": frames})["imgs"]  # type: ignore[typeddict-item]
        pixels = torch.from_numpy(np.stack(imgs)).unflatten(0, (3, facts["temporal"], TINY.frames))
        views = pixels[[0, 2, 1]].transpose(0, 1).flatten(0, 1).permute(0, 1, 4, 2, 3)  # clip by clip; left, centre
        normalised = (views / 255 - 0.5) / 0.5
        sub = normalised.transpose(1, 2)[:, :, ::3, ::7, ::5]
        golden.close(sub, data[f"views/{row['name']}/inputs_sub"], 1e-5, f"{row['name']}: inputs")
        probabilities = model(views).softmax(dim=-1)
        golden.close(probabilities, data[f"views/{row['name']}/probabilities"], 1e-5, row["name"])
        sums.append(probabilities.sum(dim=0))
    golden.close(torch.stack(sums), data["views/summed"], 1e-4, "sums")


@pytest.mark.parametrize(
    ("config", "attention", "counted"),
    [
        ("hr", "trajectory", "Mformer-HR 336x16"),
        pytest.param("base", "trajectory", "Mformer 224x16", marks=pytest.mark.slow),
        pytest.param("large", "trajectory", "Mformer-L 224x32", marks=pytest.mark.slow),
        pytest.param("base", "joint", "joint 224x16", marks=pytest.mark.slow),
    ],
)
@torch.no_grad()
def test_published_sizes(shared: Path, config: str, attention: str, counted: str) -> None:
    published, size = golden.facts(shared, M)["published_size"], CONFIGS[config]
    with torch.device("meta"):
        model = Motionformer(MformerOptions(config=config, attention=attention), size).eval()
        video = torch.empty(1, size.frames, 3, size.size, size.size)
    counts = published["counts"][counted]
    assert sum(p.numel() for p in model.parameters()) == counts["parameters_without_unused_2d_patch"]
    if config == "hr":
        shapes = {n: s for n, s in published["parameter_shapes"].items() if not n.startswith("patch_embed.")}
        assert {name: list(p.shape) for name, p in model.named_parameters()} == shapes
    scores, gmacs = count_gmacs(lambda: model.requires_grad_(False)(video))
    assert scores.shape == (1, 400)
    assert gmacs == pytest.approx(counts["torch_flop_counter_half_G"], rel=1e-6)
