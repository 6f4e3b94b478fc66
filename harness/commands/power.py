"""`power`: the smallest difference that evaluation lists can show, before anything runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.errors import EXIT_DONE, EXIT_FAILED, UserError
from harness.commands._arguments import add_folders, add_json, add_plugins, load_plugins, settings_of
from harness.commands._output import put, put_json, say, table
from harness.commands._parser import Verbs, verb_parser

if TYPE_CHECKING:
    from harness.machine.settings import Settings
    from results.power import ListPower, ListSize, MeasuredPair

NOT_SHOWN = "none"
_HEADER = ("LIST", "PARTS", "VIDEOS", "FITS", "OTHER VIDEOS", "TRAINED AGAIN")


def add_parser(verbs: Verbs) -> None:
    """Arguments of `power`."""
    parser = verb_parser(
        verbs, "power", "the smallest difference that a plan can show",
        "Print the smallest difference between two methods, in percent points, that each evaluation list shows with a\n"
        "probability of 80 % at a level of 5 %, with 1, 3 and 5 fits of each method. Computes nothing else and needs\n"
        "neither videos nor records. The variability of differences comes from pairs of stored rows, where records\n"
        "exist; otherwise it is guessed, and the guesses are named.",
        "examples:\n"
        "  python -m harness power --protocol b2n --dataset ucf101 hmdb51\n"
        "  python -m harness power --protocol few_shot --dataset ucf101 --discordance 0.12 --pairs 45\n",
    )  # fmt: skip
    parser.add_argument(
        "--protocol", nargs="+", action="extend", default=[], metavar="NAME", help="protocol (required); repeatable"
    )
    parser.add_argument(
        "--dataset", nargs="+", action="extend", default=[], metavar="NAME|PATH",
        help="dataset; default: the published datasets of the protocol",
    )  # fmt: skip
    parser.add_argument("--records", metavar="DIR", help="folder of records to measure from (default: the run folder)")
    parser.add_argument(
        "--discordance", type=float, metavar="SHARE",
        help="share of videos on which exactly one of two methods is right, e.g. 0.15; without --records, no records "
        "are read",
    )  # fmt: skip
    parser.add_argument(
        "--pairs", type=int, default=1, metavar="M", help="pairs of rows in Holm's correction; 10 rows have 45 (1)"
    )
    add_plugins(parser)
    add_json(parser)
    add_folders(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the smallest differences; 1 if a file of a record could not be read."""
    _check(arguments)
    load_plugins(arguments)
    from harness.cells.evaluation_lists import evaluation_lists
    from results.power import list_power

    settings = settings_of(arguments)
    sizes = evaluation_lists(arguments.protocol, arguments.dataset, settings)
    measured, damaged = _measured(arguments, settings, sizes)
    powers = [list_power(size, measured.get(size, ()), arguments.discordance, arguments.pairs) for size in sizes]
    for message in damaged:
        say(message)
    if arguments.json:
        put_json(powers)
    else:
        _print(powers)
    return EXIT_FAILED if damaged else EXIT_DONE


def _check(arguments: argparse.Namespace) -> None:
    """Refuse missing and impossible values.

    Raises:
        UserError: `--protocol` is missing, or a number is outside its range.
    """
    if not arguments.protocol:
        raise UserError("--protocol is missing.", "Example: python -m harness power --protocol b2n --dataset ucf101")
    share = arguments.discordance
    if share is not None and not 0.0 < share <= 1.0:
        raise UserError(
            f"--discordance is {share:g}, expected a share above 0 and up to 1.",
            "Example: --discordance 0.15 for 15 %.",
        )
    if arguments.pairs < 1:
        raise UserError(
            f"--pairs is {arguments.pairs}, expected a number of pairs from 1.", "Example: --pairs 1 for two methods."
        )


def _measured(
    arguments: argparse.Namespace, settings: Settings, sizes: tuple[ListSize, ...]
) -> tuple[dict[ListSize, tuple[MeasuredPair, ...]], list[str]]:
    """Pairs of stored rows by list, and messages on files that cannot be read.

    Raises:
        UserError: The folder of `--records` does not exist.
    """
    if arguments.records is None and arguments.discordance is not None:
        return {}, []
    folder = Path(arguments.records) if arguments.records is not None else settings.runs.path
    if arguments.records is not None and not folder.is_dir():
        raise UserError(f"The folder {folder} of --records does not exist.", "Name a folder of records.")
    if not folder.is_dir():
        return {}, []
    from results.measured_pairs import measured_pairs, stored_records

    records, damaged = stored_records(folder)
    pairs, unread = measured_pairs(records, sizes)
    return pairs, damaged + unread


def _print(powers: list[ListPower]) -> None:
    rows = [
        [
            power.size.name, " ".join(power.size.parts), f"{power.size.videos:,}", str(smallest.fits),
            _points(smallest.other_videos),
            " / ".join(map(_points, smallest.trained_again)) if smallest.fits > 1 else "cannot be shown",
        ]
        for power in powers
        for smallest in power.smallest
    ]  # fmt: skip
    put(table(rows, _HEADER))
    pairs = f", {powers[0].pairs} pairs of rows (Holm's first step)" if powers[0].pairs > 1 else ""
    put(f"\nsmallest difference in points, shown with a probability of about 80 % (trained again: 75 %) at 5 %{pairs}")
    for power in powers:
        size = power.size
        sources = f", {size.clusters:,} sources" if size.clusters else ""
        origin = "" if size.prepared else " (published size; the list is not prepared)"
        sds = " / ".join(f"{sd:.2g}" for sd in power.fit_sds)
        put(
            f"{size.name}: discordance {power.discordance:.3g} %, design effect {power.design_effect:.2f}{sources}, "
            f"SD between fits {sds} points{origin}"
        )
        if power.measured:
            put(f"  measured from {'; '.join(power.measured)}")
    for guesses, names in _guesses(powers).items():
        put(f"guessed for {', '.join(names)}: {'; '.join(guesses)}")


def _guesses(powers: list[ListPower]) -> dict[tuple[str, ...], list[str]]:
    """Names of the lists by their guesses."""
    names: dict[tuple[str, ...], list[str]] = {}
    for power in powers:
        if power.guesses:
            names.setdefault(power.guesses, []).append(power.size.name)
    return names


def _points(difference: float | None) -> str:
    return NOT_SHOWN if difference is None else f"{difference:.1f}"
