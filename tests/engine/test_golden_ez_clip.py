"""EZ-CLIP against its original: features, scores, losses, gradients, trained tensors, trajectory and rates."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.api import ClipMethod, LabelSet, Recipe, UserError, load_published
from harness.engine.training.recipe_groups import recipe_groups
from harness.engine.training.schedule import rate_of_update
from harness.weights.families import read_published
from methods._adapters import drop_positions
from methods._contrast import matching_losses
from methods.ez_clip import motion_loss
from tests.engine import golden
from tests.engine.trajectory import batch_of, train

FORWARD, TRAINING = "ezclip_forward", "ezclip_training"
TEMPORAL = {
    "prompt_deep": "prompts", "prompt_first_layer_only": "first", "t_adapter": "adapters", "no_temporal": "none",
    "prompt_deep_4_frames": "prompts",
}  # fmt: skip


UNDROPPED = {"dropout": 0.0, "prompt_dropout": 0.0}


@pytest.fixture
def texts(shared: Path, tmp_path: Path) -> Path:
    """The descriptions of the reference as a file of class texts."""
    facts, path = golden.facts(shared, "ezclip"), tmp_path / "descriptions.json"
    classes = dict(zip(facts["class_names"], facts["descriptions"], strict=True))
    path.write_text(json.dumps({"form": "class texts 1", "source": "llm", "texts": classes}))
    return path


def labels_of(shared: Path) -> LabelSet:
    return LabelSet(tuple(golden.facts(shared, "ezclip")["class_names"]))


def ours(name: str) -> str:
    """Upstream's name under ours."""
    found = read_published({"visual.temporal_embedding": 0, name: 0})
    own = [n for n in found.own if n != "temporal_embedding"]
    return own[0] if own else f"backbone.clip.{next(iter(found.clip))}" if found.clip else "temporal_embedding"


def ez_clip(shared: Path, mode: str, **options: Any) -> ClipMethod:
    """The method of a mode, with the tensors of the reference."""
    frames = golden.facts(shared, "ezclip")["modes"][mode]["options"]["frames"]
    built = golden.method(shared, "ez_clip", temporal=TEMPORAL[mode], frames=frames, **options)
    stored = golden.tensors(shared, "ezclip_extra")
    modes = tuple(f"{name}/" for name in TEMPORAL)
    values = {n: v for n, v in stored.items() if not n.startswith(modes)}
    values |= {n.removeprefix(f"{mode}/"): v for n, v in stored.items() if n.startswith(f"{mode}/")}
    own = {n for n, _ in built.named_parameters() if not n.startswith("backbone.")}
    named = {ours(n): v for n, v in values.items()}
    assert own <= set(named)
    return golden.set_values(built, {n: v for n, v in named.items() if n in own})


@pytest.mark.parametrize("mode", TEMPORAL)
@torch.no_grad()
def test_features_and_scores(shared: Path, texts: Path, mode: str) -> None:
    data = golden.arrays(shared, FORWARD)
    built = ez_clip(shared, mode, class_texts=str(texts), adapter_order="published", **UNDROPPED).train()
    videos, labels = golden.tensor(shared, "later_inputs_a", "videos")[:, : built.options.frames], labels_of(shared)
    frames = built.encode_frames(videos)
    features, text = built.pool(frames), built.encode_text(labels)
    golden.close(frames, data[f"{mode}/frame_features"], 2e-5, f"{mode} frame features")
    golden.close(features, data[f"{mode}/video_features"], 2e-5, f"{mode} video features")
    golden.close(text[0], data[f"{mode}/text_features"], 2e-5, f"{mode} text features")
    unit = torch.nn.functional.normalize
    golden.close(
        100 * unit(features, dim=-1) @ unit(text[0], dim=-1).t(),
        data[f"{mode}/eval_similarity"],
        1.5e-4,
        f"{mode} 100 x",
    )
    golden.close(built.score(features, text).exp(), data[f"{mode}/eval_probabilities"], 1e-5, f"{mode} probabilities")
    golden.close(
        built.encode_video(videos.flip(1)), data[f"{mode}/video_features_frames_reversed"], 2e-5, f"{mode} reversed"
    )


