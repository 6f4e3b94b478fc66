"""The default reader by kind of data, and the comparison of a sample before decord reads a list."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cells.backbone import BackboneChoice
from harness.cells.from_request import expand
from harness.cells.request import MethodChoice, Request
from harness.data.reader_check import DecodeCheck, readers_text, sample
from harness.engine.video import decode_check
from harness.engine.video.reader_verdicts import ReaderVerdicts
from harness.machine.compute_options import ComputeOptions
from harness.machine.settings import load_settings
from harness.running import reader_warning
from results.measurement_words import open_reasons, signature
from tests.conftest import in_process
from tests.engine.numbered import Coding, write

HEVC = Coding("libx265", "mp4", 10, 3, options=(("x265-params", "log-level=none:pools=none:frame-threads=1"),))
ONE_VIEW = ["--views", "clips=1", "--views", "crops=1", "--views", "sampling=centre"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HEVC with several groups of pictures, of which decord returns other frames, and MJPEG."""
    root = tmp_path_factory.mktemp("readers") / "clips"
    for label, name in enumerate(("alpha", "beta")):
        (root / name).mkdir(parents=True)
        for clip in range(4):
            coding = HEVC if (clip + label) % 4 else Coding("mjpeg", "mp4", pix_fmt="yuvj420p")
            write(root / name / f"clip{clip}.mp4", coding, range(40 * label + 10 * clip, 40 * label + 10 * clip + 60))
    return root


def request_of(dataset: str, **changes: object) -> Request:
    return Request(
        methods=(MethodChoice("vificlip"),), protocols=("zero_shot",), datasets=(dataset,), source="mini_source",
        backbone=BackboneChoice("mini-clip", None), **changes,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.slow
def test_the_default_reader_is_exact_where_no_number_is_published(dataset: Path, tmp_path: Path) -> None:
    settings = load_settings({"cache": str(tmp_path), "data.clips": str(dataset)}, {})
    custom, embedded = expand(request_of(str(dataset)), settings), expand(request_of("mini_target"), settings)
    (evaluation,) = custom.evals
    assert evaluation.views.reader == "exact" and "-exact|" in signature(evaluation.measurement)
    assert not [reason for reason in open_reasons(evaluation.measurement) if "views" in reason], "exact is prescribed"
    # The fit on the embedded source is the fit of every target: it keeps the published reader.
    assert {fit.views.reader for fit in custom.fits} == {"decord"}
    assert {cell.views.reader for cell in (*embedded.fits, *embedded.evals)} == {"decord"}
    assert {fit.key for fit in custom.fits} == {fit.key for fit in embedded.fits}
    chosen = expand(request_of(str(dataset), views={"reader": "decord"}), settings)
    assert {cell.views.reader for cell in (*chosen.fits, *chosen.evals)} == {"decord"}
    assert [reason for reason in open_reasons(chosen.evals[0].measurement) if "reader" in reason or "views" in reason]


def run(dataset: Path, tmp_path: Path, *options: str) -> None:
    arguments = ["--method", "vanilla_clip", "--protocol", "supervised", "--dataset", dataset, "--arch", "mini-clip"]
    machine = ["--device", "cpu", "--workers", "2", "--runs", tmp_path / "runs", "--cache", tmp_path / "cache"]
    assert in_process("run", *arguments, *ONE_VIEW, *machine, "--no-report", "--quiet", *options) == 0


@pytest.mark.slow
def test_a_run_with_decord_compares_a_sample_once(
    dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(dataset, tmp_path, "--views", "reader=decord")
    (line,) = [record.getMessage() for record in caplog.records if "decord returns" in record.getMessage()]
    assert "other frames than a sequential decode on" in line and "sampled clips (" in line
    assert "wrong frames" in line and "Leave `--views reader=decord` out" in line
    # The verdict is kept by content: a second run compares nothing.
    monkeypatch.setattr(reader_warning, "compare_readers", lambda file: pytest.fail(f"{file} is compared again"))
    settings = load_settings({"cache": str(tmp_path / "cache")}, {})
    compute = ComputeOptions(device="cpu", workers=0)
    (cell,) = expand(request_of(str(dataset), views={"reader": "decord"}), settings).evals
    assert reader_warning.reader_warning(cell, settings, compute) == line
    (cell,) = expand(request_of(str(dataset)), settings).evals
    assert reader_warning.reader_warning(cell, settings, compute) == "", "exact needs no comparison"


def test_verdicts_are_kept_by_content(dataset: Path, tmp_path: Path) -> None:
    verdicts, clip = ReaderVerdicts(tmp_path), tmp_path / "clip.mp4"
    clip.write_bytes((dataset / "alpha" / "clip1.mp4").read_bytes())
    check = decode_check.compare_readers(clip)
    assert check.wrong > 0 and verdicts.known(clip) is None
    verdicts.keep(clip, check)
    moved = clip.rename(tmp_path / "moved.mp4")
    assert verdicts.known(moved) == check
    moved.write_bytes((dataset / "alpha" / "clip2.mp4").read_bytes())
    assert verdicts.known(moved) is None
    verdicts.keep(moved, DecodeCheck(problem="the decoder crashed"))
    assert verdicts.known(moved) is None, "a clip that could not be compared is compared again"


@pytest.mark.slow
def test_check_data_compares_a_sample_first(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "__defaults__", (4,))
    assert in_process("check", "data", dataset, "--decode", "--json", "--cache", tmp_path) == 0
    shown = capsys.readouterr()
    disagree = json.loads(shown.out)["decode"]["disagree"]
    assert len(disagree) >= 4 and not {"alpha/clip0.mp4", "beta/clip3.mp4"} & disagree.keys(), "MJPEG is equal"
    assert "of 4 sampled clips" in shown.err


def test_the_sample_depends_on_the_paths_alone() -> None:
    paths = [f"class/{i}.avi" for i in range(100)]
    assert sample(paths) == sample(paths) and len(sample(paths)) == 8
    assert sorted(sample(paths[::-1])) == sorted(sample(paths))
    assert sample(paths[:3]) == paths[:3] and sample([]) == []


def test_the_text_says_what_to_do() -> None:
    checks = {"a": DecodeCheck(3, 10, 10), "b": DecodeCheck(5, 10, 10), "c": DecodeCheck()}
    checks["d"] = DecodeCheck(problem="the decoder crashed")
    text = readers_text(checks, "ucf101 val1", custom=False, sampled=True)
    assert "on 2 of 3 sampled clips (b: 5 wrong frames, a: 3 wrong frames)" in text
    assert "--views reader=exact" in text and "another row" in text
    assert readers_text({"c": DecodeCheck()}, "x", custom=True, sampled=False).endswith("on 0 of 1 clips.")


@pytest.mark.slow
def test_no_option_of_the_machine_changes_the_sample(dataset: Path, tmp_path: Path) -> None:
    settings = load_settings({"cache": str(tmp_path)}, {})
    (cell,) = expand(request_of(str(dataset), views={"reader": "decord"}), settings).evals
    lines = set()
    for workers in (0, 1):
        compute = ComputeOptions(device="cpu", workers=workers)
        lines.add(reader_warning.reader_warning(cell, settings, compute))
    assert len(lines) == 1 and "decord returns" in next(iter(lines))
