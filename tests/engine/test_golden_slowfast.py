"""Open-VCLIP and FROSTER against the reference: forward, losses, gradients, groups, trajectories, averages, tests."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.api import ClipMethod, LabelSet, Recipe
from harness.engine.training.gradient_clipping import clip_gradients
from harness.engine.training.schedule import rate_of_update
from harness.engine.training.step import build_optimizer
from methods._neighbours import mean_direction
from methods._templates import VIDEO_TEMPLATES
from methods.froster import BARE, project
from tests.engine import golden

OPEN, FROSTER = "openvclip_forward", "froster_forward"


def videos(shared: Path, frames: int = 8) -> Tensor:
    return golden.tensor(shared, "later_b_inputs", "videos")[:, :frames]


def names_of(shared: Path) -> LabelSet:
    return golden.labels(shared, OPEN)


def entries_of(shared: Path) -> LabelSet:
    return LabelSet(tuple(golden.facts(shared, FROSTER)["class_texts"]))


def one_hot(labels: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(labels.long(), 5).float()


@torch.no_grad()
def move(method: ClipMethod) -> ClipMethod:
    """Change all weights of CLIP by the rule of the references."""
    for parameter in method.backbone.parameters():
        if parameter.numel() == 1:
            parameter += 0.03125
        else:
            parameter += 0.125 * parameter.flatten().roll(1).view_as(parameter)
    return method


def with_projectors(shared: Path, method: ClipMethod) -> ClipMethod:
    stored = golden.tensors(shared, "froster_extra")
    return golden.set_values(method, {n: v for n, v in stored.items() if n.startswith("projector_")})


def own(name: str) -> str:
    """A name of the reference under our names."""
    name = name.removeprefix("model.")
    return name if name.startswith("projector_") else f"backbone.clip.{name}"


def close_gradient(actual: Tensor, expected: np.ndarray, what: str) -> None:
    allowed = max(5e-6, 1e-4 * float(np.abs(expected).max()))
    golden.close(actual, expected, allowed, what)


# --- Open-VCLIP


@pytest.mark.parametrize(
    ("run", "frames", "neighbours"),
    [("expand_T8", 8, 1), ("expand_T4", 4, 1), ("none_T8", 8, 0), ("expand_step2_T8", 8, 2)],
)
@torch.no_grad()
def test_open_vclip_features_and_logits(shared: Path, run: str, frames: int, neighbours: int) -> None:
    method, data = golden.method(shared, "open_vclip", neighbours=neighbours), golden.arrays(shared, OPEN)
    tokens: list[Tensor] = []
    attended: list[Tensor] = []
    blocks = list(method.backbone.vision_blocks)
    hooks = [block.register_forward_hook(lambda *call: tokens.append(call[2])) for block in blocks]
    hooks.append(blocks[0].attn.out_proj.register_forward_hook(lambda *call: attended.append(call[2])))
    video = videos(shared, frames)
    golden.close(method.encode_frames(video), data[f"{run}/frame_features"], 3e-5, "frame features")
    classes = np.stack([block[:, :, 0].numpy() for block in tokens])
    if f"{run}/cls_after_block" in data:  # all runs but the option outside the scripts
        golden.close(classes, data[f"{run}/cls_after_block"], 5e-5, "tokens")
    if f"{run}/block0_attention_output" in data:
        golden.close(attended[0], data[f"{run}/block0_attention_output"], 3e-5, "attention")
    for hook in hooks:
        hook.remove()
    golden.close(method(video, names_of(shared)), data[f"{run}/logits"], 1e-4, "logits")


@torch.no_grad()
def test_open_vclip_texts(shared: Path) -> None:
    method, data = golden.method(shared, "open_vclip"), golden.arrays(shared, OPEN)
    for i, template in enumerate(VIDEO_TEMPLATES):
        texts = tuple(template.replace("{}", name) for name in names_of(shared).names)
        assert np.array_equal(method.backbone.tokenize(texts).numpy(), data["tokens"][i]), template
        golden.close(method.backbone.encode_texts(texts), data["template_features"][i], 3e-5, template)
    golden.close(method.encode_text(names_of(shared)), data["classifier"], 3e-5, "classifier")


def test_tokens_of_difficult_names(shared: Path) -> None:
    """The originals' tokens of eight names and of `name: sentence` texts in the first, middle and last template."""
    facts, method = golden.facts(shared, OPEN), golden.method(shared, "open_vclip")
    digest = hashlib.sha256("\n".join(VIDEO_TEMPLATES).encode()).hexdigest()
    assert (len(VIDEO_TEMPLATES), digest) == (facts["n_templates"], facts["template_strings_sha256"])
    stored = facts["tokens_8_names"]
    texts = method.prompts(LabelSet(tuple(stored["names"])))
    for number in (0, 13, 27):
        of_template = texts[number * len(stored["names"]) :][: len(stored["names"])]
        assert tokens_of(method, of_template) == stored[f"template{number}"]
    froster, facts = golden.method(shared, "froster"), golden.facts(shared, FROSTER)
    assert len((*VIDEO_TEMPLATES, BARE)) == facts["n_templates_incl_bare"] == facts["n_eval_templates"]
    for number, rows in facts["tokens"].items():
        template = (*VIDEO_TEMPLATES, BARE)[int(number)]
        assert tokens_of(froster, froster.texts(entries_of(shared), template)) == rows


