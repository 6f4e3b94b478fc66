"""`score`: recompute every metric from the stored predictions, or make a record of predictions of another program."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.errors import EXIT_DONE, EXIT_FAILED, UserError
from harness.commands._arguments import add_folders, add_json, settings_of
from harness.commands._output import STDOUT, put, put_json, say
from harness.commands._parser import Parser, Verbs, verb_parser

if TYPE_CHECKING:
    from results.score import Score
    from results.statistics.drop_last import DropLast

RANKS = 8
"""Number of processes of the published runs."""


def add_parser(verbs: Verbs) -> None:
    """Arguments of `score`."""
    parser = verb_parser(
        verbs, "score", "recompute metrics from predictions",
        "Recompute every metric of records from their predictions and fail on any difference: a changed prediction, a\n"
        "missing, added or repeated video, a changed metric or list.\n\n"
        "With --import: make a record of predictions that another program made for every video of an evaluation list.\n"
        "Its model and training are unknown, so that its row is in the open division and is not ranked.",
        "examples:\n"
        "  python -m harness score runs/\n"
        "  python -m harness score runs/ --drop-last 8\n"
        "  python -m harness score runs/ --measures --per-class classes.csv --confusion matrices/\n"
        "  python -m harness score --import theirs.csv --name theirs --protocol b2n --dataset ucf101 --part novel\n",
    )  # fmt: skip
    parser.add_argument("path", nargs="?", metavar="PATH", help="a record, its predictions, or a folder of records")
    parser.add_argument(
        "--drop-last", type=int, nargs="?", const=RANKS, metavar="PROCESSES",
        help=f"also print the effect of the published loader, which drops incomplete batches ({RANKS} processes)",
    )  # fmt: skip
    parser.add_argument(
        "--measures", action="store_true",
        help="also print the mean-class accuracy, ECE, NLL, Brier score and AUROC of seen against unseen classes",
    )  # fmt: skip
    for name, text in (("per-class", "the accuracy of each class"), ("confusion", "the confusion matrix")):
        parser.add_argument(
            f"--{name}", nargs="?", const=STDOUT, metavar="FILE.csv|DIR",
            help=f"write {text} as CSV: a file, or a folder with one file per record (default: stdout)",
        )  # fmt: skip
    add_json(parser)
    _add_import(parser)


def _add_import(parser: Parser) -> None:
    """Arguments of `--import`."""
    group = parser.add_argument_group("a record of predictions of another program")
    group.add_argument(
        "--import", dest="imported", metavar="FILE.csv",
        help="table with the columns video and prediction, or video, class1 to class5 and p1 to p5",
    )  # fmt: skip
    for name, metavar, text in (
        ("name", "NAME", "name of the model on the board"),
        ("protocol", "NAME", "protocol of the evaluation list"),
        ("dataset", "NAME|PATH", "dataset of the evaluation list"),
        ("part", "NAME", "part of the protocol, where it has several"),
    ):
        group.add_argument(f"--{name}", metavar=metavar, help=text)
    group.add_argument("--repeat", type=int, metavar="N", help="repeat of the protocol, where it has several")
    group.add_argument("--lists", default="published", choices=("published", "own"), help="own: lists that were drawn")
    group.add_argument(
        "--label-set", default="published", choices=("published", "corrected", "split"), help="class names"
    )
    add_folders(parser)


def _import(arguments: argparse.Namespace) -> int:
    """Make a record of the predictions of another program and print its metrics."""
    from harness.running.import_predictions import ListChoice, import_predictions
    from results.record import read_record

    absent = [f"--{name}" for name in ("name", "protocol", "dataset") if not getattr(arguments, name)]
    if absent or arguments.path:
        found = f"{', '.join(absent)} is missing" if absent else f"{arguments.path} is given together with --import"
        raise UserError(f"{found}.", "Example: score --import FILE --name NAME --protocol NAME --dataset NAME")
    choice = ListChoice(
        arguments.protocol, arguments.dataset, arguments.part or "", arguments.repeat, arguments.lists,
        arguments.label_set,
    )  # fmt: skip
    path = import_predictions(Path(arguments.imported), arguments.name, choice, settings_of(arguments))
    record = read_record(path)
    if arguments.json:
        put_json({"record": str(path), "metrics": record.metrics, "remarks": record.remarks})
    else:
        metrics = record.metrics
        put(f"{path}: top-1 {metrics.top1:.2f}, top-5 {metrics.top5:.2f}, mean class {metrics.mean_class:.2f}")
        for remark in record.remarks:
            say(f"note: {remark}")
    return EXIT_DONE


def run(arguments: argparse.Namespace) -> int:
    """Print the disagreements; 1 if there are any."""
    if arguments.imported:
        return _import(arguments)
    if not arguments.path:
        raise UserError("PATH is missing: a record, its predictions, or a folder of records.", "Example: score runs/")
    from results.measurement_words import incomplete_mark
    from results.score import score

    if arguments.drop_last is not None and arguments.drop_last < 1:
        message = f"--drop-last is {arguments.drop_last}, expected a number of processes from 1."
        raise UserError(message, "The published runs had 8: --drop-last 8")
    result = score(Path(arguments.path))
    drops = dict(_drops(result, arguments.drop_last)) if arguments.drop_last else {}
    if arguments.json:
        findings = [{"record": str(f.path), "rule": f.rule, "message": f.message} for f in result.findings]
        unmatched = {str(p): vars(r.unmatched) for p, r in result.recomputed.items() if r.unmatched is not None}
        dropped = {str(path): vars(drop) for path, drop in drops.items()}
        put_json(
            {
                "records": len(result.records),
                "recomputed": len(result.recomputed),
                "findings": findings,
                "incomplete": {str(path): reasons for path, reasons in result.incomplete.items()},
                **({"unmatched": unmatched} if unmatched else {}),
                **({"drop_last": dropped} if drops else {}),
                **_measures(result, arguments),
            }
        )
    else:
        for finding in result.findings:
            say(str(finding))
        _say_unmatched(result)
        _measures(result, arguments)
        for path, drop in drops.items():
            put(f"{path}: {drop}{incomplete_mark(result.incomplete.get(path, ()))}")
        done, records = len(result.recomputed), len(result.records)
        count = f"{records}" if done == records else f"{done} of {records}"
        # A table on stdout is read by a program, which expects no other line.
        write = say if STDOUT in (arguments.per_class, arguments.confusion) else put
        lacks = f", {len(result.incomplete)} incomplete" if result.incomplete else ""
        write(f"{count} records recomputed, {len(result.findings)} findings{lacks}")
    return EXIT_FAILED if result.findings else EXIT_DONE


def _say_unmatched(result: Score) -> None:
    """Name the lists with videos whose source is not known, although those of the other videos are."""
    for path, recomputed in result.recomputed.items():
        if (unmatched := recomputed.unmatched) is not None:
            say(
                f"{path}: {unmatched.videos} of {recomputed.videos} video names do not have the format of the dataset, "
                f"e.g. {unmatched.first}: each counts as a separate source"
            )


def _measures(result: Score, arguments: argparse.Namespace) -> Mapping[str, object]:
    """Write the requested tables, print the requested measures, and return all of them for `--json`."""
    from harness.commands import _measures as output

    tables = output.Destinations(arguments.per_class, arguments.confusion)
    if not (arguments.json or arguments.measures or tables.requested):
        return {}
    items = output.measured(result)
    output.write_tables(items, tables, print_them=not arguments.json)
    if arguments.json:
        return {name: value for name, value in vars(output.data_of(items, tables)).items() if value}
    if arguments.measures:
        output.print_measures(items)
    return {}


def _drops(result: Score, ranks: int) -> Iterator[tuple[Path, DropLast]]:
    """The effect of the published loader on the top-1 accuracy of each recomputed record."""
    from results.statistics.drop_last import drop_last

    for path, recomputed in result.recomputed.items():
        # A percentage of a known number of videos has a whole number of right answers behind it.
        correct = round(recomputed.metrics["top1"] * recomputed.videos / 100)
        yield path, drop_last(correct, recomputed.videos, ranks)
