"""A method that was published in several variants: each of our rows is beside the variant that it measures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reports.aggregate import rows_of
from reports.entries import read_entries
from reports.page.beside import beside
from tests.results.factories import Sample, write_sample

FEW = Sample(protocol="few_shot", dataset="hmdb51", part="k4", shots=4, frames=16, arch="ViT-B-16", weights="openai")
OST = replace(FEW, method="ost", frames=32, class_text="llm-rewritten", options=(("stop", "batch"),))
"""As OST measured its few-shot rows, with the last epoch."""
FULL = Sample(protocol="supervised", dataset="k400", clips=3, arch="ViT-B-16", weights="openai")


@pytest.mark.parametrize(
    ("sample", "changes", "published"),
    [
        (FEW, {"method": "ost"}, ("ost", "62.9")),
        (FEW, {"method": "ost", "init": "fit ost k400/train", "extra_data": ("k400",)}, ("ost-k400", "66.7")),
        (FEW, {"method": "tc_clip"}, ("tc-clip", "62.3")),
        (FEW, {"method": "tc_clip", "init": "fit tc_clip k400/train", "extra_data": ("k400",)}, ("tc-clip-p", "68.5")),
        (FEW, {"method": "tc_clip", "class_text": "llm-rewritten"}, ("tc-clip-llm", "63.3")),
        (FULL, {"method": "aim", "frames": 32}, ("aim", "84.7")),
        (FULL, {"method": "aim", "frames": 16}, ("aim-16", "84.5")),
        (FULL, {"method": "aim", "frames": 8}, ("aim-8", "83.9")),
    ],
)
def test_a_row_is_beside_the_variant_with_its_settings(
    tmp_path: Path, sample: Sample, changes: dict[str, object], published: tuple[str, str]
) -> None:
    write_sample(tmp_path, sample, **changes)
    (row,) = rows_of(read_entries(tmp_path).entries)
    (shown,) = [value for name, value in beside(row).items() if name in ("k4", "top1")]
    assert (shown.number.method, shown.number.value) == published


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ("last epoch, paper best epoch on the evaluation list",)),
        ({"recipe": (("selection", "epoch:11"),)}, ()),
        ({"recipe": (("selection", "epoch:11"), ("lr", 1e-3))}, ("changed recipe: lr=0.001",)),
        ({"recipe": (("selection", "epoch:11"),), "options": (("stop", "pair"),)}, ("option stop pair, paper batch",)),
        (
            {
                "recipe": (("selection", "epoch:11"),),
                "options": (("stop", "batch"), ("train", "image"), ("class_texts", "a.json"), ("logits", "published")),
                "defaults": (("stop", "pair"), ("train", "both"), ("class_texts", ""), ("logits", "clean")),
            },
            ("changed option: train=image",),
        ),
    ],
)
def test_a_row_of_a_candidate_of_the_best_epoch_is_compared_with_the_paper(
    tmp_path: Path, changes: dict[str, object], why: tuple[str, ...]
) -> None:
    write_sample(tmp_path, OST, **changes)
    (row,) = rows_of(read_entries(tmp_path).entries)
    assert beside(row)["k4"].verdict.why == why
