"""OST against its original: transport, scores, losses, gradients, trained tensors, trajectory and interpolation."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from harness.api import ClipMethod, LabelSet, Recipe, TrainingBatch, UserError, load_published
from methods._contrast import matching_losses
from methods.ost import MOST_ITERATIONS, transport_plan
from tests.engine import golden
from tests.engine.trajectory import batch_of, train

FORWARD, TRAINING = "ost_forward", "ost_training"
KINDS = ("spatial", "temporal")


@pytest.fixture
def texts(shared: Path, tmp_path: Path) -> Path:
    """The descriptors of the reference as a file of class texts."""
    facts, path = golden.facts(shared, "ost"), tmp_path / "descriptors.json"
    classes = {
        name: {kind: facts[kind][str(i)] for kind in KINDS} for i, name in enumerate(facts["class_names"])
    }  # fmt: skip
    path.write_text(json.dumps({"form": "class texts 1", "source": "human", "texts": classes}))
    return path


def ost(shared: Path, texts: Path, **options: Any) -> ClipMethod:
    return golden.method(shared, "ost", class_texts=str(texts), **{"stop": "batch", **options})


def labels_of(shared: Path) -> LabelSet:
    return LabelSet(tuple(golden.facts(shared, "ost")["class_names"]))


def ours(name: str) -> str:
    """Upstream's name under ours."""
    name = name.removeprefix("text_encoder.")
    return "backbone.clip." + (f"visual.{name[14:]}" if name.startswith("image_encoder.") else name)


# --- the transport


@pytest.mark.parametrize("case", ["all", "0", "1", "2", "3", "01", "pair_3_0", "pair_3_1", "pair_3_2"])
def test_transport(shared: Path, case: str) -> None:
    data, facts = golden.arrays(shared, FORWARD), golden.facts(shared, "ost")
    chosen = [3] if "pair" in case else list(range(4)) if case == "all" else [int(digit) for digit in case]
    classes = [int(case[-1])] if "pair" in case else [0, 1, 2]
    images, descriptors = (torch.from_numpy(data[f"solver/{name}"]) for name in ("image", "descriptors"))
    similarity = torch.einsum("btd,cnd->bctn", images[chosen], descriptors[classes])
    plan, iterations = transport_plan(similarity, per_pair=False)
    golden.close(10 * (plan * similarity).sum(dim=(-2, -1)), data[f"solver/logits_{case}"], 1e-5, f"transport {case}")
    assert iterations.unique().tolist() == [facts["solver_iterations"][case]]
    by_pair, each = transport_plan(similarity, per_pair=True)
    for b in range(len(chosen)):
        for c in range(len(classes)):
            alone, number = transport_plan(similarity[b : b + 1, c : c + 1], per_pair=False)
            torch.testing.assert_close(by_pair[b, c], alone[0, 0])
            assert int(each[b, c]) == int(number)


@pytest.mark.parametrize("number", [1, 2, 5, 20, 100])
@torch.no_grad()
def test_fixed_numbers_of_iterations(shared: Path, texts: Path, number: int) -> None:
    data, built = golden.arrays(shared, FORWARD), ost(shared, texts)
    frames, temporal = (
        torch.nn.functional.normalize(torch.from_numpy(data[f"batch/{name}"]), dim=-1)
        for name in ("frame_features", "descriptor_features_temporal")
    )
    similarity = torch.einsum("btd,cnd->bctn", frames, temporal)
    plan, iterations = transport_plan(similarity, True, number, threshold=0.0)
    assert number == MOST_ITERATIONS or iterations.unique().tolist() == [number]
    logits = built.backbone.logit_scale.exp() * (plan * similarity).sum(dim=(-2, -1))
    golden.close(logits, data[f"fixed_iterations/{number}/logits_ot_temporal"], 1e-4, f"{number} iterations")
    spatial = torch.nn.functional.normalize(torch.from_numpy(data["batch/descriptor_features_spatial"]), dim=-1)
    total = torch.zeros(3, 5)
    for descriptors in (temporal, spatial):
        similarity = torch.einsum("btd,cnd->bctn", frames, descriptors)
        plan, _ = transport_plan(similarity, True, number, threshold=0.0)
        total += (plan * similarity).sum(dim=(-2, -1)) + frames.mean(dim=1) @ descriptors.mean(dim=1).t()
    logits = 0.5 * built.backbone.logit_scale.exp() * total
    golden.close(logits, data[f"fixed_iterations/{number}/logits"], 1e-4, f"logits after {number} iterations")