def tokens_of(method: ClipMethod, texts: tuple[str, ...]) -> list[list[int]]:
    """Token lists of texts, cut after the end token, which has the largest id."""
    rows = method.backbone.tokenize(texts)
    return [row[: int(end) + 1].tolist() for row, end in zip(rows, rows.argmax(dim=-1), strict=True)]


@pytest.mark.parametrize("share", [0.0, 0.375, 0.59375])
def test_open_vclip_losses_and_gradients(shared: Path, share: float) -> None:
    method, data, label_set = golden.method(shared, "open_vclip"), golden.arrays(shared, OPEN), names_of(shared)
    move_vision(method)
    targets = one_hot(golden.tensor(shared, OPEN, "targets"))
    mixed = 0.5 * method.mixed_loss(videos(shared), targets, label_set, share)
    golden.close(mixed, data[f"interp_r{share}/loss_times_half"], 5e-5, "mixed loss")
    mixed.backward()
    check_gradients(method, data, f"interp_r{share}/grad_times_half/")
    check_mixed_logits(method, share, videos(shared), label_set, data[f"interp_r{share}/logits"])
    if share:
        return
    method.zero_grad()
    plain = golden.method(shared, "open_vclip", mixed_loss=0.0)
    move_vision(plain)
    golden.close(plain(videos(shared), label_set), data["moved/logits"], 1e-4, "logits")
    loss = plain.loss(videos(shared), targets, label_set)
    golden.close(loss, data["moved/loss"], 5e-5, "loss")
    loss.backward()
    check_gradients(plain, data, "moved/grad/")


@torch.no_grad()
def check_mixed_logits(
    method: ClipMethod, share: float, video: Tensor, label_set: LabelSet, expected: np.ndarray
) -> None:
    """Logits at weights with a share of CLIP's, by the weights that the method keeps for its loss."""
    own = {name: p.detach().clone() for name, p in method.named_parameters()}
    golden.set_values(method, {n: share * v + (1 - share) * own[n] for n, v in method.initial.values().items()})
    golden.close(method(video, label_set), expected, 1e-4, f"logits at a share of {share}")
    golden.set_values(method, own)


def move_vision(method: ClipMethod) -> None:
    """Move the weights, but keep the classifier of the original CLIP, which the reference computes before."""
    texts = {n: p.detach().clone() for n, p in method.named_parameters() if not p.requires_grad}
    golden.set_values(move(method), texts)


