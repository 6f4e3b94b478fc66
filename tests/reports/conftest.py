"""Folders of records and boards that several files of tests read; each is written once and must not be changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.synthetic_board import samples
from reports.aggregate import rows_of
from reports.board import groups_of
from reports.entries import read_entries
from reports.ranks import rank_rows
from reports.site import build_report
from tests.reports.mixed import Mixed, write_mixed
from tests.reports.visit import CHROMIUM
from tests.results.factories import write_grid, write_sample

PRINTED = ("tc_clip", "vificlip", "image_ft", "text_ft", "xclip", "vanilla_clip")
"""Methods of the board that has published values beside ours."""


@pytest.fixture(scope="session")
def grid_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of the embedded benchmark's full grid."""
    runs = tmp_path_factory.mktemp("grid") / "runs"
    write_grid(runs)
    return runs


@pytest.fixture(scope="session")
def grid_board(grid_runs: Path) -> Path:
    """The `index.html` of the grid's board."""
    return build_report(grid_runs, grid_runs.parent / "site").index


@pytest.fixture(scope="session")
def papers_board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `index.html` of a board of methods that papers print too: base-to-novel on HMDB-51, two backbones."""
    folder = tmp_path_factory.mktemp("papers")
    for sample in samples():
        if (sample.protocol, sample.dataset) == ("b2n", "hmdb51") and sample.method in PRINTED:
            write_sample(folder / "runs", replace(sample, videos=240))
    return build_report(folder / "runs", folder / "site").index


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium of the system, started once."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium on the PATH")
    with playwright.sync_playwright() as run:
        started = run.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Mixed:
    """A folder with everything that must not be mixed, its board, and the data of the board."""
    folder = tmp_path_factory.mktemp("mixed")
    write_mixed(folder / "runs")
    built = build_report(folder / "runs", folder / "site")
    rows = rows_of(read_entries(folder / "runs").entries)
    ranks = rank_rows(rows)
    groups = [group for group in groups_of(rows, ranks) if not group.published]
    page = built.index.read_text("utf-8")
    board = json.loads((folder / "site" / "leaderboard.json").read_text("utf-8"))
    return Mixed(folder / "runs", folder / "site", built, rows, ranks, groups, page, board)
