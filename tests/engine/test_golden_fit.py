"""Training against the reference: rates, blending, and whole trajectories through the engine's own training step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.api import ClipMethod, Recipe
from harness.engine.partial_scores import view_probabilities
from harness.engine.training.blending import BlendDraw, apply_blend, cutmix_box, smooth
from harness.engine.training.mm_runner import FitModel, PrecisionOptimWrapper
from harness.engine.training.schedule import rate_of_update
from harness.engine.training.step import build_optimizer
from results.statistics.metrics import accuracies, rank
from tests.engine import golden

RUNS = "vificlip_trajectory"
PER_EPOCH = 10


@pytest.mark.parametrize(
    ("setting", "epochs", "per_epoch", "lr", "accumulate"),
    [
        ("epochs11_warmup5_iters10_lr2e-06", 11, 10, 2e-6, 1),
        ("epochs11_warmup5_iters10_lr2e-06_accum2", 11, 10, 2e-6, 2),
        ("epochs11_warmup5_iters10_lr2e-06_accum4", 11, 10, 2e-6, 4),
        ("epochs30_warmup5_iters100_lr8e-06", 30, 100, 8e-6, 1),
        ("epochs50_warmup5_iters7_lr2e-06", 50, 7, 2e-6, 1),
    ],
)
def test_rates(shared: Path, setting: str, epochs: int, per_epoch: int, lr: float, accumulate: int) -> None:
    expected = golden.arrays(shared, "lr_curves")[f"{setting}/lr_in_effect"]
    recipe = Recipe(epochs=epochs, lr=lr, accumulate=accumulate)
    rates = np.array([rate_of_update(k, recipe, per_epoch) for k in range(len(expected))])
    assert len(expected) == epochs * (per_epoch // accumulate)
    np.testing.assert_allclose(rates, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("setting", ["k400_22ep_wu2", "b2n_12ep_wu2"])
def test_rates_of_the_slowfast_code(shared: Path, setting: str) -> None:
    data = golden.arrays(shared, "openvclip_engine")
    epochs, warmup, peak, start, end = (float(value) for value in data[f"lr/{setting}/config"])
    recipe = Recipe(
        epochs=int(epochs), lr=peak, warmup_epochs=warmup, warmup_lr_ratio=start / peak, min_lr_ratio=end / peak,
        schedule="slowfast_cosine",
    )  # fmt: skip
    expected, per_epoch = data[f"lr/{setting}/lr_of_step"], int(data[f"lr/{setting}/iterations_per_epoch"])
    # The original counts iterations, each of which is an update: accumulation changes nothing.
    rates = np.array([rate_of_update(k, recipe, per_epoch * recipe.accumulate + 1) for k in range(len(expected))])
    np.testing.assert_allclose(rates, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("case", range(10))
def test_blending(shared: Path, case: int) -> None:
    reference = golden.facts(shared, "blending")
    row, data = reference["cases"][case], golden.arrays(shared, "blending")
    name = row["case"]
    video, labels = torch.from_numpy(data[f"{name}/inputs"]), torch.from_numpy(data[f"{name}/labels"])
    permutation = tuple(int(i) for i in data[f"{name}/perm"])
    targets = smooth(labels, reference["num_classes"], reference["smoothing"])
    if row["kind"] == "mixup":
        draw = BlendDraw(permutation, float(data[f"{name}/lam_sampled"]))
    else:
        assert row["switch_uniform"] < reference["switch_prob"]
        box = tuple(row["bbox_x1y1x2y2"])
        height, width = video.shape[-2:]
        area = (box[2] - box[0]) * (box[3] - box[1])
        draw = BlendDraw(permutation, 1 - area / (height * width), box)
    blended, soft = apply_blend(video, targets, draw)
    golden.close(draw.weight, row["lam_effective"], 1e-6, f"{name} lambda")
    golden.close(blended, data[f"{name}/blended"], 1e-6, f"{name} blended")
    golden.close(soft, data[f"{name}/soft_labels"], 1e-6, f"{name} soft labels")


@pytest.mark.parametrize("case", range(10))
def test_cutmix_boxes(shared: Path, case: int) -> None:
    """The reference's boxes are among those that its sampled lambda can give, with its effective lambda."""
    row, data = golden.facts(shared, "blending")["cases"][case], golden.arrays(shared, "blending")
    if row["kind"] == "mixup":
        assert row["switch_uniform"] >= 0.5
        return
    height, width = data[f"{row['case']}/inputs"].shape[-2:]
    lam = float(data[f"{row['case']}/lam_sampled"])
    reachable = {cutmix_box(lam, x, y, height, width) for x in range(width) for y in range(height)}
    boxes = dict(reachable)
    box = tuple(row["bbox_x1y1x2y2"])
    assert boxes[box] == pytest.approx(row["lam_effective"], abs=1e-6)


