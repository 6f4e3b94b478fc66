"""Records to the tidy frame, and the frame to rows of a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.base.errors import UserError
from reports.aggregate import rows_of
from reports.frame import records_frame
from results.metrics import harmonic_mean
from tests.results.factories import Sample, write_grid, write_sample


def test_an_empty_runs_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no record"):
        records_frame(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        records_frame(tmp_path / "nowhere")


def test_frame_has_one_row_per_record(tmp_path: Path) -> None:
    paths = write_grid(tmp_path)
    frame = records_frame(tmp_path)
    assert len(frame) == len(paths) and frame["cell"].is_unique
    assert set(frame["protocol"]) == {"zero_shot", "b2n", "few_shot", "supervised"}


def test_harmonic_mean_is_taken_of_unrounded_means_over_repeats(tmp_path: Path) -> None:
    for index, (base, novel) in enumerate([(0.9, 0.2), (0.5, 0.6), (0.7, 0.41)], start=1):
        common = {"repeat": ("train_subset", index), "shots": 16}
        write_sample(tmp_path, part="base", accuracy=base, **common)
        write_sample(tmp_path, part="novel", accuracy=novel, **common)
    frame = records_frame(tmp_path)
    (row,) = rows_of(frame)
    means = [frame[frame["part"] == part]["top1"].mean() for part in ("base", "novel")]
    assert row.cells["hm"].mean == pytest.approx(harmonic_mean(*means), abs=1e-12)
    per_repeat = np.mean([
        harmonic_mean(*(frame[(frame["part"] == part) & (frame["repeat_index"] == i)]["top1"].item()
                        for part in ("base", "novel")))
        for i in (1, 2, 3)
    ])  # fmt: skip
    assert abs(row.cells["hm"].mean - per_repeat) > 1
    base = frame[frame["part"] == "base"]["top1"].to_numpy()
    cell = row.cells["base"]
    assert (cell.n, cell.kind) == (3, "train_subset")
    assert cell.spread == pytest.approx(base.std(ddof=0))
    assert row.cells["hm"].spread is None and "joint" not in row.cells


@pytest.mark.parametrize(
    "change",
    [{"frames": 16}, {"class_text": "llm-rewritten"}, {"init": "vificlip on k400"}, {"list_origin": "own"}],
)
def test_rows_measured_differently_are_in_another_group(tmp_path: Path, change: dict[str, object]) -> None:
    few = Sample(protocol="few_shot", part="k16", shots=16)
    write_sample(tmp_path, few)
    write_sample(tmp_path, few, method="other")
    write_sample(tmp_path, few, method="third", **change)
    groups = {row.facts["method"]: row.group for row in rows_of(records_frame(tmp_path))}
    assert groups["vificlip"] == groups["other"] != groups["third"]


def test_two_recipes_are_two_rows_and_two_seeds_are_not_averaged(tmp_path: Path) -> None:
    few = Sample(protocol="few_shot", part="k16", shots=16)
    write_sample(tmp_path, few)
    write_sample(tmp_path, few, seed=7, draw=1)
    rows = rows_of(records_frame(tmp_path))
    assert len(rows) == 2 and len({row.key for row in rows}) == 2
    assert all(row.cells["k16"].n == 1 for row in rows)


def test_of_two_records_of_one_cell_the_newest_counts(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "a")
    copy = tmp_path / "b" / path.name
    copy.parent.mkdir()
    copy.write_text(path.read_text(encoding="utf-8").replace("2026-01-01T00:00", "2027-01-01T00:00"), encoding="utf-8")
    frame = records_frame(tmp_path)
    assert len(frame) == 1 and frame["record"].item() == f"b/{path.name}" and frame["duplicates"].item() == 1


def test_missing_videos_and_own_lists_keep_a_row_from_being_ranked(tmp_path: Path) -> None:
    path = write_sample(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace('"n_evaluated": 120', '"n_evaluated": 118'), "utf-8")
    (row,) = rows_of(records_frame(tmp_path))
    assert row.reasons == ("2 videos were not evaluated",)


@pytest.mark.parametrize(("source", "embedded", "marked"), [
    ("own: not published; as for HMDB-51", False, True), ("own: scaled to the tiny model", True, False),
    ("ViFi-CLIP configs/few_shot", False, False),
])  # fmt: skip
def test_a_recipe_that_nobody_published_marks_the_row(
    tmp_path: Path, source: str, embedded: bool, marked: bool
) -> None:
    path = write_sample(tmp_path, protocol="few_shot", part="k16", shots=16, embedded=embedded)
    text = path.read_text(encoding="utf-8")
    assert text.count('"epochs": 11') == 1
    path.write_text(text.replace('"epochs": 11', f'"source": "{source}", "epochs": 11'), encoding="utf-8")
    (row,) = rows_of(records_frame(tmp_path))
    assert row.marks == ((f"not a published recipe: {source}",) if marked else ()) and not row.reasons
