"""`--checkpoint`: published weights of a method are evaluated, not fitted; wrong ones are refused by name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from harness.cells.backbone import BackboneChoice
from harness.cells.exported_method import with_checkpoint
from harness.cells.request import MethodChoice
from harness.cells.resolve_method import method_row
from harness.engine.method import method_class
from harness.engine.method_weights import export
from harness.engine.model.backbone import load_backbone
from harness.spec import Recipe, Views
from harness.weights.exported import ExportedFit, metadata_of
from harness.weights.families import read_published
from results.measurement_words import division
from results.record import find_records, read_record
from tests.conftest import in_process

ASK = (
    "--protocol", "b2n", "--arch", "mini-clip", "--views", "frames=2", "--workers", "0", "--quiet", "--no-report",
    "--json",
)  # fmt: skip


def scrambled(name: str, **options: Any) -> Any:
    """A method on the tiny CLIP whose own tensors are drawn anew."""
    cls = method_class(name)
    method = cls(load_backbone("mini-clip"), cls.options_for(options, "b2n", "x", "mini", 2))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.ndim > 1:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return method


def xclip_file(path: Path) -> Path:
    """The layout that X-CLIP's authors save: OpenAI's names and its own under `model`."""
    state: dict[str, Tensor] = {}
    for name, value in scrambled("xclip").state_dict().items():
        short = name.removeprefix("backbone.clip.")
        if short.startswith("messages."):
            _, number, rest = short.split(".", 2)
            short = f"visual.transformer.resblocks.{number}.message_{rest}"
        state[short] = value
    torch.save({"model": state, "epoch": 9, "max_accuracy": 0.0}, path)
    return path


def actionclip_file(path: Path) -> Path:
    """The layout that ActionCLIP's authors save: CLIP in half precision, the fusion module wrapped."""
    state = scrambled("actionclip").state_dict()
    clip = {n.removeprefix("backbone.clip."): v.half() for n, v in state.items() if n.startswith("backbone.")}
    fusion = {n.replace("fusion.", "module."): v for n, v in state.items() if n.startswith("fusion.")}
    torch.save({"epoch": 50, "model_state_dict": clip, "fusion_model_state_dict": fusion}, path)
    return path


@pytest.fixture
def places(small_dataset: Path, tmp_path: Path) -> tuple[object, ...]:
    return ("--dataset", small_dataset, "--runs", tmp_path / "runs", "--cache", tmp_path / "cache")


