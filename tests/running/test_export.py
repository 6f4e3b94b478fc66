"""`export`: weights that state their fit, a model card beside them, and their way back without flags."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import api
from harness.weights.exported import read_exported
from results.fit_file import read_fit_file
from results.record import find_records, read_record
from tests.conftest import in_process


@pytest.fixture(scope="module")
def fit(finished_runs: Path) -> Path:
    return next(finished_runs.rglob("fit.json")).parent


@pytest.fixture(scope="module")
def exported(fit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "weights of a fit.safetensors"
    assert in_process("export", fit, "--out", out) == 0
    return out


@pytest.mark.slow
def test_the_file_states_its_fit_and_the_card_shows_it(fit: Path, exported: Path) -> None:
    content, facts = read_fit_file(fit), read_exported(exported)
    assert content is not None and facts is not None
    training = content.described.training
    assert (facts.method, facts.arch, facts.classes) == ("vificlip", "mini-clip", content.classes)
    assert (facts.views, facts.recipe, facts.key) == (training.views, training.recipe, content.key)
    card = exported.with_name("weights of a fit.card.md").read_text()
    assert f"| lr | {training.recipe.lr:g} |" in card and content.classes[0] in card
    assert f"--checkpoint '{exported.name}'" in card
    for path in find_records(fit):
        record = read_record(path)
        assert f"{record.metrics.top1:.2f}" in card and record.signature.replace("|", "\\|") in card


@pytest.mark.slow
def test_predict_and_run_need_no_other_flag(
    fit: Path, exported: Path, small_dataset: Path, finished_runs: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The same predictions as those of the fit, and the scores of its records."""
    clip = small_dataset / "circle left" / "clip0.avi"
    printed = []
    for source in (("--checkpoint", exported), ("--fit", fit)):
        assert in_process("predict", clip, *source, "--workers", "0", "--json", "--top-k", "2") == 0
        printed.append(json.loads(capsys.readouterr().out))
    assert printed[0][0]["classes"] == [[name, pytest.approx(p, abs=1e-6)] for name, p in printed[1][0]["classes"]]
    run = ("--checkpoint", exported, "--protocol", "b2n", "--part", "joint", "--dataset", small_dataset)
    options = ("--views", "frames=2", "--workers", "0", "--quiet", "--no-report", "--json", "--runs", tmp_path / "runs")
    assert in_process("run", *run, *options, "--cache", finished_runs.parent / "cache") == 0
    (row,) = json.loads(capsys.readouterr().out)
    records = [read_record(path) for path in find_records(finished_runs)]
    (joint,) = [record for record in records if record.measurement.protocol.part == "joint"]
    assert row["top1"] == joint.metrics.top1


@pytest.mark.slow
def test_python_loads_it_too(fit: Path, exported: Path, small_dataset: Path, finished_runs: Path) -> None:
    model, fitted = api.load_export(exported), api.load_fit(fit, runs=finished_runs)
    assert (model.labels, model.views) == (fitted.labels, fitted.views)
    for name, value in fitted.method.state_dict().items():
        assert value.equal(model.method.state_dict()[name]), name
    clip = small_dataset / "square left" / "clip1.avi"
    first, second = (api.predict(source, clip, workers=0)[0].classes for source in (model, fitted))
    assert dict(first) == pytest.approx(dict(second), abs=1e-6)


@pytest.mark.parametrize("out", ["w.pth", "w", "folder.safetensors"])
def test_another_suffix_is_refused_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    assert in_process("export", tmp_path / "no fit", "--out", tmp_path / out) == 2
    assert "expected a file that ends in .safetensors" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["folder.safetensors"]


@pytest.mark.slow
def test_a_file_without_facts_needs_its_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from harness.engine.method_weights import export

    file = export(api.build_method("vificlip", api.load_backbone("mini-clip")), tmp_path / "w.safetensors")
    assert in_process("run", "--checkpoint", file, "--protocol", "b2n", "--dataset", "mini_target") == 2
    assert "--method is missing: the checkpoint" in capsys.readouterr().err
    with pytest.raises(api.UserError, match="does not state a fit"):
        api.load_export(file)
