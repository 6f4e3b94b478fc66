"""Vita-CLIP against the references: tokens, features, logits, gradients, trained parameters, trajectory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.api import ClipMethod, LabelSet, Recipe, UserError
from harness.engine.training.schedule import rate_of_update
from harness.engine.training.step import build_optimizer
from harness.weights.families import read_published
from methods._recipes_adapters import VITA_CLIP
from tests.engine import golden

V, T, INPUTS = "vitaclip_forward", "vitaclip_training", "later_inputs_a"
MODES = (
    "all", "none", "global", "local", "summary", "summary_local", "all_4_frames", "text_generic", "text_middle",
    "text_front", "text_words",
)  # fmt: skip

RARE = ("global", "local", "summary", "text_generic", "text_middle")
"""Modes whose parts other modes have."""


def facts(shared: Path) -> dict:
    return golden.facts(shared, "vitaclip")


def own_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the original under our names."""
    found = read_published({"visual.cls_token": torch.zeros(1), **state})
    clip = {f"backbone.clip.{n}": v for n, v in found.clip.items() if n != "visual.class_embedding"}
    return {**clip, **found.own}


def own_name(name: str) -> str:
    (found,) = own_names({name: torch.zeros(1)})
    return found


def build(shared: Path, mode: str, frames: int | None = None) -> ClipMethod:
    stated = facts(shared)["modes"][mode]["options"]
    method = golden.method(
        shared, "vita_clip", summary=stated.get("use_summary_token", False),
        local_prompts=stated.get("use_local_prompts", False),
        global_prompts=stated["num_global_prompts"] if stated.get("use_global_prompts") else 0,
        contexts=stated["text_num_prompts"], context="classes" if stated["text_prompt_CSC"] else "shared",
        fixed_classes=5, position=stated.get("text_prompt_pos", "end"), words=stated.get("text_prompt_init", ""),
        frames=frames or stated["frames"],
    )  # fmt: skip
    stored = golden.tensors(shared, "vitaclip_extra")
    modes = {name.partition("/")[0] for name in stored if "/" in name}
    values = {name: value for name, value in stored.items() if "/" not in name}
    if mode in modes:
        values |= {n.partition("/")[2]: v for n, v in stored.items() if n.startswith(f"{mode}/")}
    if frames:
        values["visual.time_embed"] = values["visual.time_embed"][:frames]
    own = method.state_dict()
    return golden.set_values(method, {n: v for n, v in own_names(values).items() if n in own})


@pytest.mark.parametrize("mode", [pytest.param(m, marks=pytest.mark.slow) if m in RARE else m for m in MODES])
@torch.no_grad()
def test_vita_clip(shared: Path, mode: str) -> None:
    data, method, label_set = golden.arrays(shared, V), build(shared, mode), golden.labels(shared, "vitaclip")
    tokens = method.backbone.tokenize(method.prompts(label_set))
    assert np.array_equal(tokens.numpy(), data[f"{mode}/tokens"])
    video = golden.tensor(shared, INPUTS, "videos")[:, : method.options.frames]
    frames, text = method.encode_frames(video), method.encode_text(label_set)
    golden.close(frames, data[f"{mode}/frame_features"], 2e-5, "frame features")
    # The original normalises the mean.
    golden.close(text, data[f"{mode}/text_features"], 2e-5, "text features")
    golden.close(method.pool(frames), data[f"{mode}/video_features"], 2e-5, "video features")
    golden.close(method(video, label_set), data[f"{mode}/logits"], 1e-4, "logits")
    golden.close(method(video.flip(1), label_set), data[f"{mode}/logits_frames_reversed"], 1e-4, "reversed frames")
    if mode == "text_words":
        golden.close(golden.method(shared, "vita_clip", words="a_photo of a").ctx, data["text_words/ctx"], 0, "words")
    names, stated = {n for n, p in method.named_parameters() if p.requires_grad}, facts(shared)["trainable"][mode]
    assert sum(p.numel() for p in method.trainable()) == stated["count"]
    assert len(names) == stated["tensors"]


