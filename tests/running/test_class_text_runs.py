"""A whole run with a file of class texts: fit, evals, loaded fit, and a file that was moved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.api import UserError, load_fit
from results.record import find_records, read_record
from tests.conftest import TINY_RUN, in_process


@pytest.mark.slow
def test_a_run_with_class_texts(small_dataset: Path, tmp_path: Path) -> None:
    classes = sorted(path.name for path in small_dataset.iterdir() if path.is_dir())
    texts = {
        name: {"spatial": [f"a {name}", "a dark ground"], "temporal": [f"the {name} starts", "it moves", "it ends"]}
        for name in classes
    }
    file, runs = tmp_path / "texts.json", tmp_path / "runs"
    file.write_text(json.dumps({"form": "class texts 1", "source": "human", "texts": texts}))
    places = ("--dataset", small_dataset, "--runs", runs, "--cache", tmp_path / "cache")
    assert in_process("run", "--method", f"ost:class_texts={file}", *TINY_RUN, *places) == 0
    records = [read_record(path) for path in find_records(runs)]
    assert {record.measurement.method.class_text for record in records} == {"human-written"}
    assert {record.method.title for record in records} == {"OST"} and len(records) == 3
    fit = next(runs.rglob("fit.json")).parent
    model = load_fit(fit)
    assert model.method.texts_of(model.labels, "temporal")[0] == tuple(texts[model.labels.names[0]]["temporal"])
    shutil.move(file, moved := tmp_path / "moved.json")
    with pytest.raises(UserError, match="class_texts"):
        load_fit(fit)
    assert load_fit(fit, files={"class_texts": str(moved)}).labels == model.labels
