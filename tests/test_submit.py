"""The verb `submit` on results of real runs."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import save_file

from harness.engine.contract.tiny_clip import tiny_state
from results.predictions import ID_COLUMNS, read_predictions, write_predictions
from results.record import PredictionsFile, find_records, read_record, write_record
from results.statistics.metrics import accuracies
from results.submission.rules import GROUPS, RULES
from tests.conftest import ROOT, in_process
from tests.results.submission.keepers import appoint, new_key
from tests.running.test_parents import PLUGIN


def test_a_real_fit_packs_and_breaks_only_the_rules_that_its_request_broke(
    finished_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One repeat on a dataset of one's own: every F and A rule holds, so the layout is the one that `run` writes."""
    out = tmp_path / "a.zip"
    assert in_process("submit", "pack", "vificlip", "--weights", "--runs", finished_runs, "--out", out) == 0
    assert in_process("submit", "check", out, "--json") == 1
    data = json.loads(capsys.readouterr().out)["submissions"][0]
    errors = {finding["rule"] for finding in data["findings"] if finding["severity"] == "error"}
    # An own dataset is in the open division, so that its changed recipe is not an error.
    assert errors == {"P002"}, data["findings"]
    assert data["records"] == 3 and data["name"] == "vificlip/v1"


def test_a_method_without_records_is_refused_with_the_way_out(finished_runs: Path, tmp_path: Path, capsys) -> None:
    assert in_process("submit", "pack", "vifi", "--runs", finished_runs, "--out", tmp_path / "a.zip") == 2
    err = capsys.readouterr().err
    assert "vificlip" in err and "harness run" in err


