"""Functions of `harness.api` for scripts and notebooks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness import api
from harness.api import UserError
from tests.conftest import CLASSES, CLIPS_PER_CLASS, ROOT, machine_free

RECIPE = {"epochs": 1, "ranks": 1, "accumulate": 1, "warmup_epochs": 0}


@pytest.fixture(scope="module")
def result(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> api.RunResult:
    folder = tmp_path_factory.mktemp("scripting")
    return api.run(
        ["vanilla_clip", "vificlip"], "supervised", small_dataset, arch="mini-clip", recipe=RECIPE, views={"frames": 2},
        runs=folder / "runs", cache=folder / "cache", workers=0, quiet=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def fit(result: api.RunResult) -> api.FittedMethod:
    return api.load_fit(next(path.parent for path in result.runs.rglob("fit.json")), runs=result.runs)


def test_every_name_of_the_interface_exists() -> None:
    assert [name for name in api.__all__ if not hasattr(api, name)] == []


@pytest.mark.slow
def test_a_run_gives_its_records_and_the_same_run_reuses_them(result: api.RunResult, small_dataset: Path) -> None:
    assert (result.fits, result.evals, result.failures) == (1, 2, ())
    assert sorted(result.scores["title"]) == ["Vanilla CLIP", "ViFi-CLIP"]
    again = api.run(
        "vificlip", "supervised", small_dataset, arch="mini-clip", recipe=RECIPE, views={"frames": 2}, runs=result.runs,
        cache=result.runs.parent / "cache", workers=0, quiet=True,
    )  # fmt: skip
    assert (again.fits, again.evals, again.reused) == (0, 0, 2)
    assert len(again.records) == 1 and len(again.scores) == 1


@pytest.mark.slow
def test_the_table_of_records_has_the_scores_of_the_files(result: api.RunResult) -> None:
    frame = api.read_records(result.runs)
    for path in result.records:
        (line,) = frame[frame["record"] == str(path.relative_to(result.runs))].to_dict("records")
        assert line["top1"] == pytest.approx(json.loads(path.read_text())["metrics"]["top1"])


@pytest.mark.slow
def test_evaluate_and_predict_give_the_scores_of_the_record(
    result: api.RunResult, fit: api.FittedMethod, small_dataset: Path
) -> None:
    from results.predictions import read_predictions
    from results.record import read_record

    (path,) = [path for path in result.records if "vificlip" in path.parts]
    table = read_predictions(path.with_name(read_record(path).predictions.file))
    pairs = [(small_dataset / row.video, fit.labels.names[row.label]) for row in table.itertuples()]
    scores = api.evaluate(fit, pairs, workers=0)
    assert scores.metrics.top1 == pytest.approx(read_record(path).metrics.top1) and not scores.failed
    np.testing.assert_array_equal(scores.ids[:, 0], table["id1"])
    predictions = api.predict(fit, [file for file, _ in pairs], workers=0)
    assert [p.classes[0][0] for p in predictions] == [fit.labels.names[i] for i in table["id1"]]


@pytest.mark.slow
def test_an_untrained_method_is_evaluated_on_a_folder(small_dataset: Path) -> None:
    method = api.build_method("vanilla_clip", api.load_backbone("mini-clip"))
    scores = api.evaluate(method, small_dataset, views=api.Views(frames=2), workers=0)
    assert scores.ids.shape == (len(CLASSES) * CLIPS_PER_CLASS, 4)
    with pytest.raises(UserError, match="labels is empty"):
        api.predict(method, small_dataset)


@pytest.mark.slow
def test_compare_pairs_the_rows_of_the_run_folder(result: api.RunResult) -> None:
    comparison = api.compare("vificlip", "vanilla_clip", runs=result.runs)
    scores = dict(zip(result.scores["title"], result.scores["top1"], strict=True))
    assert comparison.parts[0].difference == pytest.approx(scores["ViFi-CLIP"] - scores["Vanilla CLIP"])


@pytest.mark.slow
def test_published_weights_are_loaded_into_a_method(
    tmp_path: Path, result: api.RunResult, fit: api.FittedMethod
) -> None:
    from harness.engine.method_weights import export

    export(fit.method, tmp_path / "w.safetensors")
    method = api.build_method("vificlip", api.load_backbone("mini-clip"))
    assert api.load_published(method, tmp_path / "w.safetensors") == "clip"
    for name, value in fit.method.state_dict().items():
        assert value.equal(method.state_dict()[name]), name


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: api.run("vificlip", "b2n", epoch=3), r"no argument of run\(\) named 'epoch'"),
        (lambda: api.run("vificlip", "b3n"), "no protocol named 'b3n'"),
        (lambda: api.run(["vificlip", "xclip"], "b2n", checkpoint="x"), "exactly one method, found 2"),
        (lambda: api.load_fit("nowhere"), "nowhere holds no finished fit"),
        (lambda: api.predict(None, ["nowhere.mp4"], worker=1), r"no argument of predict\(\) named 'worker'"),
        (lambda: api.evaluate(None, []), "videos is empty"),
        (lambda: api.evaluate(None, [("nowhere.mp4", "a")]), "1 of 1 videos do not exist"),
        (lambda: api.read_records("nowhere"), "nowhere"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(call: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        call()


@pytest.mark.slow
def test_importing_the_interface_imports_neither_torch_nor_pandas() -> None:
    code = "import sys, harness.api; sys.exit(bool({'torch', 'pandas', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def notebook_code() -> list[str]:
    cells = json.loads((ROOT / "examples" / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_the_notebook_is_short() -> None:
    lines = [line for cell in notebook_code() for line in cell.splitlines() if line.strip()]
    assert len(lines) <= 25


@pytest.mark.slow
def test_the_notebook_runs_from_clips_to_a_comparison_and_a_plot(tmp_path: Path) -> None:
    (tmp_path / "notebook.py").write_text("\n".join(notebook_code()))
    environment = machine_free({"MPLBACKEND": "Agg", "PYTHONPATH": f"{ROOT}:{ROOT / 'examples'}"})
    done = subprocess.run(
        [sys.executable, "notebook.py"], cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    assert "95 % interval" in done.stdout and "clip0.avi" in done.stdout
    assert (tmp_path / "top1.png").stat().st_size > 1000