def test_view_aggregation(shared: Path) -> None:
    data, reference = golden.arrays(shared, "view_aggregation"), golden.facts(shared, "view_aggregation")
    probabilities = view_probabilities(torch.from_numpy(data["logits"])).numpy()
    golden.close(probabilities * data["logits"].shape[1], data["summed_softmax"], 1e-6, "summed softmax")
    chosen = rank(probabilities, 5)
    assert np.array_equal(chosen, data["top5_indices"])
    accuracy = accuracies(data["labels"], chosen)
    assert accuracy.top1 == pytest.approx(float(data["top1_accuracy"])) == pytest.approx(reference["top1"])
    assert accuracy.top5 == pytest.approx(float(data["top5_accuracy"]))
    averaged = data["logits"].mean(axis=1).argmax(axis=1)
    assert np.array_equal(averaged, data["top1_if_logits_were_averaged"])
    assert (averaged != chosen[:, 0]).sum() == 16


def start(shared: Path, run: str) -> tuple[ClipMethod, Recipe, dict]:
    """The method of a run at its initial values, with the recipe that describes it."""
    reference = golden.facts(shared, RUNS)
    facts = reference["runs"][run]
    mode = facts["mode"]
    if mode.get("PROMPT_MODEL"):
        built = golden.method(
            shared, "bridge_prompt", stage_one="clip",
            vision_tokens=mode["N_CTX_VISION"], text_tokens=mode["N_CTX_TEXT"],
            vision_depth=mode["PROMPT_DEPTH_VISION"], text_depth=mode["PROMPT_DEPTH_TEXT"],
            prompt_rounding="published" if facts["prompts_rounded_to_fp16"] else "clean",
        )  # fmt: skip
        golden.set_values(built, named(shared, f"{run}/init"))
    else:
        built = golden.method(shared, {"image": "image_ft"}.get(mode.get("USE"), "vificlip"))
    recipe = Recipe(epochs=11, lr=facts["LR"], accumulate=facts["ACCUMULATION_STEPS"], ranks=1)
    return built.train(), recipe, facts


def named(shared: Path, prefix: str) -> dict[str, Tensor]:
    """Stored tensors below a prefix, under our names."""
    data = golden.arrays(shared, RUNS)
    values = {n.removeprefix(f"{prefix}/"): torch.from_numpy(data[n]) for n in data if n.startswith(f"{prefix}/")}
    return golden.renamed(values)


