"""Recipes and checks of OST and EZ-CLIP that need no reference outputs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from harness.api import LabelSet, TrainingBatch, UserError, build_method
from harness.engine.contract.tiny_clip import tiny_backbone
from harness.plugins import registry


@pytest.mark.parametrize(
    ("protocol", "dataset", "shots", "batch", "lr", "epochs", "published"),
    [
        ("zero_shot", "k400", None, 256, 8e-6, 10, True),
        ("few_shot", "hmdb51", 2, 64, 5e-6, 50, True),
        ("few_shot", "hmdb51", 4, 64, 3.5e-6, 50, True),
        ("few_shot", "ucf101", 4, 64, 5e-6, 50, True),
        ("few_shot", "ssv2", 8, 64, 5e-6, 50, True),
        ("few_shot", "ssv2", 16, 64, 2.5e-6, 50, True),
        ("b2n", "ucf101", None, 64, 5e-6, 11, False),
    ],
)
def test_recipes_of_ost(
    protocol: str, dataset: str, shots: int | None, batch: int, lr: float, epochs: int, published: bool
) -> None:
    recipe = registry.method_spec("ost").recipe_for(protocol, dataset, shots)
    assert recipe is not None and recipe.source.startswith("own") is not published
    assert (recipe.effective_batch, recipe.micro_batch, recipe.lr, recipe.epochs) == (batch, 32, lr, epochs)
    assert (recipe.smoothing, recipe.mixup, recipe.cutmix, recipe.min_lr_ratio) == (0, 0, 0, 0.01)
    # Weights are mixed with CLIP's in the published zero-shot tests alone.
    assert recipe.initial_share == (0.2 if protocol == "zero_shot" else 0)


@pytest.mark.parametrize(
    ("protocol", "dataset", "shots", "batch", "lr", "epochs", "published"),
    [
        ("zero_shot", "k400", None, 80, 1e-4, 150, True), ("b2n", "hmdb51", 16, 20, 1e-4, 50, False),
        ("b2n", "ucf101", 16, 60, 1e-5, 50, False), ("b2n", "k400", 16, 50, 5e-6, 100, False),
        ("b2n", "ssv2", 16, 50, 1e-5, 100, False), ("few_shot", "hmdb51", 2, 10, 1e-4, 180, True),
        ("few_shot", "ucf101", 8, 4, 1e-4, 100, True), ("few_shot", "ssv2", 2, 10, 1e-4, 180, False),
    ],
)  # fmt: skip
def test_recipes_of_ez_clip(
    protocol: str, dataset: str, shots: int | None, batch: int, lr: float, epochs: int, published: bool
) -> None:
    spec = registry.method_spec("ez_clip")
    recipe = spec.recipe_for(protocol, dataset, shots)
    assert recipe is not None and recipe.source.startswith("own") is not published
    assert (recipe.effective_batch, recipe.micro_batch, recipe.lr, recipe.epochs) == (batch, batch, lr, epochs)
    assert (recipe.schedule, recipe.weight_decay, recipe.betas) == ("stepped_cosine", 0.2, (0.9, 0.98))
    options = spec.options_for({}, protocol, dataset).as_dict()
    assert options["temporal"] == ("none" if (protocol, dataset) == ("few_shot", "hmdb51") else "prompts")
    assert options["dropout"] == (0.0 if (protocol, dataset) == ("few_shot", "ucf101") else 0.1)


@pytest.mark.parametrize("name", ["ost", "ez_clip"])
def test_different_numbers_of_texts_are_refused(name: str, tmp_path: Path) -> None:
    one, two = (dict.fromkeys(("spatial", "temporal"), texts) for texts in (["a"], ["a", "b"]))
    texts = {"walk": one, "run": two} if name == "ost" else {"walk": ["a"], "run": ["a", "b"]}
    path = tmp_path / "texts.json"
    path.write_text(json.dumps({"form": "class texts 1", "source": "llm", "texts": texts}))
    spec = registry.method_spec(name)
    with pytest.raises(UserError, match=r"equally many .*texts for every class.*'walk' has 1 and 'run' has 2"):
        spec.check_classes(spec.options_for({"class_texts": str(path)}), LabelSet(("walk", "run")))
    other = tmp_path / "other.json"
    kinds = {"walk": "a", "run": "b"} if name == "ost" else {"walk": one, "run": one}
    other.write_text(json.dumps({"form": "class texts 1", "source": "llm", "texts": kinds}))
    with pytest.raises(UserError, match="expected texts"):
        spec.check_classes(spec.options_for({"class_texts": str(other)}), LabelSet(("walk", "run")))


@pytest.mark.parametrize(("name", "options"), [("ost", {}), ("ez_clip", {"frames": 2})])
def test_blended_targets_are_refused(name: str, options: dict[str, int]) -> None:
    method, labels = build_method(name, tiny_backbone(), **options), LabelSet(("walk", "run"))
    batch = TrainingBatch(torch.zeros(2, 2, 3, 32, 32), torch.full((2, 2), 0.5), torch.tensor([0, 1]), labels)
    with pytest.raises(UserError, match=f"The loss of {name} needs one class per clip"):
        method.training_loss(batch)


def test_other_numbers_of_frames_are_refused() -> None:
    method = build_method("ez_clip", tiny_backbone(), frames=2)
    with pytest.raises(UserError, match="set up for 2 frames, the view has 3"):
        method.encode_frames(torch.zeros(1, 3, 3, 32, 32))
