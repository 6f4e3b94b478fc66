r"""Make a board of 728 synthetic records of 12 methods near published numbers, and pictures of the page.

python benchmarks/synthetic_board.py --out /tmp/board
python benchmarks/synthetic_board.py --out /tmp/board --screens     # needs playwright and Chromium
python benchmarks/synthetic_board.py --out /tmp/board --picture docs/report.png

The records test the page and measure its size and speed. They are drawn from a seed and say nothing about any method.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reports.site import build_report
from tests.results.factories import Sample, write_sample

SIZES = ((1280, 800), (1600, 900), (390, 844))
"""Width and height of the pictures in CSS pixels."""
VERBS = ("brush", "catch", "clap", "climb", "drink", "fence", "hug", "jump", "kick", "pour", "run", "throw")
OBJECTS = ("a ball", "with a friend", "in the rain", "on a beach")
CLASSES = tuple(f"{verb} {thing}" for verb in VERBS for thing in OBJECTS)


@dataclass(frozen=True)
class Entrant:
    """A method of the synthetic board.

    Args:
        name: Registered name.
        title: Display name.
        family: Family of the method.
        params: Trained parameters; 0 for an untrained method.
        gain: Accuracy above or below ViFi-CLIP, as a fraction.
        novel: The same for classes that were not trained on.
        large: Whether it was also measured with ViT-L/14.
    """

    name: str
    title: str
    family: str
    params: int
    gain: float
    novel: float
    large: bool = False


ENTRANTS = (
    Entrant("tc_clip", "TC-CLIP", "tuning", 127_485_441, 0.020, 0.032, large=True),
    Entrant("froster", "FROSTER", "tuning", 124_920_321, 0.010, 0.030),
    Entrant("open_vclip", "Open-VCLIP", "tuning", 86_192_640, 0.010, 0.028),
    Entrant("attention_pooling", "CLIP + attention pooling", "adapting", 124_929_024, 0.015, 0.012),
    Entrant("vificlip", "ViFi-CLIP", "tuning", 124_323_841, 0.0, 0.0, large=True),
    Entrant("bridge_prompt", "ViFi-CLIP bridge & prompt", "tuning", 212_992, -0.02, 0.022),
    Entrant("image_ft", "CLIP image-FT", "tuning", 86_192_640, -0.008, -0.02, large=True),
    Entrant("text_ft", "CLIP text-FT", "tuning", 38_131_200, -0.038, -0.018),
    Entrant("xclip", "X-CLIP", "adapting", 131_517_449, -0.015, -0.042),
    Entrant("actionclip", "ActionCLIP", "adapting", 168_574_465, -0.009, -0.07),
    Entrant("efficient_prompt", "Efficient-Prompt", "adapting", 6_320_128, -0.09, -0.058),
    Entrant("vanilla_clip", "Vanilla CLIP", "adapting", 0, -0.16, -0.09, large=True),
)
ZERO_SHOT = {"hmdb51": 0.513, "ucf101": 0.768, "k600": 0.712}
B2N = {"k400": (0.764, 0.611), "hmdb51": (0.738, 0.533), "ucf101": (0.929, 0.677), "ssv2": (0.162, 0.121)}
FEW_SHOT = {"hmdb51": 0.572, "ucf101": 0.807, "ssv2": 0.066}
VIDEOS = {"hmdb51": 765, "ucf101": 1260, "k400": 2400, "k600": 2400, "ssv2": 1200}


def samples() -> Iterator[Sample]:
    """All records of the board."""
    for number, entrant in enumerate(ENTRANTS):
        for arch, better in (("ViT-B-16", 0.0), ("ViT-L-14", 0.055))[: 2 if entrant.large else 1]:
            base = Sample(
                method=entrant.name, title=entrant.title, family=entrant.family, trained=bool(entrant.params),
                params_trained=entrant.params, frames=32, arch=arch, weights="openai", embedded=False,
                class_names=CLASSES, classes=len(CLASSES), list_origin="published", training_origin="published",
                status=("submitted", "verified", "reproduced")[number % 3], precision="fp32", fit_precision="fp32",
                created=f"2026-{5 + number % 2:02d}-{1 + 2 * number:02d}T12:00:00Z", declared_source="its repository",
                gflops=281.0 if arch == "ViT-B-16" else 1302.0,
            )  # fmt: skip
            yield from _of_method(base, entrant, better)
    changed = replace(base, method="vificlip", title="ViFi-CLIP", family="tuning", trained=True, arch="ViT-B-16",
                      params_trained=124_323_841, recipe=(("lr", 8e-6),), gflops=281.0)  # fmt: skip
    for dataset in ("hmdb51", "ucf101", "k400"):
        for index in (1, 2, 3):
            tuned = replace(changed, protocol="b2n", dataset=dataset, videos=VIDEOS[dataset], shots=16,
                            repeat=("train_subset", index))  # fmt: skip
            yield replace(tuned, part="base", accuracy=0.75)
            yield replace(tuned, part="novel", accuracy=0.51)
    for dataset in FEW_SHOT:
        for shots in (2, 4):
            yield replace(changed, protocol="few_shot", dataset=dataset, part=f"k{shots}", shots=shots,
                          videos=VIDEOS[dataset], list_name="val", accuracy=0.6)  # fmt: skip


def _of_method(base: Sample, entrant: Entrant, better: float) -> Iterator[Sample]:
    """The records of a method with one backbone; `better` is what the backbone adds to every accuracy."""
    gain, novel = entrant.gain + better, entrant.novel + better
    for dataset, accuracy in ZERO_SHOT.items():
        for index in (1, 2, 3):
            yield replace(base, protocol="zero_shot", dataset=dataset, videos=VIDEOS[dataset],
                          repeat=("test_split", index), accuracy=accuracy + novel + 0.004 * index)  # fmt: skip
    for dataset, (on_base, on_novel) in B2N.items():
        scale = min(on_base, 0.5) / 0.5
        for index in (1, 2, 3) if base.trained else (1,):
            repeat = ("train_subset", index) if base.trained else ("single", 1)
            fit = replace(base, protocol="b2n", dataset=dataset, videos=VIDEOS[dataset], repeat=repeat,
                          shots=16 if base.trained else None)  # fmt: skip
            yield replace(fit, part="base", accuracy=min(on_base + scale * gain + 0.003 * index, 0.99))
            yield replace(fit, part="novel", accuracy=min(on_novel + scale * novel - 0.004 * index, 0.99))
    for dataset, accuracy in FEW_SHOT.items():
        for step, shots in enumerate((2, 4, 8, 16)):
            grown = accuracy + min(accuracy, 0.5) * (0.06 * step if base.trained else 0.0) + min(accuracy, 0.3) * gain
            yield replace(base, protocol="few_shot", dataset=dataset, videos=VIDEOS[dataset], shots=shots,
                          part=f"k{shots}", list_name="val", accuracy=min(grown, 0.99))  # fmt: skip
    views = replace(base, protocol="supervised", dataset="k400", videos=VIDEOS["k400"], frames=16, clips=4)
    yield replace(views, accuracy=0.835 + gain / 3)


def write_records(runs: Path) -> int:
    """Write all records and their predictions; returns their number."""
    return sum(1 for sample in samples() if write_sample(runs, sample))


def take_pictures(index: Path, out: Path) -> None:
    """Pictures of the first screen and of the whole page, at all sizes, light and dark."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as run:
        browser = run.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for width, height in SIZES:
            for scheme in ("light", "dark"):
                page = browser.new_page(
                    viewport={"width": width, "height": height}, color_scheme=scheme, bypass_csp=True
                )
                start = time.perf_counter()
                page.goto(index.as_uri())
                page.locator("#count").wait_for(state="attached")
                print(f"{width} {scheme}: interactive after {time.perf_counter() - start:.2f} s")
                page.screenshot(path=out / f"first-{width}-{scheme}.png")
                # Tables outside the window are otherwise not drawn.
                page.add_style_tag(content=".group{content-visibility:visible}")
                page.screenshot(path=out / f"whole-{width}-{scheme}.png", full_page=True)
                page.close()
        browser.close()


