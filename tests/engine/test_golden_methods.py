"""Forward passes and losses of X-CLIP, ActionCLIP and Efficient-Prompt against the reference outputs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.api import ClipMethod
from harness.engine.training.schedule import rate_of_update
from harness.weights.families import read_published
from methods._contrast import divergence
from methods._templates import ACTION_TEMPLATES
from tests.engine import golden

X, A, E = "xclip_forward", "actionclip_forward", "efficient_prompt_forward"


@pytest.fixture
def xclip(shared: Path) -> ClipMethod:
    built = golden.method(shared, "xclip", frames=8)
    extra = read_published({"visual.x": torch.zeros(1), **golden.tensors(shared, "xclip_extra")}).own
    assert set(extra) == {n for n in built.state_dict() if not n.startswith("backbone.")}
    return golden.set_values(built, extra)


@torch.no_grad()
def test_xclip(shared: Path, xclip: ClipMethod) -> None:
    data, label_set = golden.arrays(shared, X), golden.labels(shared, X)
    videos = golden.tensor(shared, X, "videos")
    golden.close(xclip.encode_frames(videos), data["frame_cls_features"], 2e-5, "xclip frame features")
    features, patches = xclip.encode_video(videos)
    text = xclip.encode_text(label_set)
    golden.close(features, data["video_features"], 2e-5, "xclip video features")
    golden.close(patches, data["visual_context"], 2e-5, "xclip visual context")
    golden.close(text, data["text_features"], 2e-5, "xclip text features")
    golden.close(xclip.adapt_text(text, patches), data["text_prompt_delta"], 2e-5, "xclip text delta")
    golden.close(xclip(videos, label_set), data["logits"], 1e-4, "xclip logits")
    golden.close(
        xclip(videos.flip(1), label_set), data["logits_frames_reversed"], 1e-4, "xclip logits, reversed frames"
    )


def actionclip(shared: Path, run: str) -> ClipMethod:
    built = golden.method(shared, "actionclip", fusion={"Transf": "transf", "meanP": "mean"}[run])
    if run == "Transf":
        values = {f"fusion.{n}": v for n, v in golden.tensors(shared, "actionclip_fusion_transf").items()}
        assert set(values) == {n for n in built.state_dict() if not n.startswith("backbone.")}
        golden.set_values(built, values)
    return built


@pytest.mark.parametrize("run", ["Transf", "meanP"])
@torch.no_grad()
def test_actionclip(shared: Path, run: str) -> None:
    data, reference, label_set = golden.arrays(shared, A), golden.facts(shared, A), golden.labels(shared, A)
    assert tuple(reference["templates"]) == ACTION_TEMPLATES
    built = actionclip(shared, run)
    assert torch.equal(
        built.backbone.tokenize(built.prompts(label_set)).int(), golden.tensor(shared, A, "template_tokens")
    )
    videos = golden.tensor(shared, A, "videos")
    frames = built.encode_frames(videos)
    features, text = built.pool(frames), built.encode_text(label_set)
    golden.close(frames, data[f"{run}/frame_features"], 2e-5, f"actionclip {run} frame features")
    golden.close(features, data[f"{run}/video_features"], 2e-5, f"actionclip {run} video features")
    golden.close(text.flatten(0, 1), data["text_features"], 2e-5, "actionclip text features")
    unit = torch.nn.functional.normalize
    similarity = 100 * unit(features, dim=-1) @ unit(text.flatten(0, 1), dim=-1).t()
    golden.close(similarity, data[f"{run}/eval_similarity"], 1e-4, f"actionclip {run} similarity")
    probabilities = built(videos, label_set).softmax(dim=-1)
    golden.close(probabilities, data[f"{run}/eval_probabilities"], 1e-5, f"actionclip {run} probabilities")


@pytest.mark.parametrize("run", ["Transf", "meanP"])
def test_actionclip_loss(shared: Path, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, reference, label_set = golden.arrays(shared, A), golden.facts(shared, A), golden.labels(shared, A)
    built, videos = actionclip(shared, run), golden.tensor(shared, A, "videos")
    labels, templates = torch.tensor(reference["train_labels"]), torch.tensor(reference["train_template_ids"])
    features, text = built.encode_video(videos), built.encode_text(label_set)[templates, labels]
    logits = built.similarity(features, text)
    golden.close(logits, data[f"{run}/logits_per_image"], 1e-4, f"actionclip {run} logits per image")
    golden.close(logits.t(), data[f"{run}/logits_per_text"], 1e-4, f"actionclip {run} logits per text")
    wanted = (10 * torch.tensor(reference["gen_label"]).float()).softmax(dim=-1)
    losses = torch.stack(
        [divergence(logits, wanted), divergence(logits.t(), wanted), built.contrast(features, text, labels)]
    )
    golden.close(losses, data[f"{run}/train_losses_image_text_total"], 5e-5, f"actionclip {run} losses")
    monkeypatch.setattr(torch, "randint", lambda *_: templates)  # the one random draw of a training step
    total = built.loss(videos, torch.eye(len(label_set))[labels], label_set)
    golden.close(total, data[f"{run}/train_losses_image_text_total"][2], 5e-5, f"actionclip {run} training loss")


def test_actionclip_rates(shared: Path) -> None:
    expected = golden.arrays(shared, A)["lr_at_epoch_start_epochs50_warmup5_lr5e-6_fratio10"]
    built = golden.method(shared, "actionclip")
    recipe = built.recipe_for("few_shot", "hmdb51")
    peaks = [group["lr"] for group in built.parameter_groups(recipe)]
    found = [[rate_of_update(epoch * 20, recipe, 20, peak) for peak in peaks] for epoch in range(recipe.epochs)]
    golden.close(found, expected, 1e-18, "actionclip learning rates")


@pytest.mark.parametrize(
    "run", ["p16_q16_notemporal", "p16_q16_tfm0", "p16_q16_tfm1", "p16_q16_tfm2", "p8_q4_tfm1", "p0_q0_notemporal"]
)
def test_efficient_prompt(shared: Path, run: str) -> None:
    data, reference = golden.arrays(shared, E), golden.facts(shared, E)["runs"][run]
    label_set = golden.labels(shared, E)
    built = golden.method(
        shared, "efficient_prompt", frames=8, prefix=reference["prefix"], postfix=reference["postfix"],
        temporal=bool(reference["temporal"]), temporal_layers=reference["tfm_layers"],
    )  # fmt: skip
    own = {n for n in built.state_dict() if not n.startswith("backbone.")}
    stored = golden.tensors(shared, "efficient_prompt_extra")
    golden.set_values(built, {n: v for n, v in stored.items() if n in own})
    videos = golden.tensor(shared, E, "videos")
    frames = built.encode_frames(videos)
    golden.close(frames, data["frame_features"], 2e-5, f"efficient_prompt {run} frame features")
    features = built.pool(golden.tensor(shared, E, "frame_features"))
    golden.close(features, data[f"{run}/video_features"], 2e-5, f"efficient_prompt {run} video features")
    text = built.encode_text(label_set)
    golden.close(text, data[f"{run}/text_features"], 2e-5, f"efficient_prompt {run} text features")
    golden.close(built(videos, label_set), data[f"{run}/logits"], 1e-4, f"efficient_prompt {run} logits")
    assert built.layout(label_set).argmax(dim=-1).tolist() == reference["eot_index"]

    loss = built.loss(videos, torch.eye(len(label_set))[:3], label_set)
    golden.close(loss, reference["loss_with_targets_arange"], 5e-5, f"efficient_prompt {run} loss")
    loss.backward()
    gradient = built.embedding.weight.grad
    gradient = torch.zeros_like(built.embedding.weight) if gradient is None else gradient
    expected = torch.from_numpy(data[f"{run}/embedding_grad"])
    golden.close(gradient, expected, max(1e-6, 1e-4 * float(expected.abs().max())), f"efficient_prompt {run} gradient")
    rows = [i for i in range(len(gradient)) if gradient[i].abs().max() > 0]
    assert rows == reference["rows_of_embedding_with_gradient"]


def test_efficient_prompt_published_layout(shared: Path) -> None:
    """Names, start and end stand at the reference's places; it has fillers where vectors stand."""
    built = golden.method(shared, "efficient_prompt", frames=8)
    rows = built.layout(golden.labels(shared, E))
    expected = golden.tensor(shared, E, "p16_q16_notemporal/prompt_tokens").long()[:, : rows.shape[1]]
    assert torch.equal(rows.clamp(min=0), torch.where(rows < 0, 0, expected))
