"""The folder of records with everything that must not be mixed, and helpers that read its board.

`write_mixed` writes two generations of a row, three recipes of one method, own training lists, a row without one
repeat, two custom datasets of one name, a damaged record and a record of an old schema. To look at its board:
`python -m tests.reports.mixed FOLDER`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reports.board_rows import Group
from reports.ranks import Ranks
from reports.row import Row
from reports.site import BuiltReport, build_report
from tests.results.factories import Sample, write_sample

OLD, NEW = "2025-03-01T00:00:00Z", "2026-03-01T00:00:00Z"
PARTS = ("base", "novel", "joint")
TITLES = {"vificlip": "ViFi-CLIP", "text_ft": "CLIP text-FT", "image_ft": "CLIP image-FT", "mine": "Mine"}


def write_row(runs: Path, accuracy: float, leave_out: tuple[tuple[str, int], ...] = (), **changes: Any) -> list[Path]:
    """All records of a base-to-novel row, without those to leave out."""
    sample = {"method": "vificlip", "created": NEW, "videos": 60, "shots": 16, **changes}
    sample.setdefault("title", TITLES.get(sample["method"], ""))
    return [
        write_sample(runs, Sample(part=part, repeat=("train_subset", i)), accuracy=accuracy + 0.02 * i, **sample)
        for part in PARTS
        for i in (1, 2, 3)
        if (part, i) not in leave_out
    ]


def write_mixed(runs: Path) -> None:
    """Write the folder."""
    write_row(runs / "old", 0.3, created=OLD, engine=1)
    write_row(runs, 0.7, engine=2)
    write_row(runs, 0.8, engine=2, recipe=(("lr", 8e-6),))
    write_row(runs, 0.75, engine=2, seed=7)
    write_row(runs, 0.6, engine=2, method="text_ft")
    write_row(runs, 0.4, engine=2, method="image_ft")
    write_row(runs, 0.9, engine=2, training_origin="own", lists="drawn")
    write_row(runs, 0.5, engine=2, method="mine", leave_out=(("novel", 3),))
    for root, content, accuracy in (("one", "x", 0.5), ("two", "y", 0.8)):
        own = {"dataset": "w10", "list_origin": "own", "training_origin": "own", "embedded": False}
        write_row(runs / root, accuracy, root=root, content=content, **own)
        write_row(runs / root, accuracy - 0.3, root=root, content=content, method="text_ft", **own)
    (cut, *_) = write_row(runs / "damaged", 0.5, engine=2, method="cut")
    cut.write_bytes(cut.read_bytes()[:500])
    (aged, *_) = write_row(runs / "aged", 0.5, engine=2, method="aged")
    aged.write_text(json.dumps({**json.loads(aged.read_text("utf-8")), "schema": 2}), "utf-8")


@dataclass(frozen=True)
class Mixed:
    """The folder, its board, and the data of the board."""

    runs: Path
    site: Path
    built: BuiltReport
    rows: list[Row]
    ranks: Ranks
    groups: list[Group]
    page: str
    board: dict[str, Any]


def measured(mixed: Mixed, dataset: str = "mini_target") -> list[dict[str, Any]]:
    """The rows of the board in JSON."""
    groups = [group for group in mixed.board["groups"] if not group["published"] and group["dataset"] == dataset]
    return [row for group in groups for row in group["rows"]]


def json_row(mixed: Mixed, title: str, label: str, dataset: str = "mini_target") -> dict[str, Any]:
    (row,) = [row for row in measured(mixed, dataset) if (row["title"], row["label"]) == (title, label)
              and not any("own training" in mark for mark in row["marks"])]  # fmt: skip
    return row


def panel(mixed: Mixed, row: dict[str, Any]) -> str:
    """The HTML of a row."""
    return mixed.page.split(f'<tr id="{row["id"]}"')[1].split("\n<tr id=")[0]


def board_rows(runs: Path) -> list[dict[str, Any]]:
    """The measured rows of a folder's board, as JSON."""
    site = runs.parent / f"{runs.name}-site"
    build_report(runs, site)
    groups = json.loads((site / "leaderboard.json").read_text("utf-8"))["groups"]
    return [row for group in groups if not group["published"] for row in group["rows"]]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    write_mixed(folder / "runs")
    sys.stdout.write(f"{build_report(folder / 'runs', folder / 'site').index}\n")