@pytest.mark.slow
@torch.no_grad()
def test_the_published_order_of_adapters_mixes_videos(shared: Path) -> None:
    """A single video has one order, so that both orders agree there; the default does not depend on the batch."""
    videos = golden.tensor(shared, "later_inputs_a", "videos")
    clean, published = (ez_clip(shared, "t_adapter", adapter_order=order) for order in ("clean", "published"))
    torch.testing.assert_close(clean.encode_frames(videos[1:2]), published.encode_frames(videos[1:2]))
    torch.testing.assert_close(clean.encode_frames(videos)[1:2], clean.encode_frames(videos[1:2]))
    with pytest.raises(UserError, match="has 3 videos in evaluation; expected 1"):
        published.encode_frames(videos)


@pytest.mark.slow
@pytest.mark.parametrize("mode", TEMPORAL)
@torch.no_grad()
def test_templates(shared: Path, mode: str) -> None:
    data, built, labels = golden.arrays(shared, FORWARD), ez_clip(shared, mode), labels_of(shared)
    by_class = built.sentences(labels)
    names = golden.facts(shared, "ezclip")["tok_names"]
    tokens = torch.from_numpy(data["tokens_16_templates"]).view(16, len(names), -1)[:, : len(labels)]
    listed = tuple(by_class[c][k] for k in range(16) for c in range(len(labels)))
    assert torch.equal(built.backbone.tokenize(listed).int(), tokens.flatten(0, 1))
    features = torch.from_numpy(data[f"{mode}/video_features"])
    probabilities = built.score(features, built.encode_text(labels)).exp()
    golden.close(probabilities, data[f"{mode}/eval_probabilities_16_templates"], 1e-5, f"{mode} templates")


def test_tokens_of_difficult_names(shared: Path) -> None:
    facts = golden.facts(shared, "later_text_tokens_a")
    built, expected = golden.method(shared, "ez_clip"), facts["ezclip"]["templates_16"]
    for name, *listed in zip(built.sentences(LabelSet(tuple(facts["names"]))), *expected, strict=True):
        found = built.backbone.tokenize(name).tolist()
        assert [row[: len(tokens)] for row, tokens in zip(found, listed, strict=True)] == listed


def test_descriptions_are_the_text_itself(shared: Path, texts: Path) -> None:
    built = ez_clip(shared, "no_temporal", class_texts=str(texts))
    listed = tuple(text for texts_of in built.sentences(labels_of(shared)) for text in texts_of)
    assert np.array_equal(built.backbone.tokenize(listed).numpy(), golden.arrays(shared, FORWARD)["tokens_llm"])


@pytest.mark.slow
@torch.no_grad()
def test_class_tokens_of_the_blocks(shared: Path) -> None:
    data, built = golden.arrays(shared, FORWARD), ez_clip(shared, "prompt_deep")
    videos, outputs = golden.tensor(shared, "later_inputs_a", "videos"), []
    for adapter, block in zip(built.vision_adapters, built.backbone.vision_blocks, strict=True):
        block.ln_2.register_forward_hook(lambda module, args, _: outputs.append(args[0]))
        assert adapter.D_fc1.out_features == 48
    # The input of the second norm plus the MLP of it is the output of a block.
    built.encode_frames(videos)
    for index, (block, x) in enumerate(zip(built.backbone.vision_blocks, outputs, strict=True)):
        cls = (x + block.mlp(torch.nn.functional.layer_norm(x, x.shape[-1:], block.ln_2.weight, block.ln_2.bias)))[:, 0]
        golden.close(cls.view(3, 8, -1), data[f"prompt_deep/block{index}_cls"], 2e-5, f"block {index}")


@pytest.mark.parametrize("case", ["0", "1", "2"])
def test_motion_loss(shared: Path, case: str) -> None:
    data = golden.arrays(shared, FORWARD)
    golden.close(
        motion_loss(torch.from_numpy(data[f"motion/{case}/features"])), data[f"motion/{case}/loss"], 1e-6, case
    )


