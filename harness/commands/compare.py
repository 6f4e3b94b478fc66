"""`compare`: the paired comparison of two methods on the same videos."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from harness.base.errors import EXIT_DONE
from harness.commands._arguments import add_places, put, settings_of, table, verb_parser


def add_parser(verbs: Any) -> None:
    """Arguments of `compare`."""
    parser = verb_parser(
        verbs, "compare", "two methods on the same videos",
        "The difference between two methods with its interval and p value, paired by video, per part of a protocol;\n"
        "the classes that moved most and the videos that flipped.",
        "examples:\n"
        "  python -m harness compare vificlip text_ft\n"
        "  python -m harness compare runs/a/x.record.json runs/b/x.record.json\n",
    )  # fmt: skip
    parser.add_argument("a", metavar="A", help="a method of the run folder, a record, or a folder of records")
    parser.add_argument("b", metavar="B", help="the same")
    parser.add_argument("--classes", type=int, default=5, metavar="N", help="classes to print per part (5)")
    parser.add_argument("--flips", type=int, default=5, metavar="N", help="flipped videos to print per part (5)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap")
    parser.add_argument("--json", action="store_true", help="print data on stdout")
    add_places(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the comparison."""
    from results.compare import compare

    runs = settings_of(arguments).runs.path
    (path_a, name_a), (path_b, name_b) = (
        (Path(text), "") if _holds_records(Path(text)) else (runs, text) for text in (arguments.a, arguments.b)
    )
    result = compare(path_a, path_b, name_a, name_b, arguments.seed)
    if arguments.json:
        put(dataclasses.asdict(result))
        return EXIT_DONE
    rows = [
        [
            part.name, f"{part.difference:+.2f}", f"[{part.interval.low:+.2f}, {part.interval.high:+.2f}]",
            f"{part.p:.4f}", f"{part.p_holm:.4f}", str(len(part.lists)), str(part.videos),
        ]
        for part in result.parts
    ]  # fmt: skip
    put(f"A = {result.a}, B = {result.b}; accuracy A - B in points, 95 % interval, paired by video")
    put(table(rows, ["PART", "A-B", "INTERVAL", "P", "P HOLM", "LISTS", "VIDEOS"]))
    for part in result.parts:
        put(f"\n{part.name}")
        for warning in part.differing:
            put(f"  differs besides the method: {warning}")
        for change in part.classes[: arguments.classes]:
            put(
                f"  {change.change:+6.1f}  {change.name} "
                f"({change.accuracy_a:.1f} against {change.accuracy_b:.1f}, n = {change.n})"
            )
        for flip in part.flips[: arguments.flips]:
            put(f"  only {flip.right} right: {flip.video} ({flip.label}; A: {flip.predicted_a}, B: {flip.predicted_b})")
    return EXIT_DONE


def _holds_records(path: Path) -> bool:
    """Whether a path is meant rather than a method of that name: the folder of its source holds no records."""
    return path.is_file() or any(path.rglob("*.record.json"))