@pytest.mark.parametrize(("method", "write"), [("xclip", xclip_file), ("actionclip", actionclip_file)])
def test_a_published_file_is_evaluated(
    method: str, write: Any, places: tuple[object, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "published.pth")
    assert read_published(torch.load(file, weights_only=True)).family == method
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert in_process("run", "--method", method, "--checkpoint", file, *ASK, *places) == 0
    assert "0 fits and 3 evals done" in capsys.readouterr().err
    records = [read_record(path) for path in find_records(tmp_path / "runs")]
    for record in records:
        method_id = record.measurement.method
        assert record.fit is None and method_id.checkpoint == sha256
        assert f"|init:checkpoint-{sha256[:8]}|" in record.signature and division(record.measurement) == "open"
        assert record.overlap.audits[0].source.startswith("a checkpoint, whose training data are not known")
        assert method_id.extra_data == (f"checkpoint {sha256[:8]}",)
    moved = file.rename(tmp_path / "elsewhere.pth")
    assert in_process("run", "--method", method, "--checkpoint", moved, *ASK, *places) == 0
    assert "3 cells reused" in capsys.readouterr().err


@pytest.mark.slow
def test_a_file_with_all_of_clip_needs_no_other_weights(
    places: tuple[object, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No weights of OpenAI are on this machine; the input statistics are those of ActionCLIP's original."""
    file = actionclip_file(tmp_path / "published.pth")
    ask = [a for a in ASK if a not in ("--arch", "mini-clip")]
    one = ("run", "--method", "actionclip", "--checkpoint", file, *ask, *places, "--part", "novel")
    assert in_process(*one) == 0, capsys.readouterr().err
    record = read_record(find_records(tmp_path / "runs")[0])
    model, views = record.measurement.model, record.measurement.evaluation.views
    assert model.weights == f"sha256:{record.measurement.method.checkpoint}" and model.activation == "quick_gelu"
    assert views.normalize == "clip"


@pytest.mark.slow
def test_the_statistics_of_a_checkpoint_are_those_of_its_method_or_of_its_fit(tmp_path: Path) -> None:
    for normalize, method, write in (("imagenet", "xclip", xclip_file), ("clip", "actionclip", actionclip_file)):
        file = write(tmp_path / f"{method}.pth")
        row = method_row(MethodChoice(method, checkpoint=str(file)), BackboneChoice(None, None))
        assert row.published_input(Views()).normalize == normalize
        assert isinstance(row.backbone, BackboneChoice) and row.backbone.weights == str(file)
    fit = export(scrambled("actionclip"), tmp_path / "fit.safetensors", "imagenet")
    row = method_row(MethodChoice("actionclip", checkpoint=str(fit)), BackboneChoice(None, None))
    assert row.published_input(Views()).normalize == "imagenet"


@pytest.mark.slow
def test_a_file_of_vificlip_says_what_it_lacks_and_takes_a_base(
    places: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The token embedding comes from `--base`; without it the message says for which file OpenAI's are needed."""
    state = {n.removeprefix("backbone.clip."): v for n, v in scrambled("vificlip").state_dict().items()}
    base, file = tmp_path / "base.safetensors", tmp_path / "vifi.pth"
    save_file({name: value.contiguous() for name, value in state.items()}, base)
    names = {n: f"image_encoder.{n[7:]}" if n.startswith("visual.") else f"text_encoder.{n}" for n in state}
    torch.save({"model": {names[n]: v for n, v in state.items() if "token_embedding" not in n}}, file)
    monkeypatch.setattr("harness.engine.model.tag_files.download_pretrained", None)
    monkeypatch.setenv("HOME", str(tmp_path))
    ask = [a for a in ASK if a not in ("--arch", "mini-clip")]
    one = ("run", "--method", "vificlip", "--checkpoint", file, *ask, *places, "--part", "novel")
    assert in_process(*one) != 0
    said = capsys.readouterr().err
    assert "vifi.pth (ViFi-CLIP) lacks the token embedding" in said and "--base TAG|FILE" in said
    assert in_process(*one, "--base", base) == 0, capsys.readouterr().err
    (record,) = [read_record(path) for path in find_records(tmp_path / "runs")]
    assert record.measurement.model.activation == "quick_gelu"
    choice = BackboneChoice(None, str(base)).for_checkpoint(str(file))
    assert choice.activation == "quickgelu" and choice.model_id() == record.measurement.model.unread


def test_an_export_goes_back_in(places: tuple[object, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = export(scrambled("efficient_prompt"), tmp_path / "mine.safetensors")
    assert in_process("run", "--method", "efficient_prompt", "--checkpoint", file, *ASK, *places) == 0
    scores = json.loads(capsys.readouterr().out)
    assert len(scores) == 3
    names = tmp_path / "names.txt"
    names.write_text("circle left\nsquare right\n")
    clip = next(Path(str(places[1])).rglob("*.avi"))
    request = ("--labels", names, "--method", "efficient_prompt", "--arch", "mini-clip", "--frames", 2, "--workers", 0)
    assert in_process("predict", clip, *request, "--checkpoint", file, "--quiet") == 0


def test_a_plan_refuses_the_checkpoint_of_another_method(
    places: tuple[object, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [a for a in ASK if a not in ("--workers", "0", "--quiet", "--no-report")]
    file = xclip_file(tmp_path / "x.pth")
    for method in ("vificlip", "xclip", "efficient_prompt", "lora"):
        in_process("plan", "--method", method, "--checkpoint", file, *asked, *places)
        refusals = {cell["refused"] for cell in json.loads(capsys.readouterr().out)}
        if method == "xclip":
            assert not any(refusals)
            continue
        (refusal,) = refusals
        assert "x.pth is a checkpoint of X-CLIP" in refusal and "Give --method xclip." in refusal


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_an_export_of_another_method_is_refused_even_if_its_tensors_fit(
    verb: str, places: tuple[object, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The weights of Open-VCLIP are those of CLIP alone: as ViFi-CLIP they gave a row of that name."""
    file = export(scrambled("open_vclip"), tmp_path / "mine.safetensors")
    asked = [a for a in ASK if verb == "run" or a not in ("--workers", "0", "--quiet", "--no-report")]
    for method in ("vificlip", "ost", "lora", "vanilla_clip"):
        assert in_process(verb, "--method", method, "--checkpoint", file, *asked, *places) == 2
        said = capsys.readouterr().err
        assert f"is an export of a fit of open_vclip, expected an export of {method}" in said
        assert "Give --method open_vclip, or leave --method out." in said
    assert not (tmp_path / "runs").exists()


def test_a_named_method_takes_the_options_that_its_export_states(tmp_path: Path) -> None:
    facts = ExportedFit(
        "open_vclip", {"neighbours": 2, "mixed_loss": 0.25}, "mini-clip", "mini", ("a", "b"), Views(frames=2),
        "shapes/base", Recipe(epochs=1, lr=1e-3), "0" * 16,
    )  # fmt: skip
    file = export(scrambled("open_vclip", neighbours=2), tmp_path / "mine.safetensors", facts=metadata_of(facts))
    for given, neighbours in (({}, 2), ({"neighbours": "0"}, 0)):
        choice = with_checkpoint(MethodChoice("open_vclip", given), str(file))
        assert choice.checkpoint == str(file)
        options = method_row(choice, BackboneChoice("mini-clip", None)).options.as_dict()
        assert (options["neighbours"], options["mixed_loss"]) == (neighbours, 0.25)
    assert with_checkpoint(MethodChoice("vificlip"), str(file)).options == {}
    assert with_checkpoint(MethodChoice("open_vclip"), "gone.pth").options == {}


def test_the_message_names_the_options_of_an_export(
    places: tuple[object, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = export(scrambled("aim", inner_adapter=True), tmp_path / "mine.safetensors")
    assert in_process("run", "--method", "aim", "--checkpoint", file, *ASK, *places) != 0
    assert "Give the settings of the file: --set inner_adapter=True." in capsys.readouterr().err


def test_a_file_that_does_not_fit_is_named_and_nothing_is_evaluated(
    places: tuple[object, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = xclip_file(tmp_path / "x.pth")
    content = torch.load(file, weights_only=True)
    del content["model"]["prompts_visual_proj"]
    content["model"]["mit.positional_embedding"] = torch.zeros(1, 3, 4)
    torch.save(content, file)
    for arguments, words in (
        (("--method", "xclip", "--checkpoint", file), ("prompts_visual_proj", "mit.positional_embedding: file (1, 3")),
        (("--method", "vificlip", "--checkpoint", file), ("unexpected", "messages.0.fc.weight")),
        (("--method", "xclip", "--checkpoint", tmp_path / "gone.pth"), ("gone.pth does not exist",)),
        (("--method", "xclip", "vificlip", "--checkpoint", file), ("exactly one --method",)),
        (("--method", "vanilla_clip", "--weights", file), ("--checkpoint",)),
    ):
        asked = [a for a in ASK if a not in ("--arch", "mini-clip")] if "--weights" in arguments else ASK
        assert in_process("run", *arguments, *asked, *places) in (1, 2)
        said = capsys.readouterr().err
        assert all(word in said for word in words), said
    assert not (tmp_path / "runs").is_dir() or find_records(tmp_path / "runs") == []
