"""Every form in which people have weights loads to equal tensors, recognised by content and never by suffix."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from harness.api import Backbone, UserError, load_backbone
from tests.weights import fabricate
from tests.weights.fabricate import CONFIG, SCALARS, state

QUICK = "quickgelu"
Write = Callable[[Path], str | Path]


@pytest.fixture
def architectures(tmp_path: Path) -> Iterator[None]:
    """Architectures `tiny`, `tiny-quickgelu`, and `wide` with a larger image and a longer text, for one test."""
    known = dict(open_clip.factory._MODEL_CONFIGS)
    folder = tmp_path / "configs"
    folder.mkdir()
    wide = json.loads(json.dumps(CONFIG))
    wide["vision_cfg"]["image_size"], wide["text_cfg"]["context_length"] = 32, 24
    for name, config in (("tiny", CONFIG), ("tiny-quickgelu", {**CONFIG, "quick_gelu": True}), ("wide", wide)):
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    yield
    open_clip.factory._MODEL_CONFIGS.clear()
    open_clip.factory._MODEL_CONFIGS.update(known)


def equal(backbone: Backbone, expected: dict[str, Tensor] | None = None) -> bool:
    found = backbone.clip.state_dict()
    return all(torch.equal(found[n].reshape(v.shape), v) for n, v in (expected or state()).items())


def saved(name: str, wrap: Callable[[dict[str, Tensor]], object] = dict) -> Write:
    def write(folder: Path) -> Path:
        torch.save(wrap(state()), folder / name)
        return folder / name

    return write


def as_bytes(name: str, content: Callable[[], bytes]) -> Write:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content())
        return folder / name

    return write


def safe(name: str, rename: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict) -> Write:
    def write(folder: Path) -> Path:
        save_file(rename(state()), folder / name)
        return folder / name

    return write


def hub_folder(folder: Path) -> Path:
    """The cache of the hub: a snapshot of links to blobs without suffix."""
    snapshot, blobs = folder / "models--o--n" / "snapshots" / "abc", folder / "models--o--n" / "blobs"
    (folder / "models--o--n" / "refs").mkdir(parents=True)
    (folder / "models--o--n" / "refs" / "main").write_text("abc")
    for path in (snapshot, blobs):
        path.mkdir(parents=True)
    save_file(fabricate.transformers_state(state()), blobs / "0f")
    (snapshot / "model.safetensors").symlink_to(blobs / "0f")
    (snapshot / "config.json").write_text(fabricate.transformers_config())
    return folder / "models--o--n"


PLAIN: dict[str, Write] = {
    "state dict": saved("a.pt"), "checkpoint of open_clip": saved(
        "a.pt", lambda s: {"epoch": 1, "state_dict": {f"module.{n}": v for n, v in s.items()}, "optimizer": {"x": [1]}}
    ),
    "parameters": saved("a.pth", lambda s: {n: torch.nn.Parameter(v) for n, v in s.items()}),
    "fp64": saved("a.pt", lambda s: {n: v.double() for n, v in s.items()}),
    "compiled": saved("a.pt", lambda s: {f"_orig_mod.{n}": v for n, v in s.items()}),
    "safetensors": safe("a.safetensors"),
    "safetensors named .pt": safe("a.pt"), "safetensors without suffix": safe("blob"),
    "zip named .safetensors": saved("a.safetensors"), "zip without suffix": saved("blob"),
    "legacy": as_bytes("a.pth", lambda: fabricate.legacy({"state_dict": state()})),
    "legacy named .safetensors": as_bytes("a.safetensors", lambda: fabricate.legacy(state())),
    "index of safetensors": lambda folder: fabricate.sharded(folder, state(), save_file),
    "index of .bin": lambda folder: fabricate.sharded(folder, state(), torch.save),
    "transformers": safe("model.safetensors", fabricate.transformers_state),
    "transformers .bin": saved("pytorch_model.bin", fabricate.transformers_state),
    "sharded transformers": lambda folder: fabricate.sharded(folder, fabricate.transformers_state(state()), save_file),
}  # fmt: skip
"""Forms that do not state their activation."""


@pytest.mark.slow
@pytest.mark.parametrize("form", PLAIN)
def test_a_file_in_every_form_loads_to_equal_tensors(form: str, tmp_path: Path) -> None:
    path = PLAIN[form](tmp_path)
    with pytest.raises(UserError, match="does not state the activation") as refused:
        load_backbone(weights=path)
    assert "--activation quickgelu" in refused.value.hint and "--activation gelu" in refused.value.hint
    loaded = load_backbone(weights=path, activation=QUICK)
    assert loaded.facts.quick_gelu and loaded.facts.arch == "inferred" and equal(loaded)


@pytest.mark.slow
def test_fp16_bf16_and_fp8_load_as_rounded(tmp_path: Path) -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float8_e4m3fn):
        rounded = {n: v.to(dtype) for n, v in state().items()}
        for path, write in ((tmp_path / "a.pt", torch.save), (tmp_path / "a.safetensors", save_file)):
            write(rounded, path)
            assert equal(load_backbone(weights=path, activation=QUICK), {n: v.float() for n, v in rounded.items()})


def in_folder(name: str, config: dict[str, str], rename: Callable[..., dict[str, Tensor]] = dict) -> Write:
    def write(folder: Path) -> Path:
        folder = folder / "hub"
        folder.mkdir()
        save_file(rename(state()), folder / name)
        for file, text in config.items():
            (folder / file).write_text(text)
        return folder

    return write


OPEN_CLIP = {"open_clip_config.json": json.dumps({"model_cfg": {**CONFIG, "quick_gelu": True}})}


def local_dir(folder: Path) -> str:
    return f"local-dir:{in_folder('open_clip_model.safetensors', OPEN_CLIP)(folder)}"


def scalars(folder: Path) -> Path:
    torch.save(state() | {n: torch.tensor(v) for n, v in SCALARS.items()}, folder / "a.bin")
    return folder / "a.bin"


def archive(folder: Path) -> Path:
    fabricate.torchscript(folder / "a.bin", state())
    return folder / "a.bin"


STATED: dict[str, Write] = {
    "TorchScript of OpenAI": archive, "OpenAI's scalars": scalars,
    "folder of open_clip": in_folder("open_clip_model.safetensors", OPEN_CLIP), "local-dir": local_dir,
    "folder of transformers": in_folder(
        "model.safetensors", {"config.json": fabricate.transformers_config()}, fabricate.transformers_state
    ),
    "cache of the hub": hub_folder,
}  # fmt: skip
"""Forms that state QuickGELU."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
@pytest.mark.parametrize("form", STATED)
def test_a_form_that_states_its_activation(form: str, tmp_path: Path, architectures: None) -> None:
    weights = STATED[form](tmp_path)
    loaded = load_backbone(weights=weights)
    assert loaded.facts.quick_gelu and equal(loaded)
    assert equal(load_backbone("tiny-quickgelu", weights))
    with pytest.raises(UserError, match=r"needs QuickGELU .*, but --arch tiny computes GELU") as refused:
        load_backbone("tiny", weights)
    assert "leave --arch out" in refused.value.hint
    with pytest.raises(UserError, match="--activation states another"):
        load_backbone(weights=weights, activation="gelu")


