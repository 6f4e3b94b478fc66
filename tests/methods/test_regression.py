"""Numbers of the verified implementation on a seeded tiny CLIP, so that a change shows without the reference outputs.

They were frozen while all reference outputs agreed. After a change that is meant to change them, check those first,
then write them anew with `python -m tests.methods.test_regression [ROW ...]`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.base.atomic import write_bytes
from harness.engine.contract.checks import NOVEL, MethodUnderTest
from harness.engine.contract.tiny_clip import tiny_backbone
from harness.engine.method import ClipMethod, method_class
from harness.engine.training.step import build_optimizer
from harness.engine.training_batch import TrainingBatch

FILE = Path(__file__).with_name("regression.json")
TEXTS = str(Path(__file__).with_name("configs") / "descriptors.json")
"""Descriptors of the classes of the contract check."""


def tiny_config(name: str) -> dict[str, Any]:
    return {"config": str(Path(__file__).with_name("configs") / f"tiny_{name}.py"), "checkpoint": "random"}


ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "vanilla_clip": ("vanilla_clip", {}),
    "vanilla_clip ensemble": ("vanilla_clip", {"ensemble": "action16"}),
    "image_ft": ("image_ft", {}),
    "text_ft": ("text_ft", {}),
    "vificlip": ("vificlip", {}),
    "vificlip fp16 logits": ("vificlip", {"logits": "published"}),
    "bridge_prompt b2n": ("bridge_prompt", {}),
    "bridge_prompt words": ("bridge_prompt", {"text_tokens": 4, "vision_tokens": 4, "prompt_rounding": "clean"}),
    "actionclip": ("actionclip", {}),
    "actionclip mean": ("actionclip", {"fusion": "mean"}),
    "xclip": ("xclip", {}),
    "xclip tuned text": ("xclip", {"tune_text": True}),
    "efficient_prompt": ("efficient_prompt", {}),
    "open_vclip": ("open_vclip", {}),
    "open_vclip plain loss, two neighbours": ("open_vclip", {"mixed_loss": 0.0, "neighbours": 2}),
    "froster": ("froster", {}),
    "ost": ("ost", {}),
    "ost descriptors, published rule": ("ost", {"class_texts": TEXTS, "stop": "batch"}),
    "ez_clip": ("ez_clip", {}),
    "ez_clip first prompt": ("ez_clip", {"temporal": "first"}),
    "ez_clip temporal adapters": ("ez_clip", {"temporal": "adapters"}),
    "eszsl": ("eszsl", {}),
    "sje": ("sje", {}),
    "dem": ("dem", {}),
    "lora": ("lora", {}),
    "lora of MAXI": ("lora", {"form": "maxi"}),
    "st_adapter": ("st_adapter", {"bottleneck": 32}),
    "st_adapter with classes": (
        "st_adapter",
        {"head": "classes", "fixed_classes": 4, "bottleneck": 32, "before": "attn+mlp"},
    ),
    "aim": ("aim", {}),
    "aim with classes": ("aim", {"head": "classes", "fixed_classes": 4, "inner_adapter": True}),
    "vita_clip": ("vita_clip", {}),
    "vita_clip with classes": ("vita_clip", {"context": "classes", "fixed_classes": 4, "position": "middle"}),
    "viclip": ("viclip", {}),
    "mmaction2 2D": ("mmaction2", tiny_config("tsn")),
    "mmaction2 3D": ("mmaction2", tiny_config("swin")),
    "mformer": ("mformer", {"config": "tiny", "checkpoint": "random", "fixed_classes": 4}),
    "mformer orthoformer": (
        "mformer",
        {"config": "tiny", "checkpoint": "random", "fixed_classes": 4, "attention": "orthoformer", "landmarks": 8},
    ),
    "mformer joint": (
        "mformer",
        {"config": "tiny", "checkpoint": "random", "fixed_classes": 4, "positions": "joint", "values": "projected"},
    ),
    "mote": ("mote", {"layers": 2, "training_classes": 4}),
    "mote 2 experts": ("mote", {"layers": 1, "experts": 2, "neighbours": 2, "training_classes": 3}),
    "tc_clip": ("tc_clip", {"tokens": 8, "merged_per_round": 6}),
    "tc_clip joint": ("tc_clip", {"tokens": 8, "positions": "joint", "prompt_layers": "1+2", "stop_gradient": False}),
    "efficient_prompt 8+4, frames averaged": ("efficient_prompt", {"prefix": 8, "postfix": 4, "temporal": False}),
}


@torch.no_grad()
def redraw(method: ClipMethod) -> None:
    """Replace what a method added by values from NumPy, so that torch's initialisers do not matter."""
    rng = np.random.default_rng(11)
    for name, parameter in sorted(method.named_parameters()):
        if not name.startswith("backbone.") or not method.uses_clip:
            scale = 1.0 if parameter.ndim == 1 and name.endswith("weight") else 0.0
            parameter.copy_(torch.from_numpy(np.asarray(scale + 0.05 * rng.standard_normal(tuple(parameter.shape)))))