def test_whole_positions_are_dropped(shared: Path) -> None:
    """The reference has the tokens first: which of them are dropped is the same for all samples."""
    data = golden.arrays(shared, FORWARD)
    given, expected = (torch.from_numpy(data[f"drop_path/{n}"]).transpose(0, 1) for n in ("input", "output_p0.5"))
    kept = expected.abs().sum(dim=(0, 2)) > 0
    golden.close(expected, 2 * given * kept[None, :, None], 1e-6, "reference")
    torch.manual_seed(0)
    found = drop_positions(given, 0.5)
    kept = found.abs().sum(dim=(0, 2)) > 0
    assert 0 < int(kept.sum()) < len(kept)
    golden.close(found, 2 * given * kept[None, :, None], 1e-6, "ours")


def training(shared: Path, texts: Path) -> ClipMethod:
    return ez_clip(shared, "prompt_deep", class_texts=str(texts), **UNDROPPED).train()


def test_losses_and_gradients(shared: Path, texts: Path) -> None:
    data, facts, built = golden.arrays(shared, FORWARD), golden.facts(shared, "ezclip")["loss"], training(shared, texts)
    labels, videos = torch.from_numpy(data["train/labels"]), golden.tensor(shared, "later_inputs_a", "videos")
    batch = batch_of(videos, labels, labels_of(shared))
    loss = built.training_loss(batch)
    golden.close(loss, facts["total"], 5e-5, "loss")
    each = torch.stack(matching_losses(torch.from_numpy(data["train/logits_per_image"]), labels))
    golden.close(each, [facts["image"], facts["text"]], 5e-5, "both directions")
    golden.close(each.mean(), facts["total_without_motion"], 5e-5, "loss without motion")
    loss.backward()
    gradients_close(built, data, "train/grad/")
    built.zero_grad()
    motion = motion_loss(built.encode_frames(videos))
    golden.close(motion, facts["motion"], 5e-5, "motion loss")
    motion.backward()
    gradients_close(built, data, "train/grad_motion_only/")


def gradients_close(built: ClipMethod, data: dict[str, Any], prefix: str) -> None:
    own = dict(built.named_parameters())
    names = [name for name in data if name.startswith(prefix)]
    assert names
    for name in names:
        gradient, scale = own[ours(name.removeprefix(prefix))].grad, float(np.abs(data[name]).max())
        golden.close(gradient, data[name], max(1e-6, 1e-4 * scale), name)


@pytest.mark.slow
@pytest.mark.parametrize("mode", TEMPORAL)
def test_trained_tensors(shared: Path, mode: str) -> None:
    facts, built = golden.facts(shared, "ezclip"), ez_clip(shared, mode)
    reference = facts["trainable"][mode]
    trained = {n for n, p in built.named_parameters() if p.requires_grad}
    assert trained == {ours(name) for name in reference["names"]}
    assert (len(trained), built.parameter_counts()[1]) == (reference["tensors"], reference["count"])
    recipe = Recipe(1, 1e-3, weight_decay=0.2, lr_factors=("text=1", "vision=1"))
    assert [(g["lr"], g["weight_decay"]) for g in recipe_groups(built, recipe)] == [(1e-3, 0.2)]
    if mode == "prompt_deep":
        ones = [group["n_trainable"] for group in facts["optimizer_groups"]]
        split = recipe_groups(built, Recipe(1, 1e-3, lr_factors=("text=2",)))
        assert sorted(len(group["params"]) for group in split) == ones


def test_initial_values(shared: Path) -> None:
    built = golden.method(shared, "ez_clip", dropout=0.1)
    rates = golden.facts(shared, "ezclip")["dropout_per_block"]["for_0_1"]
    golden.close(torch.tensor(built.train().rates()), rates, 1e-7, "dropout of the blocks")
    assert built.eval().rates() == [0.0] * len(rates)
    own = dict(built.named_parameters())
    for name, row in golden.facts(shared, "ezclip")["initial"].items():
        value = own[ours(name)]
        assert list(value.shape) == row["shape"] and bool((value == 0).all()) is row["zero"], name
        if not row["zero"]:
            assert float(value.detach().abs().max()) == pytest.approx(row["max_abs"], rel=0.1), name