def take_readme_picture(index: Path, target: Path) -> None:
    """The picture of README.md: the first screen at 1,240 px with two device pixels for each CSS pixel."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as run:
        browser = run.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1240, "height": 720}, device_scale_factor=2)
        page.goto(index.as_uri() + "?protocol=b2n&dataset=hmdb51")
        page.screenshot(path=target)
        browser.close()
    # 64 colours are enough for text and take a third of the bytes.
    Image.open(target).convert("RGB").quantize(64).save(target, optimize=True)


def main() -> None:
    """Write the records, build the board and take pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of records, board and pictures")
    parser.add_argument("--screens", action="store_true", help="take pictures of the page")
    parser.add_argument("--picture", type=Path, help="file of the picture of README.md")
    arguments = parser.parse_args()
    runs, site = arguments.out / "runs", arguments.out / "site"
    if not runs.is_dir():
        print(f"{write_records(runs)} records in {runs}")
    cpu = time.process_time()
    built = build_report(runs, site)
    seconds, size = time.process_time() - cpu, built.index.stat().st_size
    print(f"{built.index}: {size / 1e6:.2f} MB, {seconds:.1f} s of CPU")
    if arguments.screens:
        take_pictures(built.index, arguments.out)
    if arguments.picture:
        take_readme_picture(built.index, arguments.picture)


if __name__ == "__main__":
    main()