# --- scores


@torch.no_grad()
def test_texts(shared: Path, texts: Path) -> None:
    data, facts, built = golden.arrays(shared, FORWARD), golden.facts(shared, "ost"), ost(shared, texts)
    features = built.encode_text(labels_of(shared))
    for kind, found in zip(KINDS, features, strict=True):
        sentences = built.sentences(labels_of(shared), kind)
        assert [list(listed) for listed in sentences] == facts["strings"][kind]
        tokens = built.backbone.tokenize(tuple(text for listed in sentences for text in listed))
        assert np.array_equal(tokens.reshape(5, 4, -1).numpy(), data[f"tokens_{kind}"])
        golden.close(found, data[f"batch/descriptor_features_{kind}"], 2e-5, f"{kind} descriptors")


def test_tokens_of_difficult_names(shared: Path, tmp_path: Path) -> None:
    facts = golden.facts(shared, "later_text_tokens_a")
    listed = facts["ost"]["descriptors_per_class"]
    classes = {name: dict.fromkeys(KINDS, given) for name, given in zip(facts["names"], listed, strict=True)}
    (tmp_path / "t.json").write_text(json.dumps({"form": "class texts 1", "source": "human", "texts": classes}))
    built = golden.method(shared, "ost", class_texts=str(tmp_path / "t.json"))
    for kind in KINDS:
        sentences = built.sentences(LabelSet(tuple(facts["names"])), kind)
        found = built.backbone.tokenize(tuple(text for texts in sentences for text in texts))
        expected = [tokens for texts in facts["ost"][kind] for tokens in texts]
        assert [row[: len(tokens)] for row, tokens in zip(found.tolist(), expected, strict=True)] == expected


@torch.no_grad()
def test_scores(shared: Path, texts: Path) -> None:
    data, built, labels = golden.arrays(shared, FORWARD), ost(shared, texts).train(), labels_of(shared)
    videos, text = golden.tensor(shared, "later_inputs_a", "videos"), built.encode_text(labels)
    frames = built.encode_video(videos)
    golden.close(frames, data["batch/frame_features"], 2e-5, "frame features")
    golden.close(built.score(frames, text), data["batch/logits"], 1e-4, "logits of a batch")
    golden.close(built(videos[:, :4], labels), data["frames_sub/logits"], 1e-4, "logits of four frames")
    golden.close(built.encode_video(videos[:, :4]), data["frames_sub/frame_features"], 2e-5, "four frames")
    built.eval()
    golden.close(built.score(frames[:2], text), data["pair01/logits"], 1e-4, "logits of two videos")
    for i in range(3):
        golden.close(built.score(frames[i : i + 1], text), data[f"single{i}/logits"], 1e-4, f"logits of video {i}")
    # The rule of the default treats each pair alone, so that it cannot depend on the batch.
    pairs = ost(shared, texts, stop="pair")
    together = pairs.score(frames, text)
    torch.testing.assert_close(together[1:2], pairs.score(frames[1:2], text))
    golden.close(together, data["batch/logits"], 2e-2, "logits with the rule of pairs")


# Videos of the case, their frames, and the case of the descriptors.
TERMS = {
    "batch": ([0, 1, 2], 8), "frames_sub": ([0, 1, 2], 4), "single0": ([0], 8), "single1": ([1], 8),
    "single2": ([2], 8), "pair01": ([0, 1], 8),
}  # fmt: skip


@pytest.mark.parametrize("case", TERMS)
@torch.no_grad()
def test_each_term(shared: Path, texts: Path, case: str) -> None:
    data, scale = golden.arrays(shared, FORWARD), ost(shared, texts).backbone.logit_scale.exp()
    chosen, length = TERMS[case]
    features = data["frames_sub/frame_features" if case == "frames_sub" else "batch/frame_features"][chosen]
    assert features.shape[1] == length
    frames = torch.nn.functional.normalize(torch.from_numpy(features), dim=-1)
    total, iterations = torch.zeros(len(chosen), 5), golden.facts(shared, "ost")["iterations"][case]
    for kind in KINDS:
        stored = data["batch/descriptor_features_" + kind]
        if f"{case}/descriptor_features_{kind}" in data:  # the descriptors do not depend on the videos
            golden.close(stored, data[f"{case}/descriptor_features_{kind}"], 2e-5, f"{case} {kind} descriptors")
        descriptors = torch.nn.functional.normalize(torch.from_numpy(stored), dim=-1)
        similarity = torch.einsum("btd,cnd->bctn", frames, descriptors)
        plan, number = transport_plan(similarity, per_pair=False)
        assert number.unique().tolist() == [iterations[kind]]
        transported = scale * (plan * similarity).sum(dim=(-2, -1))
        pooled = scale * frames.mean(dim=1) @ descriptors.mean(dim=1).t()
        found = {"plan": (plan, 1e-5), "logits_ot": (transported, 1e-4), "logits_pool": (pooled, 1e-4)}
        for name, (value, allowed) in found.items():
            if name == "logits_ot" or f"{case}/{name}_{kind}" in data:
                golden.close(value, data[f"{case}/{name}_{kind}"], allowed, f"{case} {name} {kind}")
        total += 0.5 * (transported + pooled)
    golden.close(total, data[f"{case}/logits"], 1e-4, "sum")


