"""ViCLIP against the references: tokens, features, cosines, scores, gradients of its loss, mixing with CLIP."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.api import ClipMethod, LabelSet
from methods.viclip import SCALE, ViClip, prepared
from tests.engine import golden

V, INPUTS = "viclip_forward", "later_c_inputs"


def viclip(shared: Path, **options: object) -> ClipMethod:
    method, stored = golden.method(shared, "viclip", **options), golden.tensors(shared, "viclip_extra")
    return golden.set_values(
        method,
        {
            "temp": stored["temp"],
            "temporal_positional_embedding": stored["vision_encoder.temporal_positional_embedding"],
        },
    )


def videos(shared: Path, mode: str) -> Tensor:
    video = golden.tensor(shared, INPUTS, "videos")
    frames = {"frames4": [0, 1, 2, 3], "frames12": [*range(8), 7, 6, 5, 4], "image": [0]}.get(mode, range(8))
    return video[:, list(frames)]


@pytest.mark.parametrize("mode", ["published", "frames4", "frames12", "image", "kernel2"])
@torch.no_grad()
def test_viclip(shared: Path, mode: str) -> None:
    data, label_set = golden.arrays(shared, V), golden.labels(shared, V)
    method = viclip(shared, ensemble="none", tubelet=2 if mode == "kernel2" else 1)
    classes: list[Tensor] = []
    for block in method.backbone.vision_blocks:
        block.register_forward_hook(lambda *call: classes.append(call[2][:, 0]))
    video = videos(shared, mode)
    features, text = method.encode_video(video), method.encode_text(label_set)
    if f"{mode}/temporal" in data:
        golden.close(method.times(video.shape[1])[None], data[f"{mode}/temporal"], 1e-6, "times")
    for index, found in enumerate(classes[:3]):
        golden.close(found, data[f"{mode}/block{index}_cls"], 2e-5, f"block {index}")
    golden.close(features, data[f"{mode}/video_features"], 2e-5, "video features")
    golden.close(text[:, 0], data["raw_names/text_features"], 2e-5, "text features")
    golden.close(method.score(features, text) / SCALE, data[f"{mode}/cosine_raw_names"], 1e-5, "cosines")
    assert np.array_equal(method.tokens(method.prompts(label_set)).numpy(), data["raw_names/tokens"])
    if mode != "published":
        return
    embedded = method.backbone.visual.ln_pre(method.embed(video[:1]))[0]
    golden.close(embedded, data["published/embedded_first"], 2e-5, "tokens")
    golden.close(method.encode_video(video.flip(1)), data["published/video_features_frames_reversed"], 2e-5, "reversed")
    probabilities, order = method.score(features, text).softmax(dim=-1).sort(dim=-1, descending=True)
    golden.close(probabilities, data["published/demo_probabilities_sorted"], 1e-5, "probabilities")
    assert np.array_equal(order.numpy(), data["published/demo_order"])


@torch.no_grad()
def test_viclip_masked(shared: Path) -> None:
    """The video tower on the tokens that the masking of its pre-training keeps: patches in their order, then frames."""
    data, facts, method = golden.arrays(shared, V), golden.facts(shared, V)["masked"], viclip(shared)
    visible = golden.tensor(shared, V, "masked/visible").long()
    tokens = method.embed(videos(shared, "published"))
    assert (tokens.shape[1] - 1, visible.shape[1]) == (facts["tokens"], facts["visible"])
    kept = torch.cat([torch.zeros(len(visible), 1, dtype=torch.long), 1 + visible], dim=1)
    x = method.backbone.visual.ln_pre(tokens.gather(1, kept[..., None].expand(-1, -1, tokens.shape[2])))
    for block in method.backbone.vision_blocks:
        x = block(x)
    golden.close(method.backbone.project_class_token(x), data["masked/video_features"], 2e-5, "masked videos")


@torch.no_grad()
def test_viclip_templates(shared: Path) -> None:
    data, facts, label_set = golden.arrays(shared, V), golden.facts(shared, V), golden.labels(shared, V)
    method = viclip(shared)
    texts = method.prompts(label_set)
    assert list(texts) == [text for row in facts["prepared_strings"] for text in row]
    assert np.array_equal(method.tokens(texts).numpy(), data["templates/tokens"].reshape(-1, 32))
    text = method.encode_text(label_set)
    golden.close(text, data["templates/text_features"], 2e-5, "text features")
    scores = method.score(method.encode_video(videos(shared, "published")), text) / SCALE
    golden.close(scores, data["published/zero_shot_scores"], 1e-5, "scores")


def test_viclip_tokens(shared: Path) -> None:
    table = golden.facts(shared, V)["tokenizer"]
    method = golden.method(shared, "viclip")
    assert len(table["texts"]) == len(table["tokens"])
    for text, expected in zip(table["texts"], table["tokens"], strict=True):
        row = method.tokens((text,))[0].tolist()
        assert row[: len(expected)] == expected and not any(row[len(expected) :]), text
    for text, expected, tokens in zip(table["texts"], table["prepared"], table["prepared_tokens"], strict=True):
        assert prepared(text) == expected, text
        row = method.tokens((expected,))[0].tolist()
        assert row[: len(tokens)] == tokens and not any(row[len(tokens) :]), expected
    assert prepared("Push-ups (knees), it's/fun!") == "push ups knees its fun"


def pair_loss(method: ClipMethod, video: Tensor, text: Tensor, media: list[int]) -> Tensor:
    """The contrastive loss of ViCLIP's training, which is no part of the method: it is only evaluated."""
    cosines = F.normalize(video, dim=-1) @ F.normalize(text, dim=-1).t() / method.temp
    same = torch.tensor([[float(a == b) for b in media] for a in media])
    rows, columns = same / same.sum(dim=1, keepdim=True), same.t() / same.t().sum(dim=1, keepdim=True)
    by_video = -(rows * F.log_softmax(cosines, dim=1)).sum(dim=1).mean()
    by_text = -(columns * F.log_softmax(cosines.t(), dim=1)).sum(dim=1).mean()
    return (by_video + by_text) / 2


