"""The leaderboard: one self-contained HTML file from the records of a runs folder."""

from __future__ import annotations

import os
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reports.aggregate import DDOF, rows_of
from reports.frame import records_frame
from results.atomic import write_bytes

TEMPLATES = Path(__file__).with_name("templates")


def build_report(runs: Path, out: Path) -> Path:
    """Write the board of all records under `runs` as `out/index.html`; returns that file.

    Raises:
        UserError: The folder holds no record, or a record is not valid.
    """
    frame = records_frame(runs)
    rows = rows_of(frame)
    tables = [
        {"protocol": protocol, "dataset": dataset, "rows": list(members)}
        for (protocol, dataset), members in groupby(rows, lambda row: (row.facts["protocol"], row.facts["dataset"]))
    ]
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    target = out / "index.html"
    text = environment.get_template("board.html.jinja").render(
        tables=tables, embedded=bool(frame["embedded"].any()), ddof=DDOF, runs=os.path.relpath(runs, out)
    )
    write_bytes(target, text.encode())
    return target