@pytest.mark.slow
@torch.no_grad()
def test_vita_clip_inside(shared: Path) -> None:
    """The parts of the first block, the class tokens after each block, and the embedded text."""
    data, method, label_set = golden.arrays(shared, V), build(shared, "all"), golden.labels(shared, "vitaclip")
    seen: list[Tensor] = []
    plain = method.apply_block
    method.apply_block = lambda *call: seen.append(plain(*call)) or seen[-1]  # type: ignore[method-assign]
    added: list[tuple[Tensor, Tensor]] = []
    projected: list[Tensor] = []
    method.blocks[0].register_forward_hook(lambda *call: added.append(call[2]))
    method.blocks[0].cls_proj.register_forward_hook(lambda *call: projected.append(call[2]))
    method.encode_frames(golden.tensor(shared, INPUTS, "videos"))
    for index, tokens in enumerate(seen):
        golden.close(tokens[:, :, 0], data[f"all/block{index}_output_cls"], 5e-5, f"block {index}")
    front, back = added[0]
    golden.close(projected[0], data["all/block0_cls_proj"], 2e-5, "projected class tokens")
    golden.close(back[:, :, 0], data["all/block0_summary_token"], 2e-5, "summary")
    golden.close(front[:, 0], data["all/block0_local_prompts"], 2e-5, "local prompts")
    assert torch.equal(front[:, 0], front[:, 7])
    embedded: list[Tensor] = []
    encode = method.backbone.encode_embedded_text
    method.backbone.encode_embedded_text = lambda x, end: embedded.append(x) or encode(x, end)  # type: ignore[method-assign]
    method.encode_text(label_set)
    expected = data["all/text_prompt_embeddings_first_class"]
    length = min(len(expected), embedded[0].shape[1])
    golden.close(embedded[0][0, :length], expected[:length], 1e-6, "embedded text")


@pytest.mark.slow
@torch.no_grad()
def test_vita_clip_other_frames(shared: Path) -> None:
    data, method = golden.arrays(shared, V), build(shared, "global", frames=4)
    video, label_set = golden.tensor(shared, INPUTS, "videos"), golden.labels(shared, "vitaclip")
    golden.close(method(video, label_set), data["global/time_embed_4_stretched_to_8/logits"], 1e-4, "stretched times")
    with pytest.raises(UserError, match="vita_clip is set up for 8 frames, the view has 4"):
        build(shared, "all").encode_frames(video[:, :4])


@pytest.mark.slow
@torch.no_grad()
def test_vita_clip_views_and_classes(shared: Path) -> None:
    data, method, label_set = golden.arrays(shared, V), build(shared, "all"), golden.labels(shared, "vitaclip")
    probabilities = method(golden.tensor(shared, INPUTS, "videos"), label_set).softmax(dim=-1).mean(dim=0)
    golden.close(probabilities, data["views/mean_softmax_of_the_videos_as_views"], 1e-5, "views")
    with pytest.raises(UserError, match="has vectors for 5 classes, the label set has 2"):
        method.encode_text(LabelSet(("run", "jump")))


def test_vita_clip_tokens_of_difficult_names(shared: Path) -> None:
    reference = json.loads((shared / "golden" / "later_text_tokens_a.json").read_text(encoding="utf-8"))
    method = golden.method(shared, "vita_clip")
    texts = method.prompts(LabelSet(tuple(reference["names"])))
    assert list(texts) == reference["vitaclip"]["strings"]
    for row, expected in zip(method.backbone.tokenize(texts).tolist(), reference["vitaclip"]["tokens"], strict=True):
        assert row[: len(expected)] == expected and not any(row[len(expected) :])