def test_viclip_gradients(shared: Path) -> None:
    data, facts = golden.arrays(shared, V), golden.facts(shared, V)["loss"]
    method = viclip(shared, ensemble="none").requires_grad_(True)
    text = method.encode_text(LabelSet(tuple(facts["texts"])))[:, 0].detach()
    loss = pair_loss(method, method.encode_video(videos(shared, "published")), text, facts["index"])
    golden.close(loss, facts["value"], 5e-5, "loss")
    loss.backward()
    parameters = dict(method.named_parameters())
    for name, expected in ((n.removeprefix("loss/grad/"), v) for n, v in data.items() if n.startswith("loss/grad/")):
        own = name.removeprefix("vision_encoder.")
        gradient = parameters.get(own, parameters.get(f"backbone.clip.visual.{own}")).grad  # type: ignore[union-attr]
        golden.close(gradient, expected, max(1e-4, 1e-4 * float(np.abs(expected).max())), name)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.5])
@torch.no_grad()
def test_viclip_mixed_with_clip(shared: Path, share: float) -> None:
    """A fine-tuned file, and its mean with CLIP's weights, in which the times of frames are not mixed."""
    data, label_set = golden.arrays(shared, V), golden.labels(shared, V)
    method, stored = viclip(shared), golden.tensors(shared, "viclip_extra")
    start = method.state_dict()
    tuned = {}
    for name, value in stored.items():
        if name.startswith("fine_tuned/"):
            tower, _, rest = name.removeprefix("fine_tuned/").partition(".")
            own = f"backbone.clip.visual.{rest}" if tower == "vision_encoder" else f"backbone.clip.{rest}"
            tuned[own] = share * start[own] + (1 - share) * value
    golden.set_values(method, tuned)
    run = "wiseft0.5" if share else "fine_tuned"
    features = method.encode_video(videos(shared, "published"))
    golden.close(features, data[f"{run}/video_features"], 2e-5, "video features")
    scores = method.score(features, method.encode_text(label_set)) / SCALE
    golden.close(scores, data[f"{run}/zero_shot_scores"], 1e-5, "scores")


def test_viclip_trains_nothing(shared: Path) -> None:
    assert isinstance(golden.method(shared, "viclip"), ViClip)
    assert golden.method(shared, "viclip").parameter_counts()[1] == 0
