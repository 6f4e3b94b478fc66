"""`score`: recompute every metric from the stored predictions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.commands._arguments import put, say, verb_parser
from harness.errors import EXIT_DONE, EXIT_FAILED


def add_parser(verbs: Any) -> None:
    """Arguments of `score`."""
    parser = verb_parser(
        verbs, "score", "recompute metrics from predictions",
        "Recompute every metric of records from their predictions and fail on any difference: a changed prediction, a\n"
        "missing, added or repeated video, a changed metric or list.",
    )  # fmt: skip
    parser.add_argument("path", metavar="PATH", help="a record, or a folder of records")
    parser.add_argument("--json", action="store_true", help="print data on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Print findings; 1 if there are any."""
    from results.score import score

    result = score(Path(arguments.path))
    if arguments.json:
        findings = [{"record": str(f.path), "rule": f.rule, "message": f.message} for f in result.findings]
        put({"records": len(result.records), "findings": findings})
    else:
        for finding in result.findings:
            say(str(finding))
        put(f"{len(result.records)} records recomputed, {len(result.findings)} findings")
    return EXIT_FAILED if result.findings else EXIT_DONE
