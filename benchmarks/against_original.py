"""Evaluation and training step of the authors' code and ours, on the same inputs and weights, in turn.

    python -m benchmarks.against_original CHECKOUT --out benchmarks/results/against-original-cpu.json

`CHECKOUT` is a folder with muzairkhattak/ViFi-CLIP. Its model is built by its own code (`trainers/vificlip.py`,
`clip/`); its loops are those of `main.py`, without apex and CUDA: an eval batch has 2 videos (`datasets/build.py`)
and computes the text features again, a training step has 4 (`configs/base2novel`). Ours computes the text features
once for a list, and once for a device batch. The table gives CPU seconds for each clip, ratios to the original, and
the share of the limit: the time of the vision tower's own forward pass (evals), or forward and backward pass (fits),
on the same clips.
"""

from __future__ import annotations

import argparse
import copy
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.timing import Spread, save, table
from benchmarks.workloads import EvalWork, FitWork, autocast, build, label_set
from harness.engine.compute.device import Device, casts_kept
from harness.engine.model.backbone import Backbone, load_backbone
from harness.engine.training.blending import smooth
from harness.engine.training.step import blend_groups
from harness.engine.video.frames import normalise

THEIR_EVAL_CLIPS, THEIR_FIT_CLIPS = 2, 4
CPU = torch.device("cpu")
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def original_model(checkout: Path, backbone: Backbone, names: tuple[str, ...]) -> nn.Module:
    """Return the authors' model with the weights of a backbone.

    Args:
        checkout: Folder with the authors' code.
        backbone: Its weights must be exact in float16, because the authors' `build_model` converts them.
        names: Class names.
    """
    sys.path.insert(0, str(checkout))
    from clip import clip  # type: ignore[import-not-found, unused-ignore]
    from trainers import vificlip  # type: ignore[import-not-found, unused-ignore]

    design = dict(trainer="ViFi_CLIP", vision_depth=0, language_depth=1, vision_ctx=0, language_ctx=0)
    state = {name: value.clone() for name, value in backbone.clip.state_dict().items() if name != "attn_mask"}
    model = clip.build_model(state, design)
    settings = SimpleNamespace(ZS_EVAL=False, PROMPT_MODEL=False, CTX_INIT="a photo of a")
    config = SimpleNamespace(TRAINER=SimpleNamespace(ViFi_CLIP=settings))
    # In fp32 throughout: apex, which casts their operations to float16, needs a GPU.
    built: nn.Module = vificlip.ViFiCLIP(config, names, model.float(), logging.getLogger("original"))
    return built


def rounded(backbone: Backbone) -> Backbone:
    """Round the weights of a backbone to float16, in place."""
    with torch.no_grad():
        for value in backbone.parameters():
            value.copy_(value.half().float())
    return backbone


class OriginalEval:
    """The authors' evaluation loop over the clips of `EvalWork`."""

    def __init__(self, model: nn.Module, ours: EvalWork) -> None:
        self.model = model.eval()
        self.batches = [normalise(batch, ours.views, CPU) for batch in ours.batches]

    @torch.no_grad()
    def __call__(self) -> Tensor:
        """Return the probabilities of the first batch of clips."""
        clips = self.batches[0].split(THEIR_EVAL_CLIPS)
        return torch.cat([self.model(part).softmax(dim=-1) for part in clips])


class OriginalFit:
    """The authors' training loop over the clips of `FitWork`: same blending, soft targets, accumulated gradients."""

    def __init__(self, model: nn.Module, ours: FitWork) -> None:
        self.model, batch = model.train(), ours.batches[0]
        video = normalise(batch.frames, ours.views, CPU)
        targets = smooth(batch.labels, len(ours.labels), ours.recipe.smoothing)
        self.video, self.targets = blend_groups(video, targets, batch, ours.recipe)

    def __call__(self) -> float:
        """Compute gradients of the mean loss; returns the loss."""
        parts = list(zip(self.video.split(THEIR_FIT_CLIPS), self.targets.split(THEIR_FIT_CLIPS), strict=True))
        total = 0.0
        for video, targets in parts:
            logits = self.model(video)
            loss = torch.sum(-targets * torch.log_softmax(logits, dim=-1), dim=-1).mean() / len(parts)
            loss.backward()
            total += loss.item()
        self.model.zero_grad()
        return total


def our_fit(work: FitWork) -> Callable[[], float]:
    """Return a function that computes the gradients of the same clips and returns the loss."""

    def step() -> float:
        with autocast(work.device):
            loss = work.loss(work.batches[0])
        loss.backward()
        work.optimizer.zero_grad()
        return float(loss.detach())

    return step


