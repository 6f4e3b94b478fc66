"""Original UCF-101 clips, laid out in three ways, through `check data` and all four protocols with the tiny CLIP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.data.official.import_lists import import_lists
from harness.data.official.prepare import prepare
from results.record import find_records, read_record
from tests.conftest import in_process

QUICK = (
    "--arch", "mini-clip", "--allow-missing", "--no-report", "--quiet", "--json", "--views", "frames=2",
    "--recipe", "epochs=1", "--recipe", "warmup_epochs=0", "--recipe", "ranks=1", "--recipe", "accumulate=1",
)  # fmt: skip
LAYOUTS: dict[str, Callable[[int, Path], Path]] = {
    "class folders": lambda number, clip: Path(clip.parent.name, clip.name),
    "flat": lambda number, clip: Path(clip.name),
    "train and val, other extensions": lambda number, clip: Path(
        ("train", "val")[number % 2], clip.parent.name.lower(), clip.with_suffix((".mkv", ".MP4")[number % 2]).name
    ),
}
PROTOCOLS = ("supervised", "few_shot", "b2n", "zero_shot")


@pytest.fixture(scope="module")
def clips(shared: Path) -> list[Path]:
    return sorted((shared / "videos" / "ucf101").rglob("*.avi"))


@pytest.fixture(scope="module")
def layouts(clips: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each layout's root; files are links to the clips."""
    roots = {}
    for name, place in LAYOUTS.items():
        roots[name] = tmp_path_factory.mktemp("ucf")
        for number, clip in enumerate(clips):
            link = roots[name] / place(number, clip)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(clip)
    return roots


@pytest.fixture(scope="module")
def lists(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published lists, and those that only the official annotations give."""
    folder = tmp_path_factory.mktemp("lists")
    import_lists(shared / "splits" / "vificlip", folder)
    prepare("ucf101", shared / "splits" / "official", folder)
    return folder


@pytest.fixture(scope="module")
def kinetics(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kinetics clips as a custom dataset of training clips alone: a source of zero-shot transfer."""
    root = tmp_path_factory.mktemp("source") / "kinetics_clips"
    for clip in sorted((shared / "videos").glob("kinetics400*/*/*")):
        link = root / "train" / clip.parent.name / clip.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(clip)
    return root


def places(root: Path, lists: Path, tmp_path: Path) -> tuple[Any, ...]:
    return "--data", f"ucf101={root}", "--lists-dir", lists, "--cache", tmp_path / "cache", "--runs", tmp_path / "runs"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_check_data_finds_every_clip(
    layouts: dict[str, Path], lists: Path, tmp_path: Path, layout: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert in_process("check", "data", "ucf101", "--json", *places(layouts[layout], lists, tmp_path)[:6]) == 1
    found = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in found["lists"]}
    assert (found["files"], found["unlisted"], found["ambiguous"]) == (132, 0, [])
    assert {name: rows[name]["level"] for name in ("val1", "base_s1", "few_shot_16")} == dict.fromkeys(
        ("val1", "base_s1", "few_shot_16"), "1"
    )
    assert rows["train"]["found"] + rows["val1"]["found"] == 132 and len(found["missing"]) == 13320 - 132


@pytest.fixture(scope="module")
def scores() -> Iterator[dict[str, Any]]:
    """Predictions by protocol, part and list, of the layouts seen so far."""
    yield {}


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_protocol_runs_on_what_is_present(
    layouts: dict[str, Path], lists: Path, kinetics: Path, tmp_path: Path, layout: str, protocol: str,
    scores: dict[str, Any],
) -> None:  # fmt: skip
    extra = {
        "few_shot": ("--shots", 16), "b2n": ("--repeat", 1), "zero_shot": ("--source", kinetics), "supervised": (),
    }[protocol]  # fmt: skip
    request = ("--method", "vificlip", "--protocol", protocol, "--dataset", "ucf101", *QUICK, *extra)
    assert in_process("run", *request, *places(layouts[layout], lists, tmp_path)) == 0
    records = [read_record(path) for path in find_records(tmp_path / "runs")]
    assert len(records) == {"supervised": 1, "few_shot": 1, "b2n": 3, "zero_shot": 3}[protocol]
    for record in records:
        evaluation, training = record.measurement.evaluation, record.measurement.fitted
        evaluated, expected = evaluation.evaluated, evaluation.list.n
        assert 0 < evaluated < expected and not record.undecodable
        assert any(f"{expected - evaluated} of {expected} videos missing" in r for r in record.incomplete)
        assert training and (training.used == 19) == (protocol == "zero_shot")
        # The same cell with the same predictions, wherever the clips lie.
        known = scores.setdefault(record.key, record.predictions.sha256)
        assert known == record.predictions.sha256
    assert in_process("run", *request, *places(layouts[layout], lists, tmp_path)) == 0


@pytest.mark.slow
def test_without_allow_missing_the_gap_is_an_error(
    layouts: dict[str, Path], lists: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = ("--method", "vanilla_clip", "--protocol", "b2n", "--dataset", "ucf101", "--arch", "mini-clip", "--quiet")
    assert in_process("run", *request, *places(layouts["flat"], lists, tmp_path)) in (1, 2)
    assert "--allow-missing" in capsys.readouterr().err
