"""Forward passes of CLIP, ViFi-CLIP and its prompts against the reference outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from harness.api import LabelSet
from tests.engine import golden

FORWARD = "vificlip_forward"
PROMPTED = ("prompt_t4_v4_d2_2", "prompt_t10_v10_d3_3", "prompt_textonly_t4", "prompt_t2_v3_dt2_dv1")


def prompted(shared: Path, mode: str, **options: object):
    """bridge_prompt with the sizes and values of a reference run."""
    run = golden.facts(shared, FORWARD)["modes"][mode]
    built = golden.method(
        shared, "bridge_prompt", stage_one="clip", vision_tokens=run["N_CTX_VISION"], text_tokens=run["N_CTX_TEXT"],
        vision_depth=run["PROMPT_DEPTH_VISION"], text_depth=run["PROMPT_DEPTH_TEXT"], **options,
    )  # fmt: skip
    stored = golden.tensors(shared, "vificlip_prompts")
    values = {n.removeprefix(f"{mode}/"): v for n, v in stored.items() if n.startswith(f"{mode}/")}
    return built, golden.renamed(values)


def check_mode(built, shared: Path, mode: str) -> None:
    data, label_set = golden.arrays(shared, FORWARD), golden.labels(shared, FORWARD)
    videos = golden.tensor(shared, FORWARD, "videos")
    with torch.no_grad():
        frames = built.encode_frames(videos)
        golden.close(frames, data[f"{mode}/frame_features"], 2e-5, f"{mode} frame features")
        golden.close(built.pool(frames), data[f"{mode}/video_features"], 2e-5, f"{mode} video features")
        golden.close(built.encode_text(label_set), data[f"{mode}/text_features"], 2e-5, f"{mode} text features")
        golden.close(built(videos, label_set), data[f"{mode}/logits"], 1e-4, f"{mode} logits")


def test_clip(shared: Path) -> None:
    data, backbone = golden.arrays(shared, "clip_forward"), golden.tiny(shared)
    texts = golden.facts(shared, "tiny_clip")
    with torch.no_grad():
        image = backbone.encode_images(golden.tensor(shared, "clip_forward", "images"))
        tokens = torch.from_numpy(data["tokens"]).long()
        text = backbone.encode_embedded_text(backbone.embed_tokens(tokens), tokens.argmax(dim=-1))
        golden.close(image, data["image_features"], 2e-5, "clip image features")
        golden.close(text, data["text_features"], 2e-5, "clip text features")
        logits = (
            backbone.logit_scale.exp() * torch.nn.functional.normalize(image) @ torch.nn.functional.normalize(text).t()
        )
        golden.close(logits, data["logits_per_image"], 1e-4, "clip logits")
    names = next(v for v in texts.values() if isinstance(v, list) and len(v) == 8 and isinstance(v[0], str))
    assert np.array_equal(backbone.tokenize(tuple(names)).numpy(), data["tokens"])


def test_vanilla_is_the_bare_name(shared: Path) -> None:
    check_mode(golden.method(shared, "vanilla_clip"), shared, "zs_eval")


@pytest.mark.parametrize("name", ["vificlip", "image_ft", "text_ft"])
@pytest.mark.parametrize("embedding", ["published", "clean"])
def test_fine_tuning_methods(shared: Path, name: str, embedding: str) -> None:
    check_mode(golden.method(shared, name, text_embedding=embedding), shared, "finetune")


@pytest.mark.parametrize("rounding", ["published", "clean"])
@pytest.mark.parametrize("mode", PROMPTED)
def test_prompts(shared: Path, mode: str, rounding: str) -> None:
    built, values = prompted(shared, mode, prompt_rounding=rounding)
    assert set(values) == set(built.trained_state())
    check_mode(golden.set_values(built, values), shared, mode)


@pytest.mark.parametrize("mode", ["prompt_t4_v4_d2_2", "prompt_textonly_t4", "prompt_t2_v3_dt2_dv1"])
def test_few_prompts_start_as_words(shared: Path, mode: str) -> None:
    built, values = prompted(shared, mode)
    words = golden.arrays(shared, FORWARD)[f"{mode}/ctx_word_init"]
    golden.close(built.text_context, words, 0.0, f"{mode} initial context")
    key = f"{mode}/logits_with_word_ctx"
    if key in golden.arrays(shared, FORWARD):
        values.pop("text_context")
        golden.set_values(built, values)
        with torch.no_grad():
            logits = built(golden.tensor(shared, FORWARD, "videos"), golden.labels(shared, FORWARD))
        golden.close(logits, golden.arrays(shared, FORWARD)[key], 1e-4, f"{mode} logits from words")


@pytest.mark.parametrize(
    ("mode", "name", "options"),
    [
        ("zs_eval", "vanilla_clip", {}),
        ("finetune", "vificlip", {}),
        ("prompt_n4", "bridge_prompt", {"text_tokens": 4}),
        ("prompt_n2", "bridge_prompt", {"text_tokens": 2}),
        ("prompt_n10", "bridge_prompt", {"text_tokens": 10}),
        ("prompt_n16", "bridge_prompt", {"text_tokens": 16}),
    ],
)
def test_prompt_tokens(shared: Path, mode: str, name: str, options: dict[str, int]) -> None:
    reference = golden.facts(shared, "vificlip_prompt_tokens")
    if name == "bridge_prompt":
        options = {**options, "stage_one": "clip"}
    built = golden.method(shared, name, **options)
    texts = built.prompts(LabelSet(tuple(reference["class_names"])))
    for row, expected in zip(built.backbone.tokenize(texts).tolist(), reference["modes"][mode]["tokens"], strict=True):
        assert row[: len(expected)] == expected
        assert not any(row[len(expected) :])
