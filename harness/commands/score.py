"""`score`: recompute every metric from the stored predictions."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.base.errors import EXIT_DONE, EXIT_FAILED, UserError
from harness.commands._arguments import put, say, verb_parser

if TYPE_CHECKING:
    from results.score import Score
    from results.statistics.drop_last import DropLast

RANKS = 8
"""Processes of the published runs."""


def add_parser(verbs: Any) -> None:
    """Arguments of `score`."""
    parser = verb_parser(
        verbs, "score", "recompute metrics from predictions",
        "Recompute every metric of records from their predictions and fail on any difference: a changed prediction, a\n"
        "missing, added or repeated video, a changed metric or list.",
    )  # fmt: skip
    parser.add_argument("path", metavar="PATH", help="a record, its predictions, or a folder of records")
    parser.add_argument(
        "--drop-last", type=int, nargs="?", const=RANKS, metavar="PROCESSES",
        help=f"also say what the published loader, which drops incomplete batches, would leave out ({RANKS} processes)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print data on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Print findings; 1 if there are any."""
    from results.score import score

    if arguments.drop_last is not None and arguments.drop_last < 1:
        message = f"--drop-last is {arguments.drop_last}, expected a number of processes from 1."
        raise UserError(message, "The published runs had 8: --drop-last 8")
    result = score(Path(arguments.path))
    drops = dict(_drops(result, arguments.drop_last)) if arguments.drop_last else {}
    if arguments.json:
        findings = [{"record": str(f.path), "rule": f.rule, "message": f.message} for f in result.findings]
        dropped = {str(path): vars(drop) for path, drop in drops.items()}
        put(
            {
                "records": len(result.records),
                "recomputed": len(result.recomputed),
                "findings": findings,
                **({"drop_last": dropped} if drops else {}),
            }
        )
    else:
        for finding in result.findings:
            say(str(finding))
        for path, drop in drops.items():
            put(f"{path}: {drop}")
        done, records = len(result.recomputed), len(result.records)
        count = f"{records}" if done == records else f"{done} of {records}"
        put(f"{count} records recomputed, {len(result.findings)} findings")
    return EXIT_FAILED if result.findings else EXIT_DONE


def _drops(result: Score, ranks: int) -> Iterator[tuple[Path, DropLast]]:
    """The effect of the published loader on the top-1 accuracy of each recomputed record."""
    from results.statistics.drop_last import drop_last

    for path, one in result.recomputed.items():
        yield path, drop_last(round(one.metrics["top1"] * one.videos / 100), one.videos, ranks)
