"""Open-VCLIP and FROSTER without reference outputs: neighbours, draws, published files, texts from a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.api import LabelSet, Recipe, UserError, Views, build_method, load_published
from harness.engine.compute.device import Device
from harness.engine.contract.tiny_clip import tiny_backbone
from harness.engine.method import ClipMethod
from harness.engine.training.step import batch_loss
from harness.engine.video.batches import Draw
from harness.engine.video.loaders import FitBatch
from methods._neighbours import with_neighbours
from methods.froster import BARE

LABELS = LabelSet(("yo yo", "archery", "brush hair"))
NAMES = ("open_vclip", "froster")


def video(clips: int = 1, frames: int = 4) -> Tensor:
    return torch.randn(clips, frames, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def build(name: str, seed: int = 0, **options: str | float) -> ClipMethod:
    return build_method(name, tiny_backbone(seed), **options).eval()


def test_a_missing_neighbour_is_a_zero_that_counts() -> None:
    x = torch.arange(1.0, 7.0).view(1, 3, 2, 1)  # three frames of two tokens
    near = with_neighbours(x, 1)[0, :, :, 0].tolist()
    assert near == [[0, 0, 1, 2, 3, 4], [1, 2, 3, 4, 5, 6], [3, 4, 5, 6, 0, 0]]
    assert torch.equal(with_neighbours(x, 0), x)


@pytest.mark.parametrize("reach", [0, 1, 2])
@torch.no_grad()
def test_a_frame_sees_as_far_as_its_blocks_reach(reach: int) -> None:
    """A change of the first frame changes frames up to `reach` per block, and no others."""
    method = build("open_vclip", neighbours=reach)
    clip = video(frames=8)
    other = clip.clone()
    other[:, 0] += 1.0
    changed = (method.encode_frames(clip) - method.encode_frames(other)).abs().amax(dim=(0, 2)) > 1e-6
    far = min(8, 1 + reach * len(list(method.backbone.vision_blocks)))
    assert changed.tolist() == [True] * far + [False] * (8 - far)


@torch.no_grad()
def test_without_neighbours_the_tower_is_clips() -> None:
    method, clip = build("open_vclip", neighbours=0), video()
    plain = method.backbone.encode_images(clip.flatten(0, 1))
    torch.testing.assert_close(method.encode_frames(clip).flatten(0, 1), plain)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_draws_do_not_depend_on_the_device_batch(name: str) -> None:
    method = build(name).train()
    recipe = Recipe(1, 1.0, micro_batch=2, ranks=2, accumulate=1, mixup=0.0, cutmix=0.0)
    loss = batch_loss(method, LABELS, recipe, Views(frames=2), Device("cpu", "fp32"))
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 2, 3, 32, 32), dtype=np.uint8))
    labels, draws = torch.tensor([0, 1, 2, 0]), [Draw(i, 5, i, i // 2) for i in range(4)]
    whole = loss(FitBatch(frames, labels, draws))
    parts = [loss(FitBatch(frames[k : k + 2], labels[k : k + 2], draws[k : k + 2])) for k in (0, 2)]
    torch.testing.assert_close(whole, torch.stack(parts).mean())
    other = loss(FitBatch(frames, labels, [Draw(d.index, 6, d.position, d.group) for d in draws]))
    # At CLIP's own weights the mixed weights are the weights, whatever their share; the template matters at once.
    assert (abs(float((other - whole).detach())) > 1e-6) is (name == "froster")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_published_files(name: str, tmp_path: Path) -> None:
    """Files with the names of the originals: during training with the teacher, averaged without it."""
    source = build(name, seed=1)
    state = {n.replace("backbone.clip.", "model."): v for n, v in source.state_dict().items()}
    teacher = {n.replace("model.", "raw_model."): torch.zeros_like(v) for n, v in state.items() if "projector" not in n}
    assert {"model.visual.proj", "model.logit_scale"} <= set(state)
    epoch = {
        "epoch": 11, "model_state": state | (teacher if name == "froster" else {}), "optimizer_state": {"state": {}},
        "cfg": "TRAIN:\n  ENABLE: True\n", "scaler_state": {},
    }  # fmt: skip
    for file, content in (("checkpoint_epoch_00012.pyth", epoch), ("swa_2_22.pth", {"model_state": state})):
        path = tmp_path / file
        torch.save(content, path)
        target = build(name, seed=2)
        assert load_published(target, path) == name
        for key, value in source.state_dict().items():
            assert torch.equal(target.state_dict()[key], value), key
    other = NAMES[1 - NAMES.index(name)]
    with pytest.raises(UserError, match="projector") as caught:
        load_published(build(other), path)
    assert f"--method {name}" in caught.value.hint


@pytest.mark.slow
def test_froster_reads_entries_from_a_file(tmp_path: Path) -> None:
    texts = {"yo yo": "yo yo: a toy on a string", "archery": "archery: someone aims", "brush hair": "brush hair"}
    file = tmp_path / "texts.json"
    content = {"form": "class texts 1", "source": "llm", "sections": [{"name": "a", "texts": texts}]}
    file.write_text(json.dumps(content))
    method = build("froster", class_texts=str(file))
    assert method.texts(LABELS, BARE) == tuple(texts.values())
    assert method.texts(LABELS, "a photo of {}.") == (
        "a photo of yo yo. yo yo: a toy on a string", "a photo of archery. archery: someone aims",
        "a photo of brush hair. brush hair",
    )  # fmt: skip
    assert build("froster").texts(LABELS, "a photo of {}.")[1] == "a photo of archery. archery"


@pytest.mark.slow
def test_clips_own_weights_are_neither_trained_nor_saved() -> None:
    for name in NAMES:
        method = build(name)
        assert not [n for n in method.state_dict() if n.startswith("initial.")]
        assert method.initial.values() and not any(v.requires_grad for v in method.initial.values().values())
    assert not build("open_vclip", mixed_loss=0.0).initial.values()