def test_the_published_rule_refuses_larger_batches(shared: Path, texts: Path) -> None:
    built, labels = ost(shared, texts), labels_of(shared)
    text, frames = built.encode_text(labels), torch.randn(3, 2, built.embed_dim)
    with pytest.raises(
        UserError, match=r"has 3 videos in evaluation; expected at most 2, as published.\n.*--eval-clips 2"
    ):
        built.score(frames, text)
    with pytest.raises(UserError, match="has 33 videos in training; expected at most 32"):
        built.train().score(frames[:1].expand(33, -1, -1), text)


# --- training


def test_loss_and_gradients(shared: Path, texts: Path) -> None:
    data, facts, built = golden.arrays(shared, FORWARD), golden.facts(shared, "ost"), ost(shared, texts).train()
    labels, videos = torch.from_numpy(data["train/labels"]).long(), golden.tensor(shared, "later_inputs_a", "videos")
    loss = built.training_loss(batch_of(videos, labels, labels_of(shared)))
    golden.close(loss, facts["loss"]["total"], 5e-5, "loss")
    each = torch.stack(matching_losses(torch.from_numpy(data["train/logits"]), labels))
    golden.close(each, [facts["loss"]["image"], facts["loss"]["text"]], 5e-5, "both directions")
    loss.backward()
    own = dict(built.named_parameters())
    for name in (n for n in data if n.startswith("train/grad/")):
        expected = data[name]
        gradient = (
            own["backbone.clip.token_embedding.weight"].grad[facts["token_embedding_rows_with_gradient"][:16]]
            if name.endswith("token_embedding_rows")
            else own[ours(name.removeprefix("train/grad/"))].grad
        )
        golden.close(gradient, expected, max(1e-6, 1e-4 * float(np.abs(expected).max())), name)


@pytest.mark.parametrize("mode", ["both", "image", "text"])
def test_trained_tensors(shared: Path, texts: Path, mode: str) -> None:
    reference, built = golden.facts(shared, "ost")["trainable"][mode], ost(shared, texts, train=mode)
    names = {n for n, p in built.named_parameters() if p.requires_grad}
    expected = golden.facts(shared, "ost")["all_parameters"] if mode == "both" else reference["names"]
    assert names == {ours(name) for name in expected}
    assert built.parameter_counts()[1] == reference["count"]
    groups = built.parameter_groups(Recipe(1, 1e-4, weight_decay=0.001))
    assert [(len(g["params"]), g["lr"], g["weight_decay"]) for g in groups] == [(reference["tensors"], 1e-4, 0.001)]