@pytest.mark.slow
def test_trajectory(shared: Path, texts: Path) -> None:
    data, facts = golden.arrays(shared, TRAINING), golden.facts(shared, "ezclip")["trajectory"]
    videos, labels = golden.tensor(shared, "later_inputs_a", "train"), torch.from_numpy(data["labels"])
    batches = [batch_of(video, ids, labels_of(shared)) for video, ids in zip(videos, labels, strict=True)]
    settings, built = facts["settings"], training(shared, texts)
    recipe = Recipe(
        epochs=settings["epochs"], lr=settings["lr"], warmup_epochs=settings["warmup"], micro_batch=2, ranks=1,
        accumulate=1, weight_decay=0.2, schedule="stepped_cosine", smoothing=0.0, mixup=0.0, cutmix=0.0,
    )  # fmt: skip
    losses, rates = train(built, recipe, batches, settings["run_epochs"])
    golden.close(losses, data["loss_total_image_text_motion"][:, 0], 5e-5, "losses")
    np.testing.assert_allclose(np.ravel(rates), data["lr_at_step"][:, 0], rtol=1e-12, atol=0)
    own = dict(built.named_parameters())
    for name, row in facts["parameters"].items():
        golden.close(own[ours(name)], data[f"final/{name}"], max(1e-6, 10 * row["max_diff_float64"]), f"final {name}")


def test_rates(shared: Path) -> None:
    for name, expected in golden.arrays(shared, TRAINING).items():
        if setting := re.fullmatch(r"lr_at_iteration/epochs(\d+)_warmup(\d+)_n(\d+)_lr(.+)", name):
            epochs, warmup, count = map(int, setting.groups()[:3])
            recipe = Recipe(
                epochs=epochs, lr=float(setting[4]), warmup_epochs=warmup, accumulate=1, schedule="stepped_cosine"
            )
            found = [rate_of_update(k, recipe, count) for k in range(len(expected))]
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-18)


@torch.no_grad()
def test_new_adapters_leave_texts_as_they_are(shared: Path) -> None:
    built, texts = golden.method(shared, "ez_clip"), ("a dog", "a man runs on a field")
    torch.testing.assert_close(built.encode_sentences(texts), built.backbone.encode_texts(texts))


@pytest.mark.parametrize(
    "mode",
    ["t_adapter", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("prompt_deep", "prompt_first_layer_only"))],
)
def test_a_published_checkpoint_loads(shared: Path, tmp_path: Path, mode: str) -> None:
    facts, built = golden.facts(shared, "ezclip"), golden.method(shared, "ez_clip", temporal=TEMPORAL[mode])
    torch.manual_seed(0)
    shapes = {n: s for n, s in facts["all_parameters"].items() if "T_prompt" not in n}
    names = {ours(name): name for name in facts["trainable"][mode]["names"]}
    own = {names.get(n, n): list(p.shape) for n, p in built.named_parameters() if n in names}
    state: dict[str, Tensor] = {n: torch.randn(shape) * 0.02 for n, shape in {**shapes, **own}.items()}
    torch.save({"epoch": 3, "model_state_dict": state, "optimizer_state_dict": {}}, tmp_path / "last_model.pt")
    assert load_published(built, tmp_path / "last_model.pt") == "ezclip"
    loaded = built.state_dict()
    assert all(torch.equal(loaded[ours(name)], value) for name, value in state.items())
    with pytest.raises(UserError, match="--views frames=8"):
        load_published(golden.method(shared, "ez_clip", temporal=TEMPORAL[mode], frames=4), tmp_path / "last_model.pt")
    with pytest.raises(UserError, match=f"--set temporal={TEMPORAL[mode]}"):
        load_published(golden.method(shared, "ez_clip", temporal="none"), tmp_path / "last_model.pt")
    with pytest.raises(UserError, match="give --method ez_clip"):
        load_published(golden.method(shared, "vificlip"), tmp_path / "last_model.pt")