def check_gradients(method: ClipMethod, data: dict[str, np.ndarray], prefix: str) -> None:
    found = {own(name.removeprefix(prefix)): value for name, value in data.items() if name.startswith(prefix)}
    parameters = dict(method.named_parameters())
    for name, expected in found.items():
        gradient = parameters[name].grad
        assert gradient is not None, name
        close_gradient(gradient, expected, name)


def test_open_vclip_trains_and_decays_what_the_original_does(shared: Path) -> None:
    facts, method = golden.facts(shared, OPEN), golden.method(shared, "open_vclip")
    trained = {name for name, p in method.named_parameters() if p.requires_grad}
    assert trained == {own(name) for name in facts["params_with_gradient"]}
    assert not trained & {own(name) for name in facts["params_without_gradient"]}
    check_groups(method, facts["optimizer"]["groups"])


def check_groups(method: ClipMethod, groups: list[dict]) -> None:
    """Groups of the reference without the parameters that never get a gradient there."""
    names = {id(p): name for name, p in method.named_parameters()}
    trained = {name for name, p in method.named_parameters() if p.requires_grad}
    ours = method.parameter_groups(Recipe(1, 1e-5, weight_decay=0.01))
    found = {group["weight_decay"]: {names[id(p)] for p in group["params"]} for group in ours}
    assert found == {group["weight_decay"]: {own(n) for n in group["names"]} & trained for group in groups}


def recipe_of(config: dict) -> Recipe:
    peak = config["BASE_LR"]
    return Recipe(
        epochs=config["MAX_EPOCH"], lr=peak, warmup_epochs=config["WARMUP_EPOCHS"], accumulate=1, ranks=1,
        warmup_lr_ratio=config["WARMUP_START_LR"] / peak, min_lr_ratio=config["COSINE_END_LR"] / peak,
        clip_norm=config["clip_norm"], weight_decay=config["weight_decay"], betas=tuple(config["betas"]),
        schedule="slowfast_cosine",
    )  # fmt: skip


class Updates:
    """The updates of a trajectory: rate, clipping and AdamW as the engine does them."""

    def __init__(self, method: ClipMethod, config: dict) -> None:
        self.method, self.recipe, self.per_epoch = method.train(), recipe_of(config), config["iterations_per_epoch"]
        self.optimizer = build_optimizer(method, self.recipe)

    def step(self, number: int, loss: Tensor) -> tuple[float, float]:
        """Return the rate and the norm of the gradient before clipping."""
        rate = rate_of_update(number, self.recipe, self.per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss.backward()
        norm = clip_gradients(self.optimizer, self.recipe.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return rate, float(norm)


@pytest.mark.parametrize(
    "run", ["interp_lr2e-4", "plain_lr2e-4", pytest.param("interp_lr3.33e-6", marks=pytest.mark.slow)]
)
def test_open_vclip_trajectory(shared: Path, run: str) -> None:
    data, label_set = golden.arrays(shared, "openvclip_trajectory"), names_of(shared)
    mixes = run.startswith("interp")
    method = golden.method(shared, "open_vclip", mixed_loss=0.5 if mixes else 0.0)
    frozen = {n: p.detach().clone() for n, p in method.named_parameters() if not p.requires_grad}
    updates = Updates(method, golden.facts(shared, OPEN)["train_config"][run])
    clips = golden.tensor(shared, "later_b_inputs", "train_videos")
    for k in range(5):
        targets = one_hot(torch.from_numpy(data["targets"][k]))
        loss = method.feature_loss(method.encode_video(clips[k]), method.encode_text(label_set), targets)
        golden.close(loss, data[f"{run}/loss"][k], 5e-5, f"loss {k}")
        if mixes:
            mixed = method.mixed_loss(clips[k], targets, label_set, float(data[f"{run}/ratio"][k]))
            golden.close(mixed, data[f"{run}/loss_interpolated"][k], 5e-5, f"mixed loss {k}")
            loss = loss + 0.5 * mixed
        rate, norm = updates.step(k, loss)
        assert rate == pytest.approx(float(data[f"{run}/lr"][k]), rel=1e-12)
        golden.close(norm, data[f"{run}/grad_norm_before_clipping"][k], 2e-3, f"norm {k}")
    check_final(method, data, f"{run}/final/")
    assert all(torch.equal(p, frozen[n]) for n, p in method.named_parameters() if n in frozen)


def check_final(method: ClipMethod, data: dict[str, np.ndarray], prefix: str) -> None:
    found = {own(n.removeprefix(prefix)): v for n, v in data.items() if n.startswith(prefix)}
    parameters = dict(method.named_parameters())
    assert found
    for name, expected in found.items():
        golden.close(parameters[name], expected, 2e-6, name)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5, 0.0, 1.0])