def test_vita_clip_gradients(shared: Path) -> None:
    data, method, label_set = golden.arrays(shared, V), build(shared, "all"), golden.labels(shared, "vitaclip")
    trained = {own_name(name) for name in facts(shared)["trainable"]["all"]["names"]}
    assert {n for n, p in method.named_parameters() if p.requires_grad} == trained
    assert not trained & {own_name(name) for name in facts(shared)["frozen_although_new"]}
    (group,) = method.parameter_groups(VITA_CLIP["supervised"])
    assert (len(group["params"]), group["weight_decay"]) == (len(trained), facts(shared)["optimizer"]["weight_decay"])
    targets = torch.eye(5)[torch.from_numpy(data["train/labels"]).long()]
    loss = method.loss(golden.tensor(shared, INPUTS, "videos"), targets, label_set)
    golden.close(loss, facts(shared)["loss"], 5e-5, "loss")
    loss.backward()
    parameters = dict(method.named_parameters())
    for name, expected in ((n, v) for n, v in data.items() if n.startswith("train/grad/")):
        gradient = parameters[own_name(name.removeprefix("train/grad/"))].grad
        golden.close(gradient, expected, max(1e-6, 1e-4 * float(np.abs(expected).max())), name)


@pytest.mark.slow
def test_vita_clip_trajectory(shared: Path) -> None:
    data, method, label_set = golden.arrays(shared, T), build(shared, "all"), golden.labels(shared, "vitaclip")
    stated = facts(shared)["trajectory"]
    settings = stated["settings"]
    recipe = Recipe(
        epochs=1, lr=settings["lr"], warmup_epochs=0, ranks=1, accumulate=1, weight_decay=settings["weight_decay"],
        betas=tuple(settings["betas"]), min_lr_ratio=0.0, smoothing=0.0, schedule="slowfast_cosine",
    )  # fmt: skip
    optimizer, clips = build_optimizer(method, recipe), golden.tensor(shared, INPUTS, "train")
    for step in range(5):
        rate = rate_of_update(step, recipe, settings["T_max"])
        assert rate == pytest.approx(float(data["lr_at_step"][step]), rel=1e-9)
        for group in optimizer.param_groups:
            group["lr"] = rate
        targets = torch.eye(5)[torch.from_numpy(data["labels"][step]).long()]
        loss = method.loss(clips[step], targets, label_set)
        golden.close(loss, data["loss"][step], 5e-5, f"loss {step}")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    parameters = dict(method.named_parameters())
    for name, expected in ((n.removeprefix("final/"), v) for n, v in data.items() if n.startswith("final/")):
        allowed = max(1e-6, 10 * stated["parameters"][name]["max_diff_float64"])
        golden.close(parameters[own_name(name)], expected, allowed, name)


def test_vita_clip_published_rates(shared: Path) -> None:
    data, recipe = golden.arrays(shared, T), VITA_CLIP["supervised"]
    total = 30_000
    for step, expected in zip(data["lr_published/steps"].tolist(), data["lr_published/lr"].tolist(), strict=True):
        # All updates as one epoch: the rate depends on their share alone.
        one = Recipe(epochs=1, lr=recipe.lr, warmup_epochs=0, accumulate=1, min_lr_ratio=0.0, schedule=recipe.schedule)
        assert rate_of_update(int(step), one, total) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_vita_clip_initial_values(shared: Path) -> None:
    """Drawn from the same distributions: equal sizes, and spreads within those of so many numbers."""
    torch.manual_seed(0)
    parameters = dict(build_fresh(shared).named_parameters())
    for name, row in facts(shared)["initial"].items():
        value = parameters[own_name(name)].detach()
        assert list(value.shape) == row["shape"], name
        assert float(value.std(correction=0)) == pytest.approx(row["std"], rel=0.15, abs=1e-6), name
        if value.numel() > 1000:
            assert float(value.abs().max()) == pytest.approx(row["max_abs"], rel=0.35, abs=1e-6), name


def build_fresh(shared: Path) -> ClipMethod:
    stated = facts(shared)["modes"]["all"]["options"]
    return golden.method(
        shared, "vita_clip", context="classes", fixed_classes=5, contexts=stated["text_num_prompts"],
        global_prompts=stated["num_global_prompts"], frames=stated["frames"],
    )  # fmt: skip
