"""Text-FT and prompt methods with cached frame features: time per epoch against decoding and encoding in every epoch.

    python benchmarks/feature_cache.py --out benchmarks/results/feature_cache.json
    python benchmarks/feature_cache.py --arch ViT-B-16-quickgelu --frames 8 --clips 8 --videos FOLDER

The benchmark runs fits through the engine on rendered videos, or on the videos of a folder. The recipe has no
augmentation and no blending, so that both ways train on the same clips and their losses must agree. With the cache the
first epoch computes the features, so the table lists it separately. Both ways are measured in turn.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.decoding import render
from benchmarks.timing import Spread, save, table
from benchmarks.workloads import label_set
from harness.data.files.video_names import is_video
from harness.engine.compute.device import choose_device
from harness.engine.features.cache import FeatureCache
from harness.engine.features.context import Context
from harness.engine.job import FitJob
from harness.engine.method import build_method
from harness.engine.model.backbone import Backbone, load_backbone
from harness.engine.training.fit import fit
from harness.engine.video.loaders import Row
from harness.machine.compute_options import ComputeOptions
from harness.spec import Recipe, Views

RECIPE = Recipe(
    epochs=3, lr=1e-5, warmup_epochs=0, ranks=1, accumulate=1, mixup=0.0, cutmix=0.0, augmentation="none",
    source="own: a benchmark of time",
)  # fmt: skip


def timed_fit(
    name: str, backbone: Backbone, rows: list[Row], arguments: argparse.Namespace, folder: Path, context: Context
) -> tuple[list[float], float, list[float]]:
    """(seconds of each epoch, seconds before the first loss, losses) of a fit."""
    options = {"frames": arguments.frames} if name == "efficient_prompt" else {}
    method = build_method(name, copy.deepcopy(backbone), **options)
    recipe = replace(RECIPE, epochs=arguments.epochs, micro_batch=min(4, len(rows)))
    times, losses = [time.perf_counter()], []

    def progress(done: int, total: int, loss: float) -> None:
        losses.append(loss)
        if done % (total // recipe.epochs) == 0:
            times.append(time.perf_counter())

    job = FitJob(method, rows, label_set(arguments.names), Views(frames=arguments.frames), recipe)
    fit(job, folder, context, progress)
    epochs = [b - a for a, b in itertools.pairwise(times)]
    return epochs, epochs[0], losses


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--arch", default="mini-clip", help="mini-clip, or an open_clip architecture, weights random")
    parser.add_argument("--method", nargs="+", default=["text_ft", "efficient_prompt"])
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--names", type=int, default=51)
    parser.add_argument("--clips", type=int, default=32, help="training clips (32)")
    parser.add_argument("--epochs", type=int, default=3, help="at least 2 (3)")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--videos", type=Path, help="folder of videos; rendered ones otherwise")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    parser.add_argument("--out", type=Path, help="JSON file")
    arguments = parser.parse_args()
    compute = ComputeOptions(arguments.device, arguments.precision, arguments.workers, fit_clips=4, quiet=True)
    device = choose_device(compute)
    backbone = load_backbone(arguments.arch, None if arguments.arch == "mini-clip" else "random")
    results, lines = [], []
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        if arguments.videos:
            files = sorted(p for p in arguments.videos.rglob("*") if is_video(p.name))[: arguments.clips]
        else:
            files = [render(folder / f"{i}.mp4", i) for i in range(arguments.clips)]
        rows = [(file, i % arguments.names) for i, file in enumerate(files)]
        for name in arguments.method:
            later: dict[str, list[float]] = {"decoded": [], "cached": []}
            first: dict[str, list[float]] = {"decoded": [], "cached": []}
            losses: dict[str, list[float]] = {}
            for repeat in range(arguments.repeats):
                for way in later:
                    run = folder / f"{name}-{way}-{repeat}"
                    cache = FeatureCache(run / "features") if way == "cached" else None
                    context = Context(device, compute, cache)
                    epochs, begin, losses[way] = timed_fit(name, backbone, rows, arguments, run, context)
                    first[way].append(begin)
                    later[way] += epochs[1:]
            spreads = {way: Spread.of(values) for way, values in later.items()}
            difference = max(abs(a - b) for a, b in zip(*losses.values(), strict=True))
            speedup = spreads["decoded"].median / spreads["cached"].median
            results.append(
                {
                    "method": name,
                    "epoch_seconds": {way: spread.as_dict() for way, spread in spreads.items()},
                    "first_epoch_seconds": {way: Spread.of(values).as_dict() for way, values in first.items()},
                    "speedup": round(speedup, 2),
                    "largest_difference_of_losses": difference,
                }
            )
            lines += [
                [name, way, f"{Spread.of(first[way]).median:.3g}", f"{s.median:.3g}", f"{s.low:.3g}", f"{s.high:.3g}"]
                for way, s in spreads.items()
            ]
            print(f"{name}: {speedup:.1f} x after the first epoch, losses differ by {difference:.1e}", flush=True)
    print(table(lines, ("method", "way", "first epoch s", "later epochs s", "min", "max")))
    if arguments.out:
        shown = ("arch", "frames", "names", "epochs", "repeats")
        whole = {k: getattr(arguments, k) for k in shown} | {"clips": len(rows), "precision": device.precision}
        save(arguments.out, "feature_cache", device.device, {**whole, "rows": results})


if __name__ == "__main__":
    main()