@torch.no_grad()
def test_open_vclip_test_with_patched_weights(shared: Path, share: float) -> None:
    """Moved weights with a share of CLIP's, three views, summed logits."""
    method, data = golden.method(shared, "open_vclip"), golden.arrays(shared, OPEN)
    start = {n: p.detach().clone() for n, p in method.named_parameters()}
    move_vision(method)
    for name, parameter in method.named_parameters():
        parameter.copy_(share * start[name] + (1 - share) * parameter)
    for name, expected in data.items():
        if name.startswith(f"test/patch{share}/weights/"):
            golden.close(dict(method.named_parameters())[own(name.rpartition("weights/")[2])], expected, 2e-6, name)
    video, text = videos(shared), method.encode_text(names_of(shared))
    views = (video, video.flip(1), video.roll(1, dims=1))
    summed = torch.stack([method.score(method.encode_video(view), text) for view in views]).sum(0)
    golden.close(summed, data[f"test/patch{share}/summed_logits"], 3e-4, "summed logits")


# --- FROSTER


@pytest.mark.parametrize("frames", [8, 4])
@torch.no_grad()
def test_froster_features_and_logits(shared: Path, frames: int) -> None:
    method, data = move(golden.method(shared, "froster")), golden.arrays(shared, FROSTER)
    features = method.encode_frames(videos(shared, frames))
    golden.close(features, data[f"eval_T{frames}/frame_features"], 3e-5, "frame features")
    logits = method(videos(shared, frames), entries_of(shared))
    golden.close(logits, data[f"eval_T{frames}/logits"], 1e-4, "logits")


@torch.no_grad()
def test_froster_texts(shared: Path) -> None:
    method, data = move(golden.method(shared, "froster")), golden.arrays(shared, FROSTER)
    for i, template in enumerate((*VIDEO_TEMPLATES, BARE)):
        tokens = method.backbone.tokenize(method.texts(entries_of(shared), template))
        assert np.array_equal(tokens.numpy(), data["eval/tokens"][i]), template
    golden.close(method.encode_text(entries_of(shared)), data["eval/classifier"], 3e-5, "classifier")


@pytest.mark.parametrize("case", ["train", "train_fresh_projectors"])
def test_froster_losses_and_gradients(shared: Path, case: str) -> None:
    data = golden.arrays(shared, FROSTER)
    method = move(with_projectors(shared, golden.method(shared, "froster")))
    if case != "train":
        with torch.no_grad():
            method.projector_v[2].weight.zero_()
            method.projector_t[2].weight.zero_()
    template = VIDEO_TEMPLATES[int(data["train/template_index"])]
    targets = one_hot(golden.tensor(shared, FROSTER, "targets"))
    entropy, images, texts = method.losses(videos(shared), targets, entries_of(shared), template)
    golden.close(entropy, data[f"{case}/loss_ce"], 5e-5, "cross-entropy")
    golden.close(images, data[f"{case}/loss_image_distillation"], 5e-5, "images")
    golden.close(texts, data[f"{case}/loss_text_distillation"], 5e-5, "texts")
    total = entropy + 2.0 * (images + texts)
    golden.close(total, data[f"{case}/loss_total"], 5e-5, "total")
    check_froster_parts(shared, method, template, case)
    if case != "train":
        return
    total.backward()
    stored = {n: v for n, v in data.items() if n.startswith("train/grad/")}
    rows = {n.removesuffix("_at_rows") for n in stored if n.endswith("_at_rows")}
    parameters = dict(method.named_parameters())
    for name, expected in stored.items():
        gradient = parameters.get(own(name.removeprefix("train/grad/")))
        if gradient is not None:
            assert gradient.grad is not None
            close_gradient(gradient.grad, expected, name)
    for name in rows:
        gradient = parameters[own(name.removeprefix("train/grad/"))].grad
        assert gradient is not None
        close_gradient(gradient[stored[f"{name}_rows"].astype(int)], stored[f"{name}_at_rows"], name)
    frames = torch.nn.functional.normalize(method.encode_frames(videos(shared)), dim=-1)
    golden.close(project(method.projector_v, frames), data["train/student_projected_frames"], 3e-5, "projected frames")