def train(shared: Path, built: ClipMethod, recipe: Recipe, epochs: int, together: int = 1):
    """Train on the reference's blended inputs and soft targets; `together` micro-batches share a device batch."""
    inputs, targets = golden.tensor(shared, RUNS, "inputs"), golden.tensor(shared, RUNS, "soft_targets")
    label_set = golden.labels(shared, RUNS)
    model = FitModel(built, lambda batch: built.loss(*batch, label_set))
    per_update = recipe.accumulate // together
    wrapper = PrecisionOptimWrapper(
        dtype=torch.float32, device="cpu", optimizer=build_optimizer(built, recipe), accumulative_counts=per_update
    )
    rates: list[float] = []
    first: dict[str, Tensor] = {}
    step = wrapper.step

    def observed(**kwargs: object) -> None:
        rates.append(wrapper.optimizer.param_groups[0]["lr"])
        if not first:
            first.update({n: p.grad.clone() for n, p in built.named_parameters() if p.grad is not None})
        step(**kwargs)

    wrapper.step = observed
    losses, left_over = [], []
    updates = PER_EPOCH // recipe.accumulate
    for epoch in range(epochs):
        for update in range(updates):
            for group in wrapper.optimizer.param_groups:
                group["lr"] = rate_of_update(epoch * updates + update, recipe, PER_EPOCH, group["peak_lr"])
            for part in range(per_update):
                begin = update * recipe.accumulate + part * together
                batch = inputs[begin : begin + together].flatten(0, 1), targets[begin : begin + together].flatten(0, 1)
                losses.append(float(model.train_step(batch, wrapper)["loss"]))
        with torch.no_grad():
            left_over += [
                float(built.loss(inputs[i], targets[i], label_set))
                for i in range(updates * recipe.accumulate, PER_EPOCH)
            ]
    return losses, left_over, rates, first


@pytest.mark.parametrize(
    "run",
    [
        "ft_lr2e-6_acc1", "ft_lr2e-6_acc2", "ft_lr1e-3_acc1", "ft_lr1e-3_acc2", "ft_lr1e-3_acc3_2epochs",
        "imageonly_lr1e-3_acc1", "prompt_lr8e-3_acc1", "prompt_lr8e-3_acc1_nohalf",
    ],
)  # fmt: skip
def test_trajectory(shared: Path, run: str) -> None:
    built, recipe, facts = start(shared, run)
    data = golden.arrays(shared, RUNS)
    rounded = "PROMPT_MODEL" in facts["mode"] and facts["prompts_rounded_to_fp16"]
    losses, left_over, rates, first = train(shared, built, recipe, facts["epochs"])

    used = PER_EPOCH - PER_EPOCH % recipe.accumulate
    expected = data[f"{run}/loss"].reshape(facts["epochs"], PER_EPOCH)
    golden.close(losses, expected[:, :used].ravel(), 3e-3 if rounded else 5e-5, f"{run} loss")
    golden.close(left_over, expected[:, used:].ravel(), 5e-5, f"{run} loss of discarded batches")
    np.testing.assert_allclose(rates, data[f"{run}/lr_at_step"], rtol=1e-12, atol=0)

    gradient = (
        named(shared, f"{run}/first_step_grad") if any(n.startswith(f"{run}/first_step_grad") for n in data) else {}
    )
    for name, value in gradient.items():
        scale = float(value.abs().max())
        golden.close(
            first[name], value, max(1e-6, (2e-2 if rounded else 1e-4) * scale), f"{run} first gradient of {name}"
        )
    own = dict(built.named_parameters())
    tolerance = 1e-4 if rounded else 5e-7 if recipe.lr == 2e-6 else 1e-6
    final = named(shared, f"{run}/final")
    assert len(final) >= 4
    for name, value in final.items():
        golden.close(own[name], value, tolerance, f"{run} final {name}")


def test_two_groups_in_a_device_batch_equal_accumulation(shared: Path) -> None:
    built, recipe, facts = start(shared, "ft_lr1e-3_acc2")
    losses, _, _, _ = train(shared, built, recipe, facts["epochs"], together=2)
    expected = golden.arrays(shared, RUNS)["ft_lr1e-3_acc2/loss"].reshape(-1, 2).mean(axis=1)
    golden.close(losses, expected, 5e-5, "loss of joined groups")
    own = dict(built.named_parameters())
    for name, value in named(shared, "ft_lr1e-3_acc2/final").items():
        golden.close(own[name], value, 1e-6, f"joined groups, final {name}")