@pytest.mark.slow
def test_a_quick_look_beside_the_whole_row_is_not_packed(
    embedded_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other views are another row: the verb names both, and one is chosen by its key."""
    runs, out = tmp_path / "runs", tmp_path / "a.zip"
    shutil.copytree(embedded_runs, runs)
    quick = ("--method", "vanilla_clip", "--protocol", "few_shot", "--runs", runs, "--no-report", "--quiet")
    assert in_process("run", *quick, "--views", "frames=1", "--shots", "2", "--workers", "0") == 0
    capsys.readouterr()
    assert in_process("submit", "pack", "vanilla_clip", "--runs", runs, "--out", out) == 2
    err = capsys.readouterr().err
    assert "2 variants" in err and "views frames 1" in err and "views frames 4" in err and "--row" in err
    (row,) = re.findall(r"row (\w+): .*views frames 4", err)
    assert not out.exists()
    assert in_process("submit", "pack", "vanilla_clip", "--runs", runs, "--out", out, "--row", row) == 0
    assert in_process("submit", "check", out, "--root", tmp_path) == 0


@pytest.mark.slow
def test_options_and_recipe_settings_choose_rows(
    finished_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ("--runs", finished_runs, "--out", tmp_path / "a.zip")
    assert in_process("submit", "pack", "vificlip", *out, "--recipe", "epochs=1") == 0
    assert "changed recipe" in capsys.readouterr().err
    for method, more, reason in (
        ("vificlip:template='a {}'", (), "option template is a photo of a {}., requested is a {}"),
        ("vificlip", ("--recipe", "epochs=2"), "recipe setting epochs is 1, requested is 2"),
        ("vificlip", ("--method-version", "9"), "packed is 9"),
    ):
        assert in_process("submit", "pack", method, *out, *more) == 2
        assert reason in capsys.readouterr().err


@pytest.mark.slow
def test_a_damaged_record_is_named_and_the_file_is_written(
    embedded_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, out = tmp_path / "runs", tmp_path / "a.zip"
    shutil.copytree(embedded_runs, runs)
    other = runs / "mini-clip" / "theirs" / "untrained" / "evals" / "x.record.json"
    other.parent.mkdir(parents=True)
    other.write_text("{")
    assert in_process("submit", "pack", "vanilla_clip", "--runs", runs, "--out", out) == 1
    err = capsys.readouterr().err
    assert str(other) in err and "packed 4 records" in err
    assert in_process("submit", "check", out, "--root", tmp_path) == 0
    mine = next(path for path in find_records(runs) if path != other)
    mine.write_text(mine.read_text()[:200])
    assert in_process("submit", "pack", "vanilla_clip", "--runs", runs, "--out", out) == 1
    err = capsys.readouterr().err
    assert f"{mine}" in err and "may belong to the packed method" in err and "packed 3 records" in err


def test_nothing_at_a_path_is_bad_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert in_process("submit", "check", tmp_path / "none.zip") == 2
    assert "no submission" in capsys.readouterr().err


@pytest.fixture(scope="module")
def embedded_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run on the embedded benchmark: four evals of the untrained method, measured once."""
    runs = tmp_path_factory.mktemp("embedded") / "runs"
    arguments = ("--method", "vanilla_clip", "--protocol", "few_shot", "--runs", runs, "--no-report", "--quiet")
    assert in_process("run", *arguments, "--workers", "0") == 0
    return runs


def test_a_real_run_is_packed_checked_taken_over_and_reproduced(
    embedded_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The way of docs/submitting.md from records to a row with status `reproduced`."""
    file, board = tmp_path / "vanilla_clip.zip", tmp_path / "board"
    assert in_process("submit", "pack", "vanilla_clip", "--runs", embedded_runs, "--out", file) == 0
    first = file.read_bytes()
    assert in_process("submit", "pack", "vanilla_clip", "--runs", embedded_runs, "--out", file) == 0
    assert file.read_bytes() == first

    places = ("--root", tmp_path)
    capsys.readouterr()
    assert in_process("submit", "check", file, *places, "--accept", board, "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)["submissions"]
    assert found["passed"] and found["records"] == 4 and len(found["scores"]) == 4
    assert statuses(board) == {"verified"}

    appoint(tmp_path, key := new_key(tmp_path / "keys" / "keeper"))
    again = ("submit", "reproduce", file, *places, "--seed", 1, "--quiet", "--workers", "0", "--json")
    assert in_process(*again, "--sign", key) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["passed"] and counts(done) == (4 * 24, 0)
    assert max(record["largest"] for record in done["records"]) < 1e-3
    assert in_process("submit", "check", board / "vanilla_clip" / "v1", *places) == 1  # a board's copy is no submission
    assert in_process("submit", "check", file, *places, "--accept", board) == 0
    assert statuses(board) == {"reproduced"}


def counts(attestation: dict) -> tuple[int, int]:
    """Sampled videos and flips of an attestation."""
    return tuple(sum(record[name] for record in attestation["records"]) for name in ("videos", "flips"))


def statuses(board: Path) -> set[str]:
    return {read_record(path).status for path in find_records(board)}


def test_made_up_predictions_pass_the_check_and_not_the_reproduction(
    embedded_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The threat model in one test: labels are public, so only running it again tells."""
    runs = tmp_path / "runs"
    shutil.copytree(embedded_runs, runs)
    for path in find_records(runs):
        record = read_record(path)
        table = path.with_name(record.predictions.file)
        frame = read_predictions(table)
        wrong = frame.index[frame["id1"] != frame["label"]][::2]
        for row in wrong:  # half of the errors mended, the label put in front of the other four
            ids = [frame.loc[row, "label"], *(i for i in frame.loc[row, ID_COLUMNS] if i != frame.loc[row, "label"])]
            frame.loc[row, ID_COLUMNS] = ids[:5]
        sha256 = write_predictions(table, frame)
        metrics = accuracies(frame["label"], frame[ID_COLUMNS])
        write_record(path, replace(record, metrics=metrics, predictions=PredictionsFile(table.name, sha256)))
    file, places = tmp_path / "a.zip", ("--root", tmp_path)
    assert in_process("submit", "pack", "vanilla_clip", "--runs", runs, "--out", file) == 0
    assert in_process("submit", "check", file, *places) == 0
    assert in_process("submit", "reproduce", file, *places, "--seed", 1, "--quiet", "--workers", "0") == 1
    assert "NOT REPRODUCED" in capsys.readouterr().out
    # A second sample is a second file: the failed one stays.
    assert in_process("submit", "reproduce", file, *places, "--seed", 1, "--quiet", "--workers", "0") == 1
    assert len(list(tmp_path.glob("results/reproductions/*.json"))) == 2


def test_a_refused_submission_is_not_evaluated_again(finished_runs: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "a.zip"
    assert in_process("submit", "pack", "vificlip", "--weights", "--runs", finished_runs, "--out", out) == 0
    assert in_process("submit", "reproduce", out, "--root", tmp_path, "--seed", 1) == 1
    assert "refused by P002" in capsys.readouterr().err


@pytest.mark.slow
def test_a_fit_is_reproduced_from_its_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs, file, places = tmp_path / "runs", tmp_path / "eszsl.zip", ("--root", tmp_path)
    run = ("run", "--method", "eszsl", "--protocol", "zero_shot", "--runs", runs, "--no-report", "--quiet")
    assert in_process(*run) == 0
    assert in_process("submit", "pack", "eszsl", "--runs", runs, "--out", tmp_path / "light.zip") == 0
    assert in_process("submit", "reproduce", tmp_path / "light.zip", *places, "--seed", 1) == 1
    assert "lacks the weights" in capsys.readouterr().err
    assert in_process("submit", "pack", "eszsl", "--weights", "--runs", runs, "--out", file) == 0
    assert in_process("submit", "reproduce", file, *places, "--seed", 1, "--quiet", "--json") == 0
    assert counts(json.loads(capsys.readouterr().out)) == (3 * 24, 0)


@pytest.mark.slow
def test_weights_of_a_file_are_asked_for_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs, file, mine, other = (tmp_path / name for name in ("runs", "a.zip", "mine.safetensors", "other.safetensors"))
    save_file(tiny_state(0), mine)
    save_file(tiny_state(1), other)
    run = ("run", "--method", "vanilla_clip", "--protocol", "b2n", "--weights", mine, "--runs", runs, "--no-report")
    run = (*run, "--activation", "quickgelu")
    assert in_process(*run, "--views", "frames=2", "--quiet") == 0
    assert in_process("submit", "pack", "vanilla_clip", "--runs", runs, "--out", file) == 0
    again = ("submit", "reproduce", file, "--root", tmp_path, "--seed", 1, "--quiet", "--workers", "0")
    for weights, message in (
        ((), "starts from the weights of a file with sha256"), (("--weights", tmp_path / "none"), "is not a file"),
        (("--weights", other), "is on the backbone inferred-quickgelu with the weights sha256"),
    ):  # fmt: skip
        assert in_process(*again, *weights) != 0
        assert message in capsys.readouterr().err
    assert in_process(*again, "--weights", mine) == 0
    assert "reproduced: 0 of" in capsys.readouterr().out


SHARPER = '''
from dataclasses import dataclass

import torch

from harness.api import ClipMethod, MethodCard, MethodOptions, option, register_method


@dataclass(frozen=True)
class Options(MethodOptions):
    template: str = option("{}", "text around the class name")
    opposite: bool = option(False, "the least similar class wins", evaluation_only=True)


@register_method("sharper")
class Sharper(ClipMethod):
    """CLIP whose scores an option of the evaluation turns round."""

    card = MethodCard(title="Sharper", source="a test")
    options_type = Options

    def setup(self):
        self.requires_grad_(False)

    def encode_text(self, label_set):
        features = super().encode_text(label_set)
        return -features if self.options.opposite else features
'''


@pytest.mark.slow
def test_a_record_is_reproduced_with_its_own_views_and_evaluation_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], plugins_forgotten: None
) -> None:
    """Neither the protocol's views nor the defaults of options would give these predictions."""
    plugin, runs, file = tmp_path / "sharper.py", tmp_path / "runs", tmp_path / "a.zip"
    plugin.write_text(SHARPER)
    run = ("run", "--method", "sharper:opposite=true", "--protocol", "few_shot", "--plugin", plugin)
    views = ("--views", "frames=3", "--views", "normalize=clip", "--views", "reader=exact")
    assert in_process(*run, *views, "--runs", runs, "--no-report", "--quiet", "--workers", "0") == 0
    assert in_process("submit", "pack", "sharper", "--runs", runs, "--out", file) == 0
    again = ("submit", "reproduce", file, "--root", tmp_path, "--seed", 1, "--quiet", "--workers", "0", "--json")
    capsys.readouterr()
    assert in_process(*again, "--plugin", plugin) == 2  # a plugin runs when it is loaded
    assert "--run-code" in capsys.readouterr().err
    assert in_process(*again) == 2  # its name is registered by now, and its code would run, too
    assert "runs the code of the method sharper" in capsys.readouterr().err
    assert not list(tmp_path.glob("results/reproductions/*"))
    assert in_process(*again, "--plugin", plugin, "--run-code") == 0
    done = json.loads(capsys.readouterr().out)
    assert counts(done)[1] == 0 and max(record["largest"] for record in done["records"]) < 1e-3


@pytest.mark.slow
def test_fits_with_a_parent_pass_and_are_reproduced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], plugins_forgotten: None
) -> None:
    """All four shots, each from one fit on the whole training list of the source."""
    plugin, runs, file = tmp_path / "two_stages.py", tmp_path / "runs", tmp_path / "a.zip"
    plugin.write_text(PLUGIN.replace('"supervised"', '"zero_shot"'))
    run = ("run", "--method", "stage_two", "--protocol", "few_shot", "--plugin", plugin, "--runs", runs)
    assert in_process(*run, "--no-report", "--quiet", "--workers", "0") == 0
    assert in_process("submit", "pack", "stage_two", "--weights", "--runs", runs, "--out", file) == 0
    capsys.readouterr()
    assert in_process("submit", "check", file, "--root", tmp_path, "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)["submissions"]
    assert found["passed"] and found["records"] == 4
    again = ("submit", "reproduce", file, "--root", tmp_path, "--seed", 1, "--quiet", "--workers", "0", "--json")
    assert in_process(*again, "--plugin", plugin, "--run-code") == 0
    done = json.loads(capsys.readouterr().out)
    assert counts(done)[1] == 0 and max(record["largest"] for record in done["records"]) < 1e-3


def test_the_page_names_every_rule_as_it_is() -> None:
    """docs/submitting.md cannot drift: each rule's row stands there word by word, and no other rule does."""
    page = (ROOT / "docs" / "submitting.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if re.match(r"\| [A-Z]\d{3} \|", line)]
    assert rows == [f"| {r.id} | {r.requirement} | {r.reason} | {r.fix} |" for r in RULES.values()]
    assert all(f"### {title}" in page for title in GROUPS.values())
    assert set(re.findall(r"\b[FAPDW]\d{3}\b", page)) == set(RULES)