@pytest.mark.slow
def test_gelu_is_stated_by_a_folder_and_by_an_export(tmp_path: Path, architectures: None) -> None:
    folder = in_folder("open_clip_model.safetensors", {"open_clip_config.json": json.dumps({"model_cfg": CONFIG})})(
        tmp_path
    )
    assert not load_backbone(weights=folder).facts.quick_gelu
    with pytest.raises(UserError, match="computes QuickGELU"):
        load_backbone("tiny-quickgelu", folder)
    plain = safe("plain.safetensors")(tmp_path)
    assert not load_backbone("tiny", plain, activation="gelu").facts.quick_gelu
    assert load_backbone("tiny", plain, activation=QUICK).facts.quick_gelu
    assert load_backbone("tiny-quickgelu", plain).facts.quick_gelu
    for arguments in ({"arch": "tiny-quickgelu", "activation": "gelu"}, {"arch": "tiny"}, {"activation": "relu"}):
        with pytest.raises(UserError, match="activation"):
            load_backbone(weights=plain, **arguments)


@pytest.mark.slow
def test_another_image_size_and_text_length_are_interpolated_as_open_clip_does(
    tmp_path: Path, architectures: None
) -> None:
    path = safe("a.safetensors")(tmp_path)
    reference = open_clip.create_model("wide", pretrained=str(path))
    loaded = load_backbone("wide", path, activation="gelu")
    assert all(torch.equal(loaded.clip.state_dict()[n], v) for n, v in reference.state_dict().items())
    assert {note.split()[0] for note in loaded.notes} == {"visual.positional_embedding", "positional_embedding"}
    with torch.no_grad():
        image = torch.ones(1, 3, 32, 32)
        expected = reference.eval().encode_image(image)
        assert torch.equal(loaded.clip.encode_image(image), expected)
        # A CPU computes the features in fewer passes, which differ by rounding.
        torch.testing.assert_close(loaded.encode_images(image), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_attention_heads_that_a_configuration_states_are_used(tmp_path: Path, architectures: None) -> None:
    config = {"config.json": fabricate.transformers_config(heads=4)}
    folder = in_folder("model.safetensors", config, fabricate.transformers_state)(tmp_path)
    assert load_backbone(weights=folder).vision_blocks[0].attn.num_heads == 4
    with pytest.raises(UserError, match="states 4 and 1 attention heads, tiny-quickgelu has 2 and 1"):
        load_backbone("tiny-quickgelu", folder)


@pytest.mark.slow
def test_a_repository_of_the_hub_in_the_cache_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_folder(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("harness.engine.model.tag_files.hf_hub_download", None)
    loaded = load_backbone(weights="hf-hub:o/n")
    assert loaded.facts.quick_gelu and equal(loaded) and loaded.file is not None
    with pytest.raises(UserError, match="expected hf-hub:ORG/NAME"):
        load_backbone(weights="hf-hub:../n")


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    for value in (float("nan"), float("inf")):
        broken = state()
        broken["visual.proj"][1, 2] = value
        save_file(broken, tmp_path / "a.safetensors")
        with pytest.raises(UserError, match=r"not finite in 1 tensors \(first: visual.proj\)"):
            load_backbone(weights=tmp_path / "a.safetensors", activation=QUICK)