def measure(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Logits before training, the losses of three steps, and logits after them."""
    tested = MethodUnderTest(method_class(name), options, tiny_backbone())
    method = tested.fresh()
    redraw(method)
    row: dict[str, Any] = {"parameters": list(method.parameter_counts()), "logits": logits(tested, method)}
    if method.fits_at_once:
        with torch.no_grad():
            labels = type(NOVEL)(NOVEL.names[:3])
            method.fit_features(method.encode_video(tested.video), torch.arange(4) % 3, labels)
        row["logits_after"] = logits(tested, method)
    elif method.trainable():
        labels = type(NOVEL)(NOVEL.names[:3]) if tested.is_open else NOVEL
        targets = torch.eye(len(labels))[torch.arange(4) % 3]
        optimizer, losses = build_optimizer(method.train(), tested.recipe), []
        torch.manual_seed(5)
        for _ in range(3):
            optimizer.zero_grad()
            loss = method.training_loss(TrainingBatch(tested.video, targets, torch.arange(4) % 3, labels))
            loss.backward()
            optimizer.step()
            losses.append(round(float(loss.detach()), 6))
        row["losses"] = losses
        row["logits_after"] = logits(tested, method.eval())
    return row


def logits(tested: MethodUnderTest, method: ClipMethod) -> list[list[float]]:
    return [[round(value, 5) for value in row] for row in tested.logits(method, NOVEL, tested.video[:2]).tolist()]


SECONDARY = (
    "open_vclip plain loss, two neighbours", "ost descriptors, published rule", "ez_clip first prompt",
    "ez_clip temporal adapters", "lora of MAXI", "st_adapter with classes", "aim with classes",
    "vita_clip with classes", "mformer orthoformer", "mformer joint", "mote 2 experts", "tc_clip joint",
)  # fmt: skip
"""Rows that are slow: the row of the method's default options runs by default."""


@pytest.mark.parametrize(
    "row", [pytest.param(row, marks=[pytest.mark.slow] if row in SECONDARY else []) for row in ROWS]
)
def test_frozen_numbers(row: str) -> None:
    expected = json.loads(FILE.read_text(encoding="utf-8"))[row]
    found = measure(*ROWS[row])
    assert found["parameters"] == expected["parameters"]
    # Half-precision products may fall on the neighbouring number on another machine: 1/64 near 16.
    np.testing.assert_allclose(found["logits"], expected["logits"], atol=0.02 if "fp16" in row else 5e-4)
    assert ("losses" in found) == ("losses" in expected)
    if "losses" in expected:
        np.testing.assert_allclose(found["losses"], expected["losses"], rtol=2e-3, atol=2e-3)
    if "logits_after" in expected:
        small = np.abs(expected["logits_after"]).max() < 5  # scores that are no scaled cosines
        np.testing.assert_allclose(
            found["logits_after"], expected["logits_after"], rtol=0.02, atol=0.005 if small else 0.05
        )


def test_every_method_is_frozen() -> None:
    from harness.plugins import registry

    builtin = {n for n, s in registry.sources("method").items() if s.origin == "built-in"}
    assert builtin <= {name for name, _ in ROWS.values()}


if __name__ == "__main__":
    # With arguments, only the named rows.
    kept = json.loads(FILE.read_text(encoding="utf-8")) if sys.argv[1:] else {}
    rows = kept | {row: measure(*arguments) for row, arguments in ROWS.items() if row in (sys.argv[1:] or ROWS)}
    write_bytes(FILE, (json.dumps(rows, indent=1) + "\n").encode())
