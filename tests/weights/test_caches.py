"""Files of tags in the caches of this machine: found without network, in a fixed order."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.api import UserError
from harness.cells.architectures import weights_on_disk
from harness.cells.backbone import BackboneChoice
from harness.engine.model import tag_files
from harness.engine.model.tag_files import TagConfig, checksum_notes, find_tag_file

SHA = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
CONFIG = TagConfig(
    url=f"https://openaipublic.azureedge.net/clip/models/{SHA}/ViT-B-32.pt",
    hf_hub="timm/vit_base_patch32_clip_224.openai/",
)


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: TagConfig) -> str:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(tag_files, "download_pretrained", refuse)
    monkeypatch.setattr(tag_files, "stay_offline_without_network", lambda: None)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"weights")
    return path


def test_files_of_a_tag_are_looked_for_in_a_fixed_order(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    choice = BackboneChoice("ViT-B-32", "openai")
    with pytest.raises(UserError, match="ConnectionError: no route to host") as refused:
        find_tag_file("ViT-B-32", "openai", CONFIG, weights)
    assert "ViT-B-32-openai.safetensors" in refused.value.hint and weights_on_disk(choice, weights) is False
    snapshot = "models--timm--vit_base_patch32_clip_224.openai/snapshots/abc"
    # The last choice first, so that each file that is added is preferred to those before it.
    for path in (
        tmp_path / ".cache" / "clip" / "ViT-B-32.pt", tmp_path / "hub" / snapshot / "open_clip_pytorch_model.bin",
        tmp_path / "hub" / snapshot / "open_clip_model.safetensors",
        weights / snapshot / "open_clip_model.safetensors", weights / "ViT-B-32.pt", weights / "ViT-B-32-openai.bin",
        weights / "ViT-B-32-openai.safetensors",
    ):  # fmt: skip
        put(path)
        assert find_tag_file("ViT-B-32", "openai", CONFIG, weights) == path
        assert weights_on_disk(choice, weights)
    assert find_tag_file("ViT-B-32-quickgelu", "openai", CONFIG, weights) == weights / "ViT-B-32-openai.safetensors"


def test_a_file_that_is_not_openais_is_noted(tmp_path: Path) -> None:
    path = put(tmp_path / ".cache" / "clip" / "ViT-B-32.pt")
    (note,) = checksum_notes(path, CONFIG)
    assert SHA in note and "these are other weights" in note
    assert checksum_notes(path, TagConfig(url="https://example.org/ViT-B-32.pt")) == ()
