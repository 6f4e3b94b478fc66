"""MoTE against the reference outputs: forward passes, gate, losses, gradients, groups, trajectory, mixing with CLIP."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.api import ClipMethod, LabelSet, Recipe, TrainingBatch, UserError, load_published
from harness.engine.training.kept_weights import finish_weights, initial_weights
from harness.engine.training.schedule import rate_of_update
from harness.engine.training.step import build_optimizer
from methods._specs.mote import MOTE
from methods._templates import VIDEO_TEMPLATES
from tests.engine import golden

M, INPUTS = "mote_forward", "later_b_inputs"


def name_here(name: str) -> str:
    """Our name of a tensor of the reference outputs."""
    part, _, rest = name.partition(".")
    if part == "clip":
        return f"backbone.clip.{rest}"
    return "training_texts" if rest == "spe_cls_feature" else f"head.{rest}"


def build(shared: Path, **options: Any) -> ClipMethod:
    built = golden.method(shared, "mote", layers=2, training_classes=12, **options)
    stored = golden.tensors(shared, "mote_extra")
    return golden.set_values(built, {name_here(f"head.{name}"): value for name, value in stored.items()})


def videos(shared: Path, frames: int = 8) -> Tensor:
    return golden.tensor(shared, INPUTS, "videos")[:, :frames]


@pytest.mark.slow
@torch.no_grad()
def test_texts(shared: Path) -> None:
    digest = hashlib.sha256("\n".join(VIDEO_TEMPLATES).encode()).hexdigest()
    assert digest == golden.facts(shared, M)["template_strings_sha256"]
    built, label_set, data = build(shared), golden.labels(shared, M), golden.arrays(shared, M)
    texts = tuple(text.replace("{}", name) for text in VIDEO_TEMPLATES for name in label_set.names)
    np.testing.assert_array_equal(built.backbone.tokenize(texts).numpy(), data["tokens"].reshape(-1, 77))
    golden.close(built.encode_text(label_set), data["class_features"], 1e-6, "mote class features")


@pytest.mark.parametrize("frames", [8, 4])
@torch.no_grad()
def test_forward(shared: Path, frames: int) -> None:
    built, label_set = build(shared), golden.labels(shared, M)
    data = {k.partition("/")[2]: v for k, v in golden.arrays(shared, M).items() if k.startswith(f"T{frames}/")}
    text = built.encode_text(label_set)
    output, features = built.encode_video(videos(shared, frames))
    golden.close(features, data["frame_features"], 3e-5, f"mote {frames} CLIP's frame features")
    golden.close(output + features, data["eval_ungated_frame_features"], 3e-5, f"mote {frames} frame features")
    gate = built.gate(features, text)
    golden.close(gate, data["eval_gate"], 1e-5, f"mote {frames} gate")
    gated = gate[:, None, None] * output + features
    golden.close(gated, data["eval_gated_frame_features"], 3e-5, f"mote {frames} gated frame features")
    cosines = built.score((output, features), text) / built.backbone.logit_scale.exp()
    golden.close(built.backbone.logit_scale.exp(), golden.arrays(shared, M)["logit_scale_exp"], 1e-4, "mote scale")
    golden.close(cosines, data["eval_logits"], 1e-6, f"mote {frames} cosines")


@pytest.mark.slow
def test_draws(shared: Path) -> None:
    facts, built = golden.facts(shared, M), build(shared)
    for tau, weights in facts["merge_weights"].items():
        golden.close(built.merged([float(tau)])[0], weights, 1e-12, f"mote merge weights at {tau}")
    torch.manual_seed(0)
    counts = torch.tensor([built.draw_experts()[0] for _ in range(2000)]).mean(dim=0)
    assert np.abs(counts.numpy() - facts["draw_probabilities"]).max() < 0.04
    from methods.mote import TEMPERATURES

    assert [str(tau) for tau in TEMPERATURES] == facts["tau_candidates"]


def fix_draws(built: ClipMethod, experts: np.ndarray, temperatures: np.ndarray) -> None:
    """Replace the random draws of a step by stored ones."""
    shares = [tuple(float(i == expert) for i in range(4)) for expert in experts]
    built.draw_experts = lambda: shares
    built.draw_temperatures = lambda: list(map(float, temperatures))


@pytest.mark.parametrize("run", ["train0", "train1"])
def test_losses_and_gradients(shared: Path, run: str) -> None:
    built, label_set = build(shared), golden.labels(shared, M)
    data = {k.partition("/")[2]: v for k, v in golden.arrays(shared, M).items() if k.startswith(f"{run}/")}
    fix_draws(built, data["expert_per_layer"], data["tau_per_layer"])
    labels = golden.tensor(shared, M, "targets")
    batch = TrainingBatch(videos(shared), F.one_hot(labels, len(label_set)).float(), labels, label_set)
    with torch.no_grad():
        text, features = built.encode_text(label_set), built.encode_frames(batch.video)
        expert, merged = built.draw_experts(), built.merged(built.draw_temperatures())
        for kind, shares in (("expert", expert), ("merged", merged)):
            frames = features + built.head(features, shares)
            if f"frame_features_{kind}" in data:
                golden.close(frames, data[f"frame_features_{kind}"], 3e-5, f"mote {run} {kind} frame features")
            cosines = F.normalize(frames.mean(dim=1), dim=-1) @ text.t()
            golden.close(cosines, data[f"logits_{kind}"], 1e-6, f"mote {run} {kind} cosines")
    for kind, value in three_losses(built, batch).items():
        golden.close(value, data[f"loss_{kind}"], 5e-5, f"mote {run} {kind} loss")
    loss = built.training_loss(batch)
    golden.close(loss, data["loss_total"], 5e-5, f"mote {run} loss")
    loss.backward()
    parameters = dict(built.named_parameters())
    for name, value in data.items():
        if name.startswith("grad/"):
            gradient = parameters[name_here(name.removeprefix("grad/"))].grad
            allowed = max(5e-6, 1e-4 * float(np.abs(value).max()))
            golden.close(gradient, value, allowed, f"mote {run} {name}")


def three_losses(built: ClipMethod, batch: TrainingBatch) -> dict[str, Tensor]:
    """The terms of the loss of a batch, by the parts of the method that make them."""
    with torch.no_grad():
        text, features = built.encode_text(batch.label_set), built.encode_frames(batch.video)
        routed = features + built.head(features, built.draw_experts())
        merged = features + built.head(features, built.merged(built.draw_temperatures()))
        entropies = [
            F.cross_entropy(built.scaled_cosines(frames.mean(dim=1), text), batch.labels) for frames in (routed, merged)
        ]
        return {"expert": entropies[0], "merged": entropies[1], "mse": F.mse_loss(merged, features)}


def test_trained_parameters(shared: Path) -> None:
    facts, built = golden.facts(shared, M), build(shared)
    groups = build_optimizer(built, MOTE["supervised"]).param_groups
    elements = [sum(p.numel() for p in group["params"]) for group in groups]
    assert elements == [facts["clip_part"]["elements"], facts["head_part"]["trainable_elements"]]
    assert len(groups[0]["params"]) == len(facts["clip_part"]["trainable"])
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(5e-5 * 0.07, 0.2), (5e-5, 0.2)]


@pytest.mark.parametrize(("setting", "epochs", "share"), [("b16_30ep_wu5", 30, 0.07), ("l14_20ep_wu5", 20, 0.06)])
def test_rates(shared: Path, setting: str, epochs: int, share: float) -> None:
    data = golden.arrays(shared, M)
    expected, steps = data[f"lr/{setting}"], int(data[f"lr/{setting}/iterations_per_epoch"])
    recipe = replace(MOTE["supervised"], epochs=epochs)
    found = [
        [rate_of_update(update, recipe, steps, peak) for peak in (recipe.lr * share, recipe.lr)]
        for update in range(len(expected))
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-18)


@pytest.mark.slow
def test_trajectory(shared: Path) -> None:
    facts, data = golden.facts(shared, M)["trajectory"], golden.arrays(shared, M)
    recipe = Recipe(
        epochs=facts["epochs"], lr=facts["lr"], warmup_epochs=facts["warmup_epochs"], ranks=1, accumulate=1,
        weight_decay=facts["weight_decay"], betas=tuple(facts["betas"]), schedule="stepped_cosine", min_lr_ratio=0.0,
    )  # fmt: skip
    built, label_set = build(shared, clip_lr=facts["clip_ratio"]).train(), golden.labels(shared, M)
    optimizer = build_optimizer(built, recipe)
    clips = golden.tensor(shared, INPUTS, "train_videos")
    kept = built.training_texts.clone()
    for step, labels in enumerate(golden.tensor(shared, M, "traj/targets")):
        for group, expected in zip(optimizer.param_groups, data["traj/lr_clip_and_head"][step], strict=True):
            group["lr"] = rate_of_update(step, recipe, facts["iterations_per_epoch"], group["peak_lr"])
            golden.close(group["lr"], expected, 1e-12, f"mote rate of step {step}")
        fix_draws(built, data["traj/expert_per_layer"][step], data["traj/tau_per_layer"][step])
        optimizer.zero_grad()
        batch = TrainingBatch(clips[step], F.one_hot(labels, len(label_set)).float(), labels, label_set)
        for kind, value in three_losses(built, batch).items():
            golden.close(value, data[f"traj/loss_{kind}"][step], 5e-5, f"mote {kind} loss of step {step}")
        loss = built.training_loss(batch)
        golden.close(loss, data["traj/loss_total"][step], 5e-5, f"mote loss of step {step}")
        loss.backward()
        optimizer.step()
    assert torch.equal(built.training_texts[: len(label_set)], built.encode_text(label_set))
    built.training_texts.copy_(kept)  # the original computes them once, here for other classes than those of training
    state = built.state_dict()
    # The stored `clip.*` are not those of the trajectory: they equal the mixed weights of the zero-shot test bit for
    # bit. The losses, which follow from them, agree in all steps.
    for name in (name for name in data if name.startswith("traj/final/head.")):
        golden.close(state[name_here(name.removeprefix("traj/final/"))], data[name], 2e-6, f"mote {name}")


@pytest.mark.slow
def test_stored_final_weights_of_clip_are_those_of_the_zero_shot_test(shared: Path) -> None:
    data, state = golden.arrays(shared, M), golden.method(shared, "mote").state_dict()
    for name in ("visual.proj", "visual.positional_embedding", "logit_scale"):
        before = state[f"backbone.clip.{name}"]
        moved = before + (0.125 * before.flatten().roll(1).view_as(before) if before.numel() > 1 else 0.03125)
        golden.close(0.99 * moved + 0.01 * before, data[f"traj/final/clip.{name}"], 1e-6, f"mote stored {name}")


@pytest.mark.slow
@torch.no_grad()
def test_zero_shot_mixes_clip_into_the_vision_tower(shared: Path, tmp_path: Path) -> None:
    built, label_set, data = build(shared), golden.labels(shared, M), golden.arrays(shared, M)
    recipe = Recipe(epochs=1, lr=1.0, initial_share=MOTE["zero_shot"].initial_share)
    initial, text = initial_weights(built, recipe), built.encode_text(label_set)
    for name, parameter in built.named_parameters():
        if name.startswith("backbone.") and parameter.requires_grad:
            parameter.add_(0.125 * parameter.flatten().roll(1).view_as(parameter) if parameter.numel() > 1 else 0.03125)
    finish_weights(built, recipe, tmp_path, {}, initial)
    frames = data["zeroshot_test/logits_per_view"]
    scores = []
    first, last = videos(shared, 4), videos(shared)[:, -4:]
    for view, clip in enumerate((first, first.flip(1), last)):
        cosines = built.score(built.encode_video(clip), text) / built.backbone.logit_scale.exp()
        # The cosine is not scaled, so that the tolerance for logits is divided by the scale of CLIP.
        golden.close(100 * cosines, 100 * frames[:, view], 1e-4, f"mote zero-shot view {view}")
        scores.append(cosines)
    # Upstream prints accuracies of two scores: one softmax of scaled cosines, and two of unscaled cosines.
    cosines = torch.stack(scores)
    reported = (100 * cosines.mean(dim=0)).softmax(dim=-1)
    golden.close(reported, data["zeroshot_test/scores_reported"], 1e-5, "mote reported scores")
    twice = cosines.softmax(dim=-1).mean(dim=0).softmax(dim=-1)
    golden.close(twice, data["zeroshot_test/scores_softmax_of_softmax"], 1e-6, "mote printed scores")


@pytest.mark.slow
def test_a_published_checkpoint_loads(shared: Path, tmp_path: Path) -> None:
    """A file with the names of the original: the vision tower and the temporal head, without the text tower."""
    built = build(shared)
    state = built.state_dict()
    vision = [name for name in state if name.startswith("backbone.clip.visual")]
    clip = {name.removeprefix("backbone.clip."): state[name] for name in vision}
    clip["logit_scale"] = state["backbone.clip.logit_scale"]
    head = {f"module.{name}": state[name_here(f"head.{name}")] for name in golden.tensors(shared, "mote_extra")}
    assert set(head) == {f"module.{name}" for name in golden.facts(shared, M)["head_part"]["keys"]}
    path = tmp_path / "model_best.pt"
    torch.save({"epoch": 3, "model_state_dict": clip, "fusion_model_state_dict": head}, path)
    loaded = golden.method(shared, "mote", layers=2, training_classes=12)
    assert load_published(loaded, path) == "mote"
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in state.items())
    with pytest.raises(UserError) as refused:
        load_published(golden.method(shared, "mote"), path)
    assert "--set layers=2" in refused.value.hint and "--set training_classes=12" in refused.value.hint


@pytest.mark.slow
def test_more_classes_than_there_is_room_for(shared: Path) -> None:
    built = golden.method(shared, "mote", training_classes=2)
    labels = torch.tensor([0, 1])
    batch = TrainingBatch(videos(shared)[:2], torch.eye(3)[labels], labels, LabelSet(("run", "jump", "swim")))
    with pytest.raises(UserError, match="has room for 2 training classes, found 3") as refused:
        built.training_loss(batch)
    assert "mote:training_classes=3" in refused.value.hint
