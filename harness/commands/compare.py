"""`compare`: paired comparison of two methods on the same videos."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from harness.base.errors import EXIT_DONE, EXIT_FAILED
from harness.commands._arguments import add_folders, add_json, settings_of
from harness.commands._output import put, put_json, say, table
from harness.commands._parser import Verbs, verb_parser

if TYPE_CHECKING:
    from results.compare import Comparison, PartComparison

INCOMPLETE = "\N{DOUBLE DAGGER}"
"""Mark of a difference of incomplete means."""


def add_parser(verbs: Verbs) -> None:
    """Arguments of `compare`."""
    parser = verb_parser(
        verbs, "compare", "two methods on the same videos",
        "Print the difference between two methods, paired by video, per part of a protocol: for other videos, and for\n"
        "methods that are trained again, each with interval, p value and a sentence; then the classes that changed\n"
        "most and the videos that flipped. Each side must select one row of a\n"
        "table: options, recipe and view settings after the name select it. The exit code is 1 if a file could not be\n"
        "read, or if a table was not compared.",
        "examples:\n"
        "  python -m harness compare vificlip text_ft\n"
        "  python -m harness compare vificlip:epochs=11 vificlip:epochs=1 --protocol b2n --dataset hmdb51\n"
        "  python -m harness compare \"vificlip:template='a video of {}'\" vanilla_clip --arch ViT-B-16\n"
        "  python -m harness compare runs/a/x.record.json runs/b/x.record.json\n",
    )  # fmt: skip
    sides = "NAME, NAME:SETTING=VALUE,... of the run folder; or a record, a folder of records, a fit's folder"
    parser.add_argument("a", metavar="A", help=sides)
    parser.add_argument("b", metavar="B", help="as A")
    for name, text in (("protocol", "NAME"), ("dataset", "NAME"), ("arch", "NAME")):
        parser.add_argument(
            f"--{name}", metavar=text, nargs="+", action="extend", default=[], help=f"only this {name}; repeatable"
        )
    parser.add_argument("--classes", type=int, default=5, metavar="N", help="classes to print per part (5)")
    parser.add_argument("--flips", type=int, default=5, metavar="N", help="flipped videos to print per part (5)")
    add_json(parser)
    add_folders(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the comparison; 1 if a file or a table was left out."""
    from results.compare import compare
    from results.sides import Filters, choice_of

    runs = settings_of(arguments).runs.path
    filters = Filters(tuple(arguments.protocol), tuple(arguments.dataset), tuple(arguments.arch))
    result = compare(choice_of(arguments.a, runs), choice_of(arguments.b, runs), filters)
    for problem in (*result.refused, *result.damaged):
        say(problem)
    if arguments.json:
        put_json(result)
    else:
        _print(result, arguments.classes, arguments.flips)
    return EXIT_FAILED if result.refused or result.damaged else EXIT_DONE


def _print(result: Comparison, classes: int, flips: int) -> None:
    put(f"A = {result.a}\nB = {result.b}\naccuracy A - B in points, 95 % intervals, paired by video")
    rows = [
        [
            part.name, f"{part.difference:+.2f}{INCOMPLETE if part.incomplete else ''}",
            _interval(part.interval), _p(part.p), _p(part.p_holm),
            _interval(part.interval_again), _p(part.p_again_holm), _fits(part), str(len(part.lists)),
            str(part.videos), str(part.clusters) if part.statistics.known else "unknown",
        ]
        for part in result.parts
    ]  # fmt: skip
    columns = [
        "PART", "A-B", "OTHER VIDEOS", "P", "P HOLM", "TRAINED AGAIN", "P AGAIN", "FITS", "LISTS", "VIDEOS", "SOURCES",
    ]  # fmt: skip
    put(table(rows, columns))
    for part in result.parts:
        put(f"{part.name}: {part.sentence}")
    for part in result.parts:
        if part.incomplete:
            put(f"{INCOMPLETE} {part.name}: incomplete: {'; '.join(part.incomplete)}")
    if not all(part.statistics.known for part in result.parts):
        put("Sources are unknown here; every video counts on its own, and the interval may be too short.")
    for note in result.notes:
        put(note)
    for part in result.parts:
        _print_part(part, classes, flips)


def _interval(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"[{interval[0]:+.2f}, {interval[1]:+.2f}]"


def _p(p: float | None) -> str:
    return "-" if p is None else "< 1e-10" if p < 1e-10 else f"{p:.4f}" if p >= 1e-4 else f"{p:.1e}"


def _fits(part: PartComparison) -> str:
    return str(part.fits) if part.fits else "untrained"


def _print_part(part: PartComparison, classes: int, flips: int) -> None:
    put(f"\n{part.name}")
    for text in part.differing:
        put(f"  differs besides the method: {text}")
    for change in part.classes[:classes]:
        accuracies = f"{change.accuracy_a:.1f} against {change.accuracy_b:.1f}"
        put(f"  {change.change:+6.1f}  {change.name} ({accuracies}, n = {change.n})")
    for flip in part.flips[:flips]:
        put(f"  only {flip.right} right: {flip.video} ({flip.label}; A: {flip.predicted_a}, B: {flip.predicted_b})")