def limit(work: EvalWork | FitWork, frames: Tensor, backward: bool) -> Callable[[], None]:
    """Return a function that computes the vision tower alone on the same clips and precision."""
    images = normalise(frames, work.views, CPU).flatten(0, 1)

    def run() -> None:
        with torch.set_grad_enabled(backward), autocast(work.device), casts_kept(work.device, work.method.backbone):
            features = work.method.backbone.encode_images(images)
        if backward:
            features.sum().backward()
            work.method.zero_grad()

    return run


def measured(works: dict[str, Callable[[], Any]], repeats: int) -> dict[str, Spread]:
    """CPU seconds of each piece of work, in turn, after one call that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(repeats + 1):
        for name, work in works.items():
            started = time.process_time()
            work()
            if number:
                seconds[name].append(time.process_time() - started)
    return {name: Spread.of(values) for name, values in seconds.items()}


def phase(
    kind: str, checkout: Path, backbone: Backbone, frames: int, names: int, clips: int, repeats: int
) -> dict[str, Any]:
    """Measure evals or fits; returns CPU seconds, ratios, shares of the limit and differences."""
    model = original_model(checkout, backbone, label_set(names).names)
    works: dict[str, Callable[[], Any]] = {}
    results: dict[str, Any] = {}
    for precision, dtype in PRECISIONS.items():
        method = build("vificlip", copy.deepcopy(backbone), frames, CPU)
        if kind == "eval":
            evaluation = EvalWork(method, frames, clips, names, Device(CPU, dtype))
            evaluation.batches[1] = evaluation.batches[0]
            works |= {f"ours, {precision}": evaluation}
            works |= {f"limit, {precision}": limit(evaluation, evaluation.batches[0], backward=False)}
            if precision == "fp32":
                works["original"] = OriginalEval(model, evaluation)
        else:
            fit = FitWork(method, frames, clips, names, Device(CPU, dtype))
            works |= {f"ours, {precision}": our_fit(fit)}
            works |= {f"limit, {precision}": limit(fit, fit.batches[0].frames, backward=True)}
            if precision == "fp32":
                works["original"] = OriginalFit(model, fit)
    results["difference"] = _differences(kind, works)
    spreads = measured(works, repeats)
    for precision in PRECISIONS:
        ours = spreads[f"ours, {precision}"].median
        results[f"times original, {precision}"] = round(spreads["original"].median / ours, 2)
        results[f"share of the limit, {precision}"] = round(spreads[f"limit, {precision}"].median / ours, 3)
    per_clip = {name: Spread(s.median / clips, s.low / clips, s.high / clips) for name, s in spreads.items()}
    return {
        "frames": frames, "names": names, "clips": clips, **results,
        "cpu_seconds_per_clip": {name: s.as_dict() for name, s in per_clip.items()},
    }  # fmt: skip


def _differences(kind: str, works: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Relative difference of the loss, or share of the five best class ids that differ, from the original."""
    theirs = works["original"]()
    differences = {}
    for precision in PRECISIONS:
        ours = works[f"ours, {precision}"]()
        if kind == "fit":
            differences[precision] = abs(ours - theirs) / abs(theirs)
        else:
            differences[precision] = float((torch.as_tensor(ours) != theirs.topk(5).indices).double().mean())
    return {name: float(f"{value:.2g}") for name, value in differences.items()}


def main() -> None:
    """Measure, print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkout", type=Path, help="folder with the authors' code")
    parser.add_argument("--arch", default="ViT-B-16-quickgelu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON file")
    arguments = parser.parse_args()
    backbone = rounded(load_backbone(arguments.arch, "random"))
    content: dict[str, Any] = {"arch": arguments.arch, "repeats": arguments.repeats}
    for kind, frames, names, clips in (("eval", 16, 400, 4), ("fit", 8, 200, 8)):
        found = phase(kind, arguments.checkout.resolve(), backbone, frames, names, clips, arguments.repeats)
        content[kind] = found
        rows = [[n, *(f"{v:.3g}" for v in s.values())] for n, s in found["cpu_seconds_per_clip"].items()]
        print(f"{kind}: {frames} frames, {names} names")
        print(table(rows, ["CPU seconds per clip", "median", "min", "max"]))
        print({name: value for name, value in found.items() if "clip" not in name})
        if arguments.out:
            save(arguments.out, "against_original", CPU, content)


if __name__ == "__main__":
    main()