@torch.no_grad()
def check_froster_parts(shared: Path, method: ClipMethod, template: str, case: str) -> None:
    """The features of student and teacher between which the losses are taken, and the logits."""
    data, label_set = golden.arrays(shared, FROSTER), entries_of(shared)
    texts = method.texts(label_set, template), method.texts(label_set, BARE)
    tokens = np.stack([method.backbone.tokenize(entries).numpy() for entries in texts])
    assert np.array_equal(tokens, data["train/tokens"])
    frames = method.encode_frames(videos(shared))
    classes = mean_direction([method.backbone.encode_texts(entries) for entries in texts])
    golden.close(frames, data["train/student_frame_features"], 3e-5, "student's frames")
    golden.close(classes, data["train/student_classifier"], 3e-5, "student's texts")
    golden.close(method.score(method.pool(frames), classes), data[f"{case}/logits"], 1e-4, "logits")
    if case == "train":
        golden.close(project(method.projector_t, classes), data["train/student_projected_texts"], 3e-5, "projected")
    clip_frames, clip_classes = method.teacher.features(method.initial.values(), videos(shared), texts)
    clip_frames = torch.nn.functional.normalize(clip_frames, dim=-1)
    golden.close(clip_frames, data["train/teacher_frames_normalised"], 3e-5, "teacher's frames")
    golden.close(clip_classes, data["train/teacher_classifier"], 3e-5, "teacher's texts")


@pytest.mark.slow
def test_froster_trains_and_decays_what_the_original_does(shared: Path) -> None:
    facts, method = golden.facts(shared, FROSTER), golden.method(shared, "froster")
    assert len(method.trainable()) == facts["params_with_gradient_count"]
    assert method.parameter_counts() == (facts["trainable_elements"], facts["trainable_elements"])
    check_groups(method, facts["optimizer"]["groups"])


@pytest.mark.parametrize("run", ["lr2e-4", pytest.param("lr3.33e-6", marks=pytest.mark.slow)])
def test_froster_trajectory(shared: Path, run: str) -> None:
    data = golden.arrays(shared, "froster_trajectory")
    method = with_projectors(shared, golden.method(shared, "froster"))
    updates = Updates(method, golden.facts(shared, FROSTER)["train_config"][run])
    clips = golden.tensor(shared, "later_b_inputs", "train_videos")
    for k in range(5):
        template = VIDEO_TEMPLATES[int(data[f"{run}/template_index"][k])]
        targets = one_hot(torch.from_numpy(data["targets"][k]))
        losses = method.losses(clips[k], targets, entries_of(shared), template)
        for name, loss in zip(("ce", "image_distillation", "text_distillation"), losses, strict=True):
            golden.close(loss, data[f"{run}/loss_{name}"][k], 5e-5, f"{name} {k}")
        rate, norm = updates.step(k, losses[0] + 2.0 * (losses[1] + losses[2]))
        assert rate == pytest.approx(float(data[f"{run}/lr"][k]), rel=1e-12)
        golden.close(norm, data[f"{run}/grad_norm_before_clipping"][k], 2e-3, f"norm {k}")
    check_final(method, data, f"{run}/final/")