@pytest.mark.slow
def test_trajectory(shared: Path, texts: Path) -> None:
    data, facts, built = golden.arrays(shared, TRAINING), golden.facts(shared, "ost")["trajectory"], ost(shared, texts)
    videos = golden.tensor(shared, "later_inputs_a", "train")
    label_set, labels = labels_of(shared), torch.from_numpy(data["labels"])
    batches = [batch_of(video, ids, label_set) for video, ids in zip(videos, labels, strict=True)]
    settings = facts["settings"]
    recipe = Recipe(
        epochs=settings["EPOCHS"], lr=settings["LR"], warmup_epochs=settings["WARMUP_EPOCHS"], micro_batch=2, ranks=1,
        accumulate=1, smoothing=0.0, mixup=0.0, cutmix=0.0,
    )  # fmt: skip
    update = count()

    @torch.no_grad()
    def check_logits(batch: TrainingBatch) -> None:
        if (stored := data.get(f"logits_{next(update)}")) is not None:
            names = LabelSet(tuple(label_set.names[i] for i in batch.labels.unique().tolist()))
            columns = batch.labels.unique(return_inverse=True)[1]
            text = tuple(kind[columns] for kind in built.encode_text(names))
            golden.close(built.score(built.encode_video(batch.video), text), stored, 1e-4, "logits of an update")

    losses, rates = train(built, recipe, batches, settings["run_epochs"], check_logits)
    golden.close(losses, data["loss_image_text"].sum(axis=1), 5e-5, "losses")
    np.testing.assert_allclose(np.ravel(rates), data["lr_at_step"], rtol=1e-12, atol=0)
    own = dict(built.named_parameters())
    for name, row in facts["parameters"].items():
        golden.close(own[ours(name)], data[f"final/{name}"], max(1e-6, 10 * row["max_diff_float64"]), f"final {name}")
    rows = own["backbone.clip.token_embedding.weight"][torch.from_numpy(data["final/token_embedding_row_ids"])]
    golden.close(rows, data["final/token_embedding_rows"], 6e-6, "final rows of the token embedding")
    # Row 1000 never occurs: it has the gradient zero, and shrinks by weight decay.
    unused = data["final/token_embedding_row_ids"].tolist().index(1000)
    initial = torch.from_numpy(data["final/token_embedding_rows_initial"])[unused]
    assert float((rows[unused].detach() - initial).abs().max()) > 0


def interpolated(shared: Path, built: ClipMethod, share: float) -> dict[str, Tensor]:
    """CLIP's tensors with a share of the initial weights, by the operation of the recipe's `initial_share`."""
    data, prefix = golden.arrays(shared, TRAINING), "fuse/fine_tuned/"
    tuned = {ours(n.removeprefix(prefix)): torch.from_numpy(v) for n, v in data.items() if n.startswith(prefix)}
    initial = built.state_dict()
    assert all(built.shares_initial(name) for name in tuned)
    return {name: share * initial[name] + (1 - share) * value for name, value in tuned.items()}


@pytest.mark.parametrize("share", [0.0, 0.2])
@torch.no_grad()
def test_interpolation(shared: Path, texts: Path, share: float) -> None:
    built, data = ost(shared, texts).train(), golden.arrays(shared, TRAINING)
    fused = interpolated(shared, built, share)
    prefix = f"fuse/origin{share}_test/"
    for name in (n for n in data if n.startswith(prefix) and not n.endswith("logits")):
        golden.close(fused[ours(name.removeprefix(prefix))], data[name], 1e-7, name)
    golden.set_values(built, fused)
    logits = built(golden.tensor(shared, "later_inputs_a", "videos"), labels_of(shared))
    golden.close(logits, data[f"{prefix}logits"], 1e-4, "logits after interpolation")
    if share:
        # A fit that starts from the file takes the fine-tuned weights themselves: the share applies after a fit.
        start = interpolated(shared, built, 0.0)
        for name in (n for n in data if n.startswith("fuse/origin0.2_train/") and not n.endswith("logits")):
            golden.close(start[ours(name.removeprefix("fuse/origin0.2_train/"))], data[name], 1e-7, name)
        built.adopt(start)
        logits = built(golden.tensor(shared, "later_inputs_a", "videos"), labels_of(shared))
        golden.close(logits, data["fuse/origin0.2_train/logits"], 1e-4, "logits at the start of a fit")
    assert built.recipe_for("zero_shot", "k400").initial_share == 0.2  # type: ignore[union-attr]


@pytest.mark.slow
def test_a_published_checkpoint_loads(shared: Path, tmp_path: Path) -> None:
    built, facts = golden.method(shared, "ost"), golden.facts(shared, "ost")
    torch.manual_seed(0)
    state = {f"module.{name}": torch.randn(shape) * 0.02 for name, shape in facts["all_parameters"].items()}
    assert len(state) == facts["checkpoint"]["keys"]
    torch.save({"model": state, "epoch": 9, "max_accuracy": 1.0}, tmp_path / "best.pth")
    load_published(built, tmp_path / "best.pth")
    own = built.state_dict()
    assert all(torch.equal(own[ours(name.removeprefix("module."))], value) for name, value in state.items())
    save_file({n: v for n, v in state.items() if "logit_scale" not in n}, tmp_path / "less.safetensors")
    with pytest.raises(UserError, match="logit_scale"):
        load_published(built, tmp_path / "less.safetensors")
