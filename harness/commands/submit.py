"""`submit`: pack results for a board, check what others hand in, take it over, re-evaluate it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.commands._arguments import add_places, load_plugins, put, say, settings_of, verb_parser
from harness.errors import EXIT_DONE, EXIT_FAILED, UserError


def add_parser(verbs: Any) -> None:
    """Arguments of `submit pack` and `submit check`."""
    parser = verb_parser(
        verbs, "submit", "pack, check and take over submissions",
        "From finished records to a row on somebody's board. See docs/submitting.md for every rule and its reason.",
    )  # fmt: skip
    kinds = parser.add_subparsers(dest="what", metavar="{pack,check,rules}", required=True)
    _add_pack(kinds)
    _add_check(kinds)
    verb_parser(kinds, "rules", "all rules with reason and fix", "Print every rule that `submit check` knows.")


def _add_pack(kinds: Any) -> None:
    pack = verb_parser(
        kinds, "pack", "collect the results of a method into one zip file",
        "Collect records, predictions, card, fits with recipes, environments and, if asked for, weights. Equal inputs\n"
        "give equal bytes.",
        "example:\n  python -m harness submit pack mymethod --weights --out mymethod.zip\n",
    )  # fmt: skip
    pack.add_argument("method", metavar="METHOD", help="name of a measured method")
    pack.add_argument("--out", required=True, metavar="FILE.zip", help="file to write")
    pack.add_argument("--weights", action="store_true", help="add the fits' weights, so that others can reproduce")
    pack.add_argument("--protocol", action="append", default=[], metavar="NAME", help="only this protocol; repeatable")
    pack.add_argument("--dataset", action="append", default=[], metavar="NAME", help="only this dataset; repeatable")
    pack.add_argument("--method-version", metavar="N", help="version of the method (default: the newest measured)")
    pack.add_argument("--submitter", default="", metavar="TEXT", help="who hands it in")
    pack.add_argument("--code", default="", metavar="URL", help="where the method's code is public")
    pack.add_argument("--plugin", action="append", default=[], metavar="FILE", help="load a plugin file first")
    add_places(pack)


def _add_check(kinds: Any) -> None:
    check = verb_parser(
        kinds, "check", "check submissions against all rules, without torch",
        "Check zip files or folders: format, arithmetic from the predictions, protocol, plausibility. Everything that\n"
        "is wrong is printed at once, with the reason and the way out. Nothing is extracted or executed.",
    )  # fmt: skip
    check.add_argument("path", nargs="+", metavar="FILE|DIR", help="a submission, or a folder of submissions")
    check.add_argument("--root", default=".", metavar="DIR", help="repository with results/waivers (default: here)")
    check.add_argument("--json", action="store_true", help="print data on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Run the chosen part."""
    return {"pack": _pack, "check": _check, "rules": _rules}[arguments.what](arguments)


def _pack(arguments: argparse.Namespace) -> int:
    from harness import __version__
    from results.submission.pack import Choice, pack

    load_plugins(arguments)
    version = arguments.method_version
    paper, source = _card(arguments.method)
    choice = Choice(
        arguments.method, tuple(arguments.protocol), tuple(arguments.dataset),
        int(version) if version and version.isdigit() else version, arguments.weights, arguments.submitter,
        arguments.code, paper, source, __version__,
    )  # fmt: skip
    packed = pack(settings_of(arguments).runs.path, choice, Path(arguments.out))
    for reason in packed.left_out:
        say(f"left out: {reason}")
    say(f"packed {packed.records} records and {packed.fits} fits: {packed.path}")
    say(f"check it as a board would: python -m harness submit check {packed.path}")
    return EXIT_DONE


def _card(method: str) -> tuple[str, str]:
    """Paper and source of a method's card; empty where the plugin is not installed here."""
    from harness import registry

    try:
        card = registry.load("method", method).card
    except UserError as error:
        say(f"the card of {method} is left without paper and source: {error.message}")
        return "", ""
    return card.paper, card.source


def _check(arguments: argparse.Namespace) -> int:
    from functools import partial

    from harness.submission_facts import facts_of
    from results.submission.check import check_submission
    from results.submission.waivers import read_waivers

    waivers = read_waivers(Path(arguments.root))
    found = []
    for text in arguments.path:
        for path in submissions_below(Path(text)):
            checked = check_submission(path, partial(facts_of, known={}), waivers)
            found.append(checked)
            if not arguments.json:
                put(checked.text())
    if arguments.json:
        put({"passed": all(c.passed for c in found), "submissions": [c.as_dict() for c in found]})
    return EXIT_DONE if all(checked.passed for checked in found) else EXIT_FAILED


def submissions_below(path: Path) -> list[Path]:
    """A submission itself, or those in the folders METHOD/vVERSION below a folder."""
    if not path.is_dir() or (path / "submission.json").exists():
        return [path]
    found = sorted(p.parent for p in path.glob("*/*/submission.json"))
    return found or [path]


def _rules(arguments: argparse.Namespace) -> int:
    from results.submission.rules import GROUPS, RULES

    for letter, title in GROUPS.items():
        put(title)
        for rule in (rule for rule in RULES.values() if rule.id.startswith(letter)):
            put(f"  {rule.id} {rule.asks}\n       why: {rule.reason}\n       fix: {rule.fix}")
    return EXIT_DONE
