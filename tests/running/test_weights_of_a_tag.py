"""Weights behind a tag: their tensors are recorded, compared on reuse, and known to plans without reading them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip import pretrained
from safetensors.torch import save_file

from harness.base.errors import UserError
from harness.cells.backbone import BackboneChoice
from harness.cells.from_request import expand
from harness.cells.plan import make_plan
from harness.cells.request import MethodChoice, Request
from harness.engine.model.backbone import create_clip
from harness.machine.compute_options import ComputeOptions
from harness.machine.settings import Settings, load_settings
from harness.running.load_fit import load_fit
from harness.running.run import execute
from harness.running.unknown_weights import read_unknown_weights
from harness.weights.index import WeightsIndex
from results.measurement import ModelId
from results.record import read_record
from tests.conftest import ROOT, in_process

ARCH, TAG = "tiny-of-tests", "some_tag"
CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 1, "layers": 1},
}
MODEL = ModelId(ARCH, TAG)
COMPUTE = ComputeOptions(device="cpu", workers=0, quiet=True)


@pytest.fixture
def architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A small architecture with a pretrained tag, known to open_clip for one test."""
    configs = dict(open_clip.factory._MODEL_CONFIGS)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / f"{ARCH}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(tmp_path / "configs")
    monkeypatch.setitem(pretrained._PRETRAINED, ARCH, {TAG: {"url": ""}})
    yield
    open_clip.factory._MODEL_CONFIGS.clear()
    open_clip.factory._MODEL_CONFIGS.update(configs)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    places = {"runs": str(tmp_path / "runs"), "cache": str(tmp_path / "cache"), "weights": str(tmp_path / "weights")}
    return load_settings(places, {"HARNESS_CONFIG": "/dev/null"})


def write_weights(settings: Settings, seed: int) -> Path:
    torch.manual_seed(seed)
    state = {name: value.clone() for name, value in create_clip(ARCH, quick_gelu=False).state_dict().items()}
    settings.weights.path.mkdir(exist_ok=True)
    path = settings.weights.path / f"{ARCH}-{TAG}.safetensors"
    save_file(state, path)
    return path


def request(small_dataset: Path, method: str) -> Request:
    recipe = {"epochs": "1", "ranks": "1", "accumulate": "1", "warmup_epochs": "0"}
    return Request(
        (MethodChoice(method),), ("b2n",), (str(small_dataset),), BackboneChoice(ARCH, TAG), recipe, {"frames": "2"},
        repeats=(1,),
    )  # fmt: skip


@pytest.mark.slow
def test_other_weights_behind_a_tag_make_cells_stale(
    architecture: None, settings: Settings, small_dataset: Path, tmp_path: Path
) -> None:
    write_weights(settings, 1)
    cells = expand(request(small_dataset, "vificlip"), settings)
    index = WeightsIndex(settings.cache.path, settings.weights.path)
    assert [s.state for s in make_plan(cells, tensors_of=index.of).fits] == ["missing"] and index.of(MODEL) == ""
    assert index.unread == [f"{ARCH}/{TAG}"], "a plan says that it does not know the weights yet"

    execute(make_plan(cells, tensors_of=index.of), settings, COMPUTE)
    record = read_record(cells.evals[0].record)
    model = record.measurement.model
    known = WeightsIndex(settings.cache.path, settings.weights.path)
    assert known.of(model) == model.tensors_sha256 != "" and known.unread == []
    assert (model.image_size, model.activation, model.text_length) == (32, "gelu", 77)
    assert {s.state for s in make_plan(cells, tensors_of=known.of).evals} == {"done"}

    write_weights(settings, 2)
    unread = WeightsIndex(settings.cache.path, settings.weights.path)
    assert unread.of(model) == "" and unread.unread == [f"{ARCH}/{TAG}"], "the file changed since it was read"
    with pytest.raises(UserError, match="with tensors of sha256"):
        load_fit(cells.fits[0].folder, settings)

    read_unknown_weights(cells, unread, settings)
    plan = make_plan(cells, tensors_of=unread.of)
    assert {s.state for s in (*plan.fits, *plan.evals)} == {"stale"}
    assert all("have different tensors" in s.reason for s in (*plan.fits, *plan.evals))
    execute(plan, settings, COMPUTE)
    again = read_record(cells.evals[0].record)
    assert again.measurement.model.tensors_sha256 != model.tensors_sha256
    fitted = [r.measurement.fitted for r in (record, again)]
    assert fitted[0] is not None and fitted[1] is not None
    assert fitted[0].weights_sha256 != fitted[1].weights_sha256


@pytest.mark.slow
def test_weights_that_are_gone_leave_finished_cells_as_they_are(
    architecture: None, settings: Settings, small_dataset: Path
) -> None:
    path = write_weights(settings, 1)
    cells = expand(request(small_dataset, "vanilla_clip"), settings)
    execute(make_plan(cells), settings, COMPUTE)
    path.unlink()
    index = WeightsIndex(settings.cache.path, settings.weights.path)
    read_unknown_weights(cells, index, settings)
    assert {s.state for s in make_plan(cells, tensors_of=index.of).evals} == {"done"}


def test_a_damaged_index_counts_as_none(settings: Settings, tmp_path: Path) -> None:
    for content in (b"", b"{", b"[]", b'{"schema": 9}', b'{"schema": 1, "a/b": 3}'):
        settings.cache.path.mkdir(exist_ok=True)
        (settings.cache.path / "weights-index.json").write_bytes(content)
        index = WeightsIndex(settings.cache.path, settings.weights.path)
        assert index.tensors_sha256("a", "b") == ""
        file = tmp_path / "w.bin"
        file.write_bytes(b"x")
        index.remember("a", "b", file, "1" * 64)
        assert index.tensors_sha256("a", "b") == "1" * 64


@pytest.mark.slow
def test_a_plan_reads_no_weights_and_says_so(
    small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = ("--dataset", small_dataset, "--runs", tmp_path / "runs", "--cache", tmp_path / "cache")
    assert in_process("plan", "--method", "vanilla_clip", "--protocol", "b2n", *places) == 0
    assert "weights not read yet: ViT-B-16/openai" in capsys.readouterr().err
    code = (
        "import sys; from harness.cli import main; "
        "main(['plan', '--method', 'vificlip', '--protocol', 'b2n']); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
