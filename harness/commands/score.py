"""`score`: recompute every metric from the stored predictions."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.base.errors import EXIT_DONE, EXIT_FAILED, UserError
from harness.commands._arguments import put, say, verb_parser

if TYPE_CHECKING:
    from results.drop_last import DropLast
    from results.score import Score

RANKS = 8
"""Processes of the published runs."""


def add_parser(verbs: Any) -> None:
    """Arguments of `score`."""
    parser = verb_parser(
        verbs, "score", "recompute metrics from predictions",
        "Recompute every metric of records from their predictions and fail on any difference: a changed prediction, a\n"
        "missing, added or repeated video, a changed metric or list.",
    )  # fmt: skip
    parser.add_argument("path", metavar="PATH", help="a record, or a folder of records")
    parser.add_argument(
        "--drop-last", type=int, nargs="?", const=RANKS, metavar="PROCESSES",
        help=f"also say what the published loader, which drops incomplete batches, would leave out ({RANKS} processes)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print data on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Print findings; 1 if there are any."""
    from results.score import score

    result = score(Path(arguments.path))
    if arguments.drop_last is not None and arguments.drop_last < 1:
        raise UserError(f"--drop-last is {arguments.drop_last}, expected a number of processes from 1.")
    drops = dict(_drops(result, arguments.drop_last)) if arguments.drop_last else {}
    if arguments.json:
        findings = [{"record": str(f.path), "rule": f.rule, "message": f.message} for f in result.findings]
        dropped = {str(path): vars(drop) for path, drop in drops.items()}
        put({"records": len(result.records), "findings": findings, **({"drop_last": dropped} if drops else {})})
    else:
        for finding in result.findings:
            say(str(finding))
        for path, drop in drops.items():
            put(f"{path}: {drop}")
        put(f"{len(result.records)} records recomputed, {len(result.findings)} findings")
    return EXIT_FAILED if result.findings else EXIT_DONE


def _drops(result: Score, ranks: int) -> Iterator[tuple[Path, DropLast]]:
    """What the published loader would do to the top-1 of each recomputed record."""
    from results.drop_last import drop_last
    from results.record import read_record

    for path, metrics in result.recomputed.items():
        videos = read_record(path).data["n_evaluated"]
        yield path, drop_last(round(metrics["top1"] * videos / 100), videos, ranks)
