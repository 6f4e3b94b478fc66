"""The identity of weight files in measurements, and what a plan says about them before anything is computed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from harness.api import UserError
from harness.cells.backbone import BackboneChoice
from harness.weights.describe import describe
from harness.weights.hub import is_current
from harness.weights.identity import request_of
from harness.weights.sizes import architectures_of, known_architectures, named, states_quick_gelu
from tests.conftest import in_process
from tests.weights import fabricate
from tests.weights.fabricate import SCALARS, state


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    save_file(state(), tmp_path / "plain.safetensors")
    return tmp_path / "plain.safetensors"


def test_two_activations_of_a_file_are_two_models(plain: Path) -> None:
    models = [BackboneChoice(None, str(plain), name).model_id() for name in ("gelu", "quickgelu")]
    assert [model.arch for model in models] == ["inferred-gelu", "inferred-quickgelu"]
    assert models[0].weights == models[1].weights
    arches = [BackboneChoice("ViT-B-16", str(plain), name).model_id().arch for name in ("gelu", "quickgelu")]
    assert arches == ["ViT-B-16", "ViT-B-16-quickgelu"]
    assert BackboneChoice("ViT-S-16", str(plain), "quickgelu").model_id().arch == "ViT-S-16-quickgelu"
    for model in models:
        assert BackboneChoice.for_model(model, str(plain)).model_id() == model
    assert request_of(str(plain), "ViT-B-16") == ("ViT-B-16", "gelu")


@pytest.mark.slow
def test_the_content_of_a_folder_is_its_identity(tmp_path: Path, plain: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    for folder, activation in zip(folders, ("quick_gelu", "quick_gelu", "gelu"), strict=True):
        folder.mkdir()
        save_file(fabricate.transformers_state(state()), folder / "model.safetensors")
        (folder / "config.json").write_text(fabricate.transformers_config(activation))
    models = [BackboneChoice(None, str(folder)).model_id() for folder in folders]
    assert models[0] == models[1] != models[2] and models[0].weights.startswith("sha256:")
    assert BackboneChoice(f"local-dir:{folders[0]}", None).model_id() == models[0]
    assert BackboneChoice("hf-hub:o/n", None).model_id().weights == "hf-hub:o/n"
    with pytest.raises(UserError, match="which names weights"):
        BackboneChoice("hf-hub:o/n", "openai")


def test_the_base_of_a_vificlip_file_is_part_of_its_identity(tmp_path: Path, plain: Path) -> None:
    torch.save({"model": {f"image_encoder.{n}": v for n, v in state().items()}}, tmp_path / "vifi.pth")
    weights = str(tmp_path / "vifi.pth")
    models = [BackboneChoice(None, weights, base=base).model_id() for base in (None, "openai", str(plain))]
    assert models[0] == models[1] != models[2]


@pytest.mark.parametrize("arch", ["ViT-B-16", "ViT-B-32-quickgelu", "ViT-H-14", "RN50", "ViT-L-14-336"])
def test_an_architecture_is_found_by_its_shapes(arch: str) -> None:
    from harness.weights.sizes import _known_sizes

    assert architectures_of(_known_sizes()[arch]) == (arch.removesuffix("-quickgelu"),)
    assert named(arch, quick_gelu=True).endswith("-quickgelu") and states_quick_gelu(named(arch, quick_gelu=True))
    assert {arch, named(arch, quick_gelu=True)} <= known_architectures()


@pytest.mark.slow
def test_shapes_of_openai_without_its_tensors(tmp_path: Path) -> None:
    """A header with the shapes of ViT-B/32, without values: 600 MB that are not written."""
    from open_clip import create_model

    with torch.device("meta"):
        shapes = {n: v.shape for n, v in create_model("ViT-B-32", device="meta").state_dict().items()}
    header, end = {}, 0
    for name, shape in [*shapes.items(), *((name, ()) for name in SCALARS)]:
        begin, end = end, end + 4 * shape.numel() if name in shapes else end + 4
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
    content = json.dumps(header).encode()
    with (tmp_path / "w").open("wb") as file:
        file.write(len(content).to_bytes(8, "little") + content)
        file.truncate(8 + len(content) + end)
    described = describe(tmp_path / "w")
    assert described.architecture("quick_gelu") == "ViT-B-32-quickgelu" and described.title == "CLIP of OpenAI"


@pytest.mark.slow
def test_a_plan_refuses_a_file_whose_activation_is_not_known(
    plain: Path, tmp_path: Path, small_dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = ("plan", "--method", "vanilla_clip", "--protocol", "b2n", "--dataset", small_dataset, "--runs", tmp_path)
    assert in_process(*plan, "--weights", plain) == 2
    assert "does not state the activation" in capsys.readouterr().err
    assert in_process(*plan, "--weights", plain, "--activation", "gelu") == 0
    assert in_process(*plan, "--weights", plain, "--activation", "gelu", "--arch", "ViT-B-16-quickgelu") == 2
    assert in_process(*plan, "--arch", "mini-clip", "--activation", "gelu") == 2
    assert "--activation is given, but --arch mini-clip takes none" in capsys.readouterr().err


def test_a_file_of_an_older_revision_in_the_cache_of_the_hub_is_not_current(tmp_path: Path) -> None:
    (tmp_path / "refs").mkdir()
    (tmp_path / "refs" / "main").write_text("new")
    assert is_current(tmp_path / "snapshots" / "new" / "w") and not is_current(tmp_path / "snapshots" / "old" / "w")
    assert is_current(tmp_path / "w")
