"""Vanilla evaluation on 400 class names: texts encoded once, against texts encoded in each batch of 2 x 32 frames.

    python benchmarks/text_cache.py --out benchmarks/results/text_cache.json

Both ways score the same clips with ViT-B/16 in the same batches, in turn and in the precision of an eval: `auto` is
bf16 for the vision tower on CPUs with bf16 instructions, and fp32 for texts on all CPUs. Texts of each batch are
encoded over the full context of 77 tokens, as in published code. Predictions must agree. The speedup of the measured
batches includes the single encoding of the texts; the speedup for a list of `--list` videos is computed from the same
times.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks.timing import Spread, save, synchronise, table
from benchmarks.workloads import autocast, build, label_set, naive_text, random_frames
from harness.engine.compute.device import Device, casts_kept, choose_device, for_evaluation
from harness.engine.method import ClipMethod
from harness.engine.model.backbone import load_backbone
from harness.engine.model.frozen_text import FrozenText
from harness.engine.scoring import view_logits
from harness.machine.compute_options import ComputeOptions
from harness.spec import LabelSet, Views


@torch.no_grad()
def score(
    method: ClipMethod, batches: list[torch.Tensor], names: LabelSet, views: Views, device: Device, once: bool
) -> tuple[torch.Tensor, float, float]:
    """Logits of all clips, the seconds from the first text to the last logit, and the seconds of texts in advance."""
    synchronise(device.device)
    started = time.perf_counter()
    logits = []
    text = _text(method, names, device) if once else None
    synchronise(device.device)
    before = time.perf_counter() - started
    for frames in batches:
        if not once:
            text = _text(method, names, device)
        with autocast(device), casts_kept(device, method.backbone):
            logits.append(view_logits(method, frames, text, views, device, len(names))[:, 0].cpu())
    synchronise(device.device)
    return torch.cat(logits), time.perf_counter() - started, before


def _text(method: ClipMethod, names: LabelSet, device: Device) -> Any:
    """The encoded texts, in the precision of an eval."""
    with autocast(device) if device.kind != "cpu" else nullcontext():
        return method.encode_text(names)


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--arch", default="ViT-B-16-quickgelu")
    parser.add_argument("--names", type=int, default=400)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--batches", type=int, default=8, help="batches of two clips (8)")
    parser.add_argument("--list", type=int, default=19796, help="videos of the list to extrapolate to (K-400: 19796)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    parser.add_argument("--out", type=Path, help="JSON file")
    arguments = parser.parse_args()
    compute = ComputeOptions(device=arguments.device, precision=arguments.precision)
    backbone = load_backbone(arguments.arch, None if arguments.arch == "mini-clip" else "random")
    device = for_evaluation(choose_device(compute), compute, backbone)
    ours, naive = (build("vanilla_clip", backbone, arguments.frames, device.device).eval() for _ in range(2))
    naive_text(naive)
    names, views = label_set(arguments.names), Views(frames=arguments.frames)
    batches = [random_frames(2, arguments.frames, ours, device, seed) for seed in range(arguments.batches)]
    score(ours, batches[:1], names, views, device, True)  # loads the tokenizer and the kernels
    seconds: dict[str, list[float]] = {"text once": [], "text in each batch": []}
    logits: dict[str, torch.Tensor] = {}
    texts: list[float] = []
    for _ in range(arguments.repeats):
        for way, method in (("text once", ours), ("text in each batch", naive)):
            ours._frozen_text = FrozenText()  # as at the start of an eval
            logits[way], spent, before = score(method, batches, names, views, device, method is ours)
            seconds[way].append(spent)
            texts += [before] if method is ours else []
    clips = 2 * len(batches)
    rates = {way: Spread.of([clips / s for s in values]) for way, values in seconds.items()}
    logits_once, logits_each = logits.values()
    text, (once, each) = statistics.median(texts), (statistics.median(values) for values in seconds.values())
    whole = arguments.list / clips
    result: dict[str, Any] = {
        "arch": arguments.arch, "names": len(names), "frames": arguments.frames, "clips": clips,
        "precision": device.precision, "clips_per_second": {way: rate.as_dict() for way, rate in rates.items()},
        "speedup": round(rates["text once"].median / rates["text in each batch"].median, 3),
        "text_once_seconds": round(text, 3),
        "speedup_of_list": {
            "videos": arguments.list, "extrapolated": round(whole * each / (whole * (once - text) + text), 3)
        },
        "same_predictions": bool((logits_once.argmax(1) == logits_each.argmax(1)).all()),
        "largest_difference_of_logits": float((logits_once - logits_each).abs().max()),
    }  # fmt: skip
    rows = [[way, f"{r.median:.4g}", f"{r.low:.4g}", f"{r.high:.4g}"] for way, r in rates.items()]
    print(table(rows, ("way", "clips/s", "min", "max")))
    print(
        f"{result['speedup']} x, {result['speedup_of_list']['extrapolated']} x for a list of {arguments.list} videos; "
        f"predictions {'agree' if result['same_predictions'] else 'DIFFER'}, "
        f"logits differ by {result['largest_difference_of_logits']:.1e} at most."
    )
    if arguments.out:
        save(arguments.out, "text_cache", device.device, result)
    sys.exit(not result["same_predictions"])


if __name__ == "__main__":
    main()
