"""TC-CLIP against the reference outputs: forward passes, merging, gradients, groups, trajectory, interpolation."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.api import ClipMethod, LabelSet, Recipe, UserError, load_published
from harness.engine.training.kept_weights import finish_weights, initial_weights
from harness.engine.training.schedule import rate_of_update
from harness.engine.training.step import build_optimizer
from methods._context_attention import attend_with_context
from methods._merging import merge_schedule
from tests.engine import golden

F, T, J = "tcclip_forward", "tcclip_training", "tcclip"
OPTIONS: dict[str, dict[str, Any]] = {
    "full": {},
    "no_text_context": {"prompt_layers": "none"},
    "level_2_3": {"prompt_layers": "2+3"},
    "no_bias": {"bias": False},
    "joint_pos": {"positions": "joint", "frames": 8},
    "ctx6": {"context_vectors": 6},
    "frames4": {},
    "llm77": {},
}


def name_here(name: str) -> str:
    """Our name of a tensor that upstream adds."""
    if name == "prompt_learner.ctx":
        return "text_context"
    if name == "image_encoder.positional_embedding":
        return "positions"
    if name.endswith("local_global_bias_table"):
        return f"bias_tables.{int(name.split('.')[3]) - 1}"
    return name.replace("text_encoder.prompt_generation_layer", "prompt_layers")


def ours(values: dict[str, Tensor], built: ClipMethod) -> dict[str, Tensor]:
    own = built.state_dict()
    named = {name_here(name): value for name, value in values.items()}
    return {name: value for name, value in named.items() if name in own and own[name].shape == value.shape}


def build(shared: Path, mode: str = "full", **more: Any) -> ClipMethod:
    options = {"tokens": 8, "merged_per_round": 10, "split_names": True, **OPTIONS[mode], **more}
    built = golden.method(shared, "tc_clip", **options)
    stored = golden.tensors(shared, "tcclip_extra")
    values = {name: value for name, value in stored.items() if "/" not in name}
    values |= {name.partition("/")[2]: value for name, value in stored.items() if name.startswith(f"{mode}/")}
    return golden.set_values(built, ours(values, built))


def inputs(shared: Path, mode: str = "full") -> Tensor:
    videos = golden.tensor(shared, "later_inputs_a", "videos")
    return videos[:, :4] if mode == "frames4" else videos


@cache
def classes(shared: Path, mode: str = "full") -> LabelSet:
    return LabelSet(tuple(golden.facts(shared, J)["modes"][mode]["class_names"]))


@pytest.mark.parametrize("mode", OPTIONS)
@torch.no_grad()
def test_forward(shared: Path, mode: str) -> None:
    built, videos, label_set = build(shared, mode), inputs(shared, mode), classes(shared, mode)
    data = {k.partition("/")[2]: v for k, v in golden.arrays(shared, F).items() if k.startswith(f"{mode}/")}
    tokens = built.backbone.tokenize(built.prompts(label_set)).numpy()
    np.testing.assert_array_equal(tokens[:, : data["tokens"].shape[1]], data["tokens"])
    features, context = built.encode_video(videos)
    golden.close(features, data["video_features"], 2e-5, f"tc_clip {mode} video features")
    golden.close(built.encode_frames(videos), data["frame_features"], 2e-5, f"tc_clip {mode} frame features")
    if context.shape[1]:
        golden.close(context, data["context_tokens_projected"], 2e-5, f"tc_clip {mode} context tokens")
    text = built.encode_text(label_set)
    vectors: list[Tensor] = []
    for layer in built.prompt_layers:
        layer.register_forward_hook(lambda *call: vectors.append(call[2]))
    adapted = torch.stack([built.adapt_text(*text, of_video) for of_video in context])
    for number in range(len(built.prompt_layers)):
        of_layer = torch.stack(vectors[number :: len(built.prompt_layers)])
        golden.close(of_layer, data[f"generated_ctx.{number}"], 2e-5, f"tc_clip {mode} vectors of layer {number}")
    golden.close(adapted, data["text_features"], 2e-5, f"tc_clip {mode} text features")
    golden.close(built.score((features, context), text), data["logits"], 1e-4, f"tc_clip {mode} logits")
    golden.close(built(videos.flip(1), label_set), data["logits_frames_reversed"], 1e-4, f"tc_clip {mode} reversed")
    _check_merging(built, videos, data)


def _check_merging(built: ClipMethod, videos: Tensor, data: dict[str, np.ndarray]) -> None:
    """Seeds, their order, sizes and sources of the context tokens of each layer, exactly."""
    visual = built.backbone.visual
    frames = torch.unflatten(built.backbone.embed_patches(videos.flatten(0, 1)), 0, videos.shape[:2])
    if hasattr(built, "positions"):
        frames = frames + built.positions - visual.positional_embedding
    frames, context = visual.ln_pre(frames), None
    for index, block in enumerate(built.backbone.vision_blocks):
        table = built.bias_tables[index - 1] if index and len(built.bias_tables) else None
        attended, attention = attend_with_context(block, frames, context, table)
        frames = frames + attended
        merged, seeds = built.summarise(frames, attention)
        np.testing.assert_array_equal(seeds.numpy(), data[f"layer{index}.seed_index"])
        np.testing.assert_array_equal(merged.sizes.numpy(), data[f"layer{index}.merge_size"])
        if f"layer{index}.source" in data:
            golden.close(attention, data[f"layer{index}.cls_attention"], 1e-5, "tc_clip attention of the class token")
            golden.close(merged.tokens, data[f"layer{index}.context_tokens"], 2e-5, "tc_clip context tokens")
            patches = attention.shape[2]
            number = (seeds + patches * torch.arange(seeds.shape[1])[:, None]).flatten(1)
            source = torch.zeros(len(videos), merged.tokens.shape[1], patches * seeds.shape[1], dtype=torch.uint8)
            for video in range(len(videos)):
                source[video, merged.source[video], number[video]] = 1
            np.testing.assert_array_equal(source.numpy(), data[f"layer{index}.source"])
        context = merged.tokens
        frames = frames + block.mlp(block.ln_2(frames))
        context = context + block.mlp(block.ln_2(context))


def test_schedules(shared: Path) -> None:
    facts = golden.facts(shared, J)
    assert merge_schedule(16 * 58, 96, 100) == facts["published_merge_schedule_16_frames"]
    assert merge_schedule(8 * 58, 96, 100) == facts["published_merge_schedule_8_frames"]


@torch.no_grad()
def test_texts(shared: Path) -> None:
    facts, built = golden.facts(shared, J), build(shared)
    label_set = LabelSet(tuple(facts["tokens"]["names"]))
    assert [" ".join(text.split()) for text in built.prompts(label_set)] == [
        " ".join(text.split()) for text in facts["tokens"]["strings"]
    ]
    for split, key in ((True, "context_length_30"), (False, "parse_ucf101_false")):
        chosen = golden.method(shared, "tc_clip", split_names=split)
        rows = chosen.backbone.tokenize(chosen.prompts(label_set)).tolist()
        assert [row[: row.index(max(row)) + 1] for row in rows] == facts["tokens"][key]
    sentences = build(shared, "llm77").prompts(LabelSet(tuple(facts["llm_stand_ins"])))
    rows = built.backbone.tokenize(sentences).tolist()
    assert [row[: row.index(max(row)) + 1] for row in rows] == facts["tokens"]["llm77"]
    fresh = golden.method(shared, "tc_clip")
    golden.close(fresh.text_context, golden.arrays(shared, F)["init/prompt_learner.ctx"], 1e-7, "tc_clip context")
    (layer,), number = fresh.prompt_layers, facts["prompt_generation_init"]["equals_text_block_index"]
    block = list(fresh.backbone.text_blocks)[number]
    for name, value in layer.attn.state_dict(prefix="attn.").items():
        assert torch.equal(value, block.state_dict()[name]), name
    assert torch.equal(layer.ln_1_kv.weight, block.ln_1.weight)
    rebuilt = LabelSet(tuple(facts["rebuild"]["names"]))
    clean = build(shared, text_embedding="clean")
    golden.close(clean(inputs(shared), rebuilt), golden.arrays(shared, F)["rebuild/logits"], 1e-4, "tc_clip rebuilt")


def gradient(built: ClipMethod, name: str) -> Tensor:
    """The gradient of a tensor by its upstream name; upstream divides the input projection of vision blocks."""
    parameters = dict(built.named_parameters())
    if ".attn." in name and "_proj." in name and "image_encoder" in name:
        part = "qkv".index(name.split(".attn.")[1][0])
        kind = name.rpartition(".")[2]
        clip = name.split(".attn.")[0].replace("image_encoder", "backbone.clip.visual")
        return parameters[f"{clip}.attn.in_proj_{kind}"].grad.chunk(3)[part]
    key = name_here(name)
    if key == name:
        key = next(iter(golden.renamed({name: torch.zeros(1)})))
    grad = parameters[key].grad
    assert grad is not None
    return grad


def test_loss_and_gradients(shared: Path, request: pytest.FixtureRequest) -> None:
    if not golden.has_fixed_kernels():
        # In float64 the gradient of the scale is 1.05e-6 from the reference, which was computed in float32.
        golden.run_with_fixed_kernels(request.node.nodeid)
        return
    for run, options in (("full", {}), ("grad_through_context", {"stop_gradient": False})):
        built = build(shared, **options)
        loss = built.loss(inputs(shared), golden.tensor(shared, F, "soft_targets"), classes(shared))
        golden.close(loss, golden.facts(shared, J)["loss"][run], 5e-5, f"tc_clip {run} loss")
        loss.backward()
        expected = {k: v for k, v in golden.arrays(shared, F).items() if k.startswith(f"grad_{run}/")}
        assert expected
        for key, value in expected.items():
            allowed = max(1e-6, 1e-4 * float(np.abs(value).max()))
            golden.close(gradient(built, key.partition("/")[2]), value, allowed, f"tc_clip {key}")
        assert all(p.grad is not None for p in built.trainable())


@pytest.mark.slow
def test_trained_parameters_and_groups(shared: Path) -> None:
    facts = golden.facts(shared, J)
    for freeze, expected in facts["trainable"].items():
        built = golden.method(shared, "tc_clip", freeze="none" if freeze == "None" else freeze)
        assert sum(p.numel() for p in built.trainable()) == expected["count"], freeze
    groups = build_optimizer(build(shared), Recipe(epochs=1, lr=1e-3)).param_groups
    reference = facts["optimizer_groups"]
    assert [(g["lr"], g["weight_decay"]) for g in groups] == [
        (pytest.approx(g["lr"]), g["weight_decay"]) for g in reference
    ]
    # Upstream divides the weight and the bias of three input projections into three tensors each.
    assert [len(g["params"]) for g in groups] == [reference[0]["n"] - 12, reference[1]["n"], reference[2]["n"]]


@pytest.mark.slow
def test_trajectory(shared: Path) -> None:
    facts, data = golden.facts(shared, J)["trajectory"], golden.arrays(shared, T)
    setting = facts["settings"]
    recipe = Recipe(
        epochs=setting["epochs"], lr=setting["lr"], warmup_epochs=setting["warmup_epochs"], ranks=1, accumulate=1,
        weight_decay=setting["weight_decay"],
    )  # fmt: skip
    built = build(shared).train()
    optimizer = build_optimizer(built, recipe)
    videos = golden.tensor(shared, "later_inputs_a", "train")
    targets, steps = golden.tensor(shared, T, "soft_targets"), setting["iterations_per_epoch"]
    for step in range(setting["run_epochs"] * steps):
        rates = []
        for group in optimizer.param_groups:
            group["lr"] = rate_of_update(step, recipe, steps, group["peak_lr"])
            rates.append(group["lr"])
        golden.close(rates, data["lr_at_step"][step], 1e-12, f"tc_clip rates of step {step}")
        optimizer.zero_grad()
        loss = built.loss(videos[step % steps], targets[step % steps], classes(shared))
        golden.close(loss, data["loss"][step], 5e-5, f"tc_clip loss of step {step}")
        loss.backward()
        optimizer.step()
    state = built.state_dict()
    for name, about in facts["parameters"].items():
        key = name_here(name)
        key = next(iter(golden.renamed({name: torch.zeros(1)}))) if key == name else key
        allowed = max(1e-6, 10 * about["max_diff_float64"])
        golden.close(state[key], data[f"final/{name}"], allowed, f"tc_clip final {name}")


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
@torch.no_grad()
def test_interpolation(shared: Path, share: float, tmp_path: Path) -> None:
    """The recipe's interpolation equals upstream's fusion with the weight w of the fine-tuned model."""
    data, run = golden.arrays(shared, T), f"interpolation/w{share}"
    built = golden.method(shared, "tc_clip", tokens=8, merged_per_round=10, split_names=True)
    recipe = Recipe(epochs=1, lr=1.0, initial_share=1 - share if share else 0.0)
    initial = initial_weights(built, recipe)
    build_from = build(shared)
    tuned = {k.removeprefix("interpolation/fine_tuned/"): v for k, v in data.items() if "/fine_tuned/" in k}
    state = {**build_from.state_dict()}
    for name, value in tuned.items():
        _assign(state, name, torch.from_numpy(value))
    built.load_state_dict(state)
    finish_weights(built, recipe, tmp_path, {}, initial)
    for key in (k for k in data if k.startswith(f"{run}/") and not k.endswith("logits")):
        found = _read(built.state_dict(), key.removeprefix(f"{run}/"))
        golden.close(found, data[key], 1e-6, f"tc_clip {key}")
    golden.close(built(inputs(shared), classes(shared)), data[f"{run}/logits"], 1e-4, f"tc_clip {run} logits")


def _assign(state: dict[str, Tensor], name: str, value: Tensor) -> None:
    if (part := _part(name)) is not None:
        key, number = part
        chunks = list(state[key].chunk(3))
        chunks[number] = value
        state[key] = torch.cat(chunks)
    else:
        state[_key(name)] = value


def _read(state: dict[str, Tensor], name: str) -> Tensor:
    if (part := _part(name)) is not None:
        return state[part[0]].chunk(3)[part[1]]
    return state[_key(name)]


def _part(name: str) -> tuple[str, int] | None:
    if "image_encoder" not in name or ".attn." not in name or "_proj." not in name or "out_proj" in name:
        return None
    block, rest = name.replace("image_encoder", "backbone.clip.visual").split(".attn.")
    return f"{block}.attn.in_proj_{rest.rpartition('.')[2]}", "qkv".index(rest[0])


def _key(name: str) -> str:
    key = name_here(name)
    # The table of positions is CLIP's, unless there is one per frame.
    return next(iter(golden.renamed({name: torch.zeros(1)}))) if key in (name, "positions") else key


@pytest.mark.slow
def test_a_published_checkpoint_loads(shared: Path, tmp_path: Path) -> None:
    """A file with upstream's names, whose queries, keys and values are layers of their own."""
    built = build(shared)
    values = {}
    for name, shape in golden.facts(shared, J)["checkpoint"]["model_keys"].items():
        plain = name.removeprefix("module.")
        known = not plain.startswith("prompt_learner.token_")
        values[name] = _read(built.state_dict(), plain) if known else torch.zeros(shape)
        assert list(values[name].shape) == shape
    path = tmp_path / "best.pth"
    torch.save({"model": values, "epoch": 9}, path)
    loaded = golden.method(shared, "tc_clip", tokens=8, merged_per_round=10)
    assert load_published(loaded, path) == "tcclip"
    state = loaded.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in built.state_dict().items())
    other = golden.method(shared, "tc_clip", context_vectors=6)
    with pytest.raises(UserError) as refused:
        load_published(other, path)
    assert "--set context_vectors=4" in refused.value.hint
