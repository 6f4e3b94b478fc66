"""ST-Adapter and AIM against the references: features, logits, gradients, trained parameters, trajectories, rates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.api import ClipMethod, LabelSet, Recipe
from harness.engine.training.recipe_groups import recipe_groups
from harness.engine.training.schedule import rate_of_update
from harness.engine.training.step import build_optimizer
from harness.weights.families import read_published
from methods._recipes_adapters import AIM, ST_ADAPTER
from tests.engine import golden

S, A, INPUTS = "stadapter_forward", "aim_forward", "later_b_inputs"
LABELS = LabelSet(tuple("abcde"))
S_MODES = {
    "pre_attn_and_pre_mlp": {"before": "attn+mlp"},
    "pre_mlp_only": {"before": "mlp"},
    "pre_attn_last2_k333": {"before": "attn", "blocks": 2, "kernel": "3x3x3"},
}
A_MODES = {"k400_scale0.5": {"scale": 0.5}, "ssv2_scale1_two_temporal_adapters": {"scale": 1.0, "inner_adapter": True}}


def videos(shared: Path, frames: int) -> Tensor:
    return golden.tensor(shared, INPUTS, "videos")[:, :frames]


def own_names(state: dict[str, Tensor], method: str) -> dict[str, Tensor]:
    """Tensors of an original under our names."""
    if method == "st_adapter":
        mark = "transformer.resblocks.99.adapter_pre_mlp.mark"
        own = read_published({"model": {mark: torch.zeros(1), **state}}).own
        return {n: v for n, v in own.items() if not n.endswith(".mark")}
    found = read_published({"state_dict": {"backbone.class_embedding": torch.zeros(1), **state}})
    clip = {f"backbone.clip.{n}": v for n, v in found.clip.items() if n != "visual.class_embedding"}
    return {**clip, **found.own}


def own_name(name: str, method: str) -> str:
    (found,) = own_names({name: torch.zeros(1)}, method)
    return found


def stored(shared: Path, file: str, mode: str, method: str) -> dict[str, Tensor]:
    values = golden.tensors(shared, file)
    return own_names({n.removeprefix(f"{mode}/"): v for n, v in values.items() if n.startswith(f"{mode}/")}, method)


def class_tokens(method: ClipMethod, video: Tensor) -> tuple[Tensor, np.ndarray]:
    """The features of the method, and the class tokens (blocks, B, T, width) after each block."""
    seen: list[Tensor] = []
    if method.name == "aim":
        handles = [part.register_forward_hook(lambda *call: seen.append(call[2])) for part in method.adapters]
        features = method.encode_video(video)
        for handle in handles:
            handle.remove()
    else:
        plain = method.apply_block
        method.apply_block = lambda *call: seen.append(plain(*call)) or seen[-1]  # type: ignore[method-assign]
        features = method.encode_video(video)
        del method.apply_block
    return features, torch.stack([x[:, :, 0] for x in seen]).detach().numpy()


def check_gradients(method: ClipMethod, data: dict[str, np.ndarray], prefix: str) -> None:
    parameters = dict(method.named_parameters())
    found = {name.removeprefix(prefix): value for name, value in data.items() if name.startswith(prefix)}
    assert found
    for name, expected in found.items():
        gradient = parameters[own_name(name, method.name)].grad
        golden.close(gradient, expected, max(5e-6, 1e-4 * float(np.abs(expected).max())), name)


def st_adapter(shared: Path, mode: str, **options: object) -> ClipMethod:
    built = golden.method(
        shared, "st_adapter", head="classes", fixed_classes=5, bottleneck=64, **{**S_MODES[mode], **options}
    )
    return golden.set_values(built, stored(shared, "stadapter_extra", mode, "st_adapter"))


@pytest.mark.parametrize("mode", S_MODES)
@pytest.mark.parametrize("frames", [4, pytest.param(8, marks=pytest.mark.slow)])
@torch.no_grad()
def test_st_adapter(shared: Path, mode: str, frames: int) -> None:
    data, method, video = golden.arrays(shared, S), st_adapter(shared, mode), videos(shared, frames)
    run = f"{mode}_T{frames}"
    features, tokens = class_tokens(method, video)
    golden.close(tokens, data[f"{run}/class_token_after_block"], 5e-5, "class tokens")
    golden.close(tokens[-1].mean(axis=2 - 1), data[f"{run}/mean_class_token"], 3e-5, "mean class token")
    golden.close(features, data[f"{run}/after_ln_post"], 3e-5, "features")
    golden.close(method(video, LABELS), data[f"{run}/logits"], 1e-4, "logits")
    for key in (key for key in data if key.startswith(f"{run}/adapter_delta.")):
        index, name = key.partition("adapter_delta.block")[2].split(".")
        adapter, deltas = method.adapters[index].get_submodule(name), []
        handle = adapter.register_forward_hook(lambda *call, deltas=deltas: deltas.append(call[2]))
        method.encode_video(video)
        handle.remove()
        golden.close(deltas[0], data[key], 3e-5, key)


@pytest.mark.slow
@torch.no_grad()
def test_st_adapter_starts_at_clip(shared: Path) -> None:
    data, method = golden.arrays(shared, S), golden.method(shared, "st_adapter", before="attn+mlp")
    tokens = method.encode_class_tokens(videos(shared, 8))
    golden.close(tokens.mean(dim=1), data["clip_mean_class_token"], 3e-5, "mean class token")
    plain = golden.method(shared, "vificlip")
    golden.close(method(videos(shared, 8), LABELS), plain(videos(shared, 8), LABELS), 1e-4, "logits of head=text")


@pytest.mark.parametrize("mode", S_MODES)
def test_st_adapter_gradients_and_groups(shared: Path, mode: str) -> None:
    data, facts = golden.arrays(shared, S), golden.facts(shared, S)
    method = st_adapter(shared, mode, idle_adapter="trained")
    modes, idle = facts["modes"][mode], facts["learnable_with_zero_gradient"][mode]
    names = {id(p): n for n, p in method.named_parameters()}
    trained = {n for n, p in method.named_parameters() if p.requires_grad}
    assert trained == {own_name(n, "st_adapter") for n in modes["trainable"]}
    assert method.parameter_counts()[1] == modes["trainable_elements"]
    groups = {g["weight_decay"]: {names[id(p)] for p in g["params"]} for g in recipe_groups(method, ST_ADAPTER["b2n"])}
    assert groups == {
        0.01: {own_name(n, "st_adapter") for n in modes["decayed"]},
        0.0: {own_name(n, "st_adapter") for n in modes["undecayed"]},
    }
    logits = method(videos(shared, 8), LABELS)
    loss = torch.nn.functional.cross_entropy(logits, golden.tensor(shared, S, "targets"))
    golden.close(loss, data[f"{mode}/loss"], 5e-5, "loss")
    loss.backward()
    check_gradients(method, data, f"{mode}/grad/")
    silent = {n for n, p in method.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())}
    assert silent == {own_name(n, "st_adapter") for n in idle}
    frozen = st_adapter(shared, mode)
    assert {n for n, p in frozen.named_parameters() if p.requires_grad} == trained - silent


@pytest.mark.parametrize("setting", ["k400_12ep_wu2", "ssv2_50ep_wu2"])
def test_st_adapter_rates(shared: Path, setting: str) -> None:
    data = golden.arrays(shared, S)
    recipe = ST_ADAPTER["supervised" if setting.startswith("k400") else "supervised/ssv2"]
    factors, per_epoch = data[f"lr_factor/{setting}"], int(data[f"lr_factor/{setting}/iterations_per_epoch"])
    rates = [rate_of_update(k, recipe, per_epoch * recipe.accumulate) for k in range(len(factors))]
    np.testing.assert_allclose(np.array(rates) / recipe.lr, factors, rtol=1e-12, atol=1e-15)


def train(shared: Path, method: ClipMethod, recipe: Recipe, data: dict[str, np.ndarray], per_epoch: int) -> None:
    """Repeat a trajectory of the reference: losses, rates and final parameters."""
    # In float64: Adam scales the rounding errors of a gradient near zero to full updates, on either side.
    optimizer = build_optimizer(method.double(), recipe)
    clips = golden.tensor(shared, INPUTS, "train_videos").double()
    for step in range(5):
        rate = rate_of_update(step, recipe, per_epoch)
        assert rate == pytest.approx(float(data["traj/lr"][step]), rel=1e-12)
        for group in optimizer.param_groups:
            group["lr"] = rate
        logits = method.fc(method.encode_video(clips[step]))  # `score` takes the last product in float32
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(data["traj/targets"][step]))
        golden.close(loss, data["traj/loss"][step], 5e-5, f"loss {step}")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    parameters = dict(method.named_parameters())
    for name, expected in ((n.removeprefix("traj/final/"), v) for n, v in data.items() if n.startswith("traj/final/")):
        golden.close(parameters[own_name(name, method.name)], expected, 2e-6, name)


@pytest.mark.slow
def test_st_adapter_trajectory(shared: Path) -> None:
    facts = golden.facts(shared, S)["trajectory"]
    recipe = Recipe(
        epochs=facts["epochs"], lr=facts["lr"], warmup_epochs=facts["warmup_epochs"], ranks=1, accumulate=1,
        weight_decay=facts["weight_decay"], betas=tuple(facts["betas"]), eps=facts["eps"], min_lr_ratio=0.0,
        no_decay=("biases",), schedule="slowfast_cosine",
    )  # fmt: skip
    method = st_adapter(shared, facts["mode"], idle_adapter="trained")
    train(shared, method, recipe, golden.arrays(shared, S), facts["iterations_per_epoch"])


def aim(shared: Path, mode: str, frames: int = 8) -> ClipMethod:
    built = golden.method(shared, "aim", head="classes", fixed_classes=5, frames=frames, **A_MODES[mode])
    values = stored(shared, "aim_extra", mode, "aim")
    values["temporal_embedding"] = values["temporal_embedding"][:, :frames]
    return golden.set_values(built, values)


@pytest.mark.parametrize("mode", A_MODES)
@pytest.mark.parametrize("frames", [4, pytest.param(8, marks=pytest.mark.slow)])
@torch.no_grad()
def test_aim(shared: Path, mode: str, frames: int) -> None:
    data, method, video = golden.arrays(shared, A), aim(shared, mode, frames), videos(shared, frames)
    run, seen = f"{mode}_T{frames}", {}
    for name, adapter in method.adapters[0].named_children():
        adapter.register_forward_hook(lambda *call, name=name: seen.__setitem__(name, call[2]))
    _, tokens = class_tokens(method, video)
    golden.close(tokens, data[f"{run}/class_token_after_block"], 5e-5, "class tokens")
    normed = method.backbone.visual.ln_post(method.encode_class_tokens(video))
    golden.close(normed, data[f"{run}/frame_features_after_ln_post"], 3e-5, "frame features")
    golden.close(method(video, LABELS), data[f"{run}/logits"], 1e-4, "logits")
    for key in (key for key in data if key.startswith(f"{run}/block0.")):
        name = key.partition("block0.")[2]
        found = seen[name]
        if name.startswith("T_"):
            found = torch.unflatten(found, 0, (3, -1)).transpose(1, 2)
        golden.close(found.view(3, frames, 17, 192)[:, :, ::4], data[key], 3e-5, key)


@pytest.mark.slow
@torch.no_grad()
def test_aim_starts_at_clip(shared: Path) -> None:
    data, method = golden.arrays(shared, A), golden.method(shared, "aim", frames=8)
    normed = method.backbone.visual.ln_post(method.encode_class_tokens(videos(shared, 8)))
    golden.close(normed, data["clip_frame_features_after_ln_post"], 3e-5, "frame features")
    plain = golden.method(shared, "vificlip")
    golden.close(method(videos(shared, 8), LABELS), plain(videos(shared, 8), LABELS), 1e-4, "logits of head=text")


@pytest.mark.parametrize("mode", A_MODES)
def test_aim_gradients_and_groups(shared: Path, mode: str) -> None:
    data, facts = golden.arrays(shared, A), golden.facts(shared, A)["modes"][mode]
    method = aim(shared, mode)
    names = {id(p): n for n, p in method.named_parameters()}
    trained = {n for n, p in method.named_parameters() if p.requires_grad}
    assert trained == {own_name(n, "aim") for n in facts["trainable"]}
    assert method.parameter_counts()[1] == facts["trainable_elements"]
    groups = {g["weight_decay"]: {names[id(p)] for p in g["params"]} for g in recipe_groups(method, AIM["b2n"])}
    assert groups[0.0] == {own_name(n, "aim") for n in facts["trainable_without_decay"]}
    assert len(groups[0.05]) == facts["trainable_with_decay_count"]
    loss = torch.nn.functional.cross_entropy(method(videos(shared, 8), LABELS), golden.tensor(shared, A, "targets"))
    golden.close(loss, data[f"{mode}/loss"], 5e-5, "loss")
    loss.backward()
    check_gradients(method, data, f"{mode}/grad/")


@pytest.mark.parametrize("setting", ["k400_30ep_wu2.5", "ssv2_50ep_wu2.5"])
def test_aim_rates(shared: Path, setting: str) -> None:
    data = golden.arrays(shared, A)
    recipe = AIM["supervised" if setting.startswith("k400") else "supervised/ssv2"]
    expected, per_epoch = data[f"lr/{setting}"], int(data[f"lr/{setting}/iterations_per_epoch"])
    rates = [rate_of_update(k, recipe, per_epoch * recipe.accumulate) for k in range(len(expected))]
    np.testing.assert_allclose(rates, expected, rtol=1e-12, atol=1e-18)


@pytest.mark.slow
def test_aim_trajectory(shared: Path) -> None:
    facts, data = golden.facts(shared, A)["trajectory"], golden.arrays(shared, A)
    recipe = Recipe(
        epochs=facts["epochs"], lr=facts["base_lr"], warmup_epochs=facts["warmup_epochs"], ranks=1, accumulate=1,
        weight_decay=facts["weight_decay"], betas=tuple(facts["betas"]), eps=facts["eps"], min_lr_ratio=0.0,
        warmup_lr_ratio=facts["warmup_ratio"], no_decay=("last_norm",), schedule="epoch_cosine",
    )  # fmt: skip
    train(shared, aim(shared, facts["mode"], facts["frames"]), recipe, data, facts["iterations_per_epoch"])


def test_aim_drops_token_positions_of_all_videos(shared: Path) -> None:
    method, x = golden.method(shared, "aim", frames=4).train(), torch.ones(2, 4, 1000, 3)
    torch.manual_seed(0)
    for index, probability in enumerate((0.0, 0.1, 0.2)):
        kept = method.adapters[index].drop(x)
        assert torch.equal(kept, kept[:1, :1, :, :1].expand_as(kept))
        assert float((kept == 0).float().mean()) == pytest.approx(probability, abs=0.03)
        assert float(kept.max()) == pytest.approx(1 / (1 - probability))
