"""Output of the verbs: text for people on stderr, data on stdout, tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

from harness.engine.compute.processes import rank_of_process
from results.codec import to_json

STDOUT = "-"
"""Destination of a table whose option has no file."""
Json = Mapping[str, "Json"] | Sequence["Json"] | str | int | float | bool | None


def say(text: str) -> None:
    """Write a line for people to stderr, once however many processes a run has."""
    if rank_of_process() == 0:
        sys.stderr.write(text + "\n")


def put(text: str) -> None:
    """Write text to stdout, once however many processes a run has."""
    if rank_of_process() == 0:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")


def put_json(value: object) -> None:
    """Write a value as JSON to stdout, once however many processes a run has."""
    put(json.dumps(to_json(value), indent=1, ensure_ascii=False))


def table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    """Rows as an aligned text table; the last column is not padded."""
    cells = [header, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["  ".join([*(c.ljust(w) for c, w in zip(row[:-1], widths[:-1], strict=True)), row[-1]]) for row in cells]
    return "\n".join(line.rstrip() for line in lines)
