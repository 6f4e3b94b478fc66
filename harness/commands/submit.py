"""`submit`: pack results for a board; check, accept and reproduce submissions."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

from harness.base.errors import EXIT_DONE, EXIT_FAILED, UserError
from harness.commands._arguments import (
    add_compute_options,
    add_folders,
    add_json,
    add_plugins,
    compute_options_of,
    load_plugins,
    settings_of,
)
from harness.commands._output import put, put_json, say
from harness.commands._parser import Verbs, verb_parser
from harness.spec.overrides import parse_pairs


def add_parser(verbs: Verbs) -> None:
    """Arguments of all parts of `submit`."""
    parser = verb_parser(
        verbs, "submit", "pack, check and accept submissions",
        "Turn finished records into a row of a board. See docs/submitting.md for every rule and its reason.",
        "examples:\n"
        "  python -m harness submit pack mymethod --weights --out mymethod.zip\n"
        "  python -m harness submit check mymethod.zip\n",
    )  # fmt: skip
    kinds = parser.add_subparsers(dest="what", metavar="{pack,check,diff,reproduce,rules}", required=True)
    _add_pack(kinds)
    _add_check(kinds)
    _add_diff(kinds)
    _add_reproduce(kinds)
    verb_parser(
        kinds, "rules", "all rules with reason and fix", "Print every rule of `submit check` with its reason and fix.",
        "example:\n  python -m harness submit rules\n",
    )  # fmt: skip


def _add_pack(kinds: Verbs) -> None:
    pack = verb_parser(
        kinds, "pack", "collect the results of a method into one zip file",
        "Collect records, predictions, card, fits with recipes, environments and, with --weights, weights: for each\n"
        "protocol and dataset the whole row with the declared recipe, in its newest complete generation. If several\n"
        "variants remain, they are listed; an option, a recipe setting or a row key selects one of them.\n"
        "Equal inputs give equal bytes. Damaged records are named and left out; the exit code is then 1.",
        "examples:\n"
        "  python -m harness submit pack mymethod --weights --out mymethod.zip\n"
        "  python -m harness submit pack mymethod:width=8 --protocol b2n --out mymethod.zip\n",
    )  # fmt: skip
    pack.add_argument(
        "method", metavar="METHOD[:OPTION=VALUE,...]", help="name of a measured method, with options that select a row"
    )
    pack.add_argument("--out", required=True, metavar="FILE.zip", help="file to write")
    pack.add_argument("--weights", action="store_true", help="add the fits' weights, so that others can reproduce")
    pack.add_argument("--protocol", action="append", default=[], metavar="NAME", help="only this protocol; repeatable")
    pack.add_argument("--dataset", action="append", default=[], metavar="NAME", help="only this dataset; repeatable")
    pack.add_argument(
        "--recipe", action="append", default=[], metavar="KEY=VALUE",
        help="only rows with this recipe setting; repeatable",
    )  # fmt: skip
    pack.add_argument(
        "--row", action="append", default=[], metavar="KEY",
        help="only rows whose key, the end of a signature, begins with KEY; repeatable: all named rows are packed",
    )  # fmt: skip
    pack.add_argument(
        "--method-version", type=int, metavar="N", help="version of the method (default: the highest measured)"
    )
    pack.add_argument("--submitter", default="", metavar="TEXT", help="name of the submitter")
    pack.add_argument("--code", default="", metavar="URL", help="public address of the method's code")
    add_folders(pack)


def _add_check(kinds: Verbs) -> None:
    check = verb_parser(
        kinds, "check", "check submissions against all rules, without torch",
        "Check zip files or folders: format, arithmetic from the predictions, protocol, plausibility. All findings\n"
        "are printed at once, with reason and fix. Nothing is extracted or executed.",
        "example:\n  python -m harness submit check mymethod.zip\n",
    )  # fmt: skip
    check.add_argument("path", nargs="+", metavar="FILE|DIR", help="a submission, or a folder of submissions")
    check.add_argument("--root", default=".", metavar="DIR", help="folder of results/reproductions (default: here)")
    check.add_argument(
        "--accept", metavar="DIR", help="copy submissions that pass into this folder, which `report --runs DIR` reads"
    )
    add_json(check)


def _add_diff(kinds: Verbs) -> None:
    diff = verb_parser(
        kinds, "diff", "check a pull request to a board's repository",
        "Compare two commits: refuse changes of existing submissions, and check every new submission as it is in HEAD.",
        "example:\n  python -m harness submit diff origin/main HEAD\n",
    )  # fmt: skip
    diff.add_argument("base", metavar="BASE", help="commit that the pull request starts from")
    diff.add_argument("head", metavar="HEAD", help="last commit of the pull request")
    diff.add_argument("--repository", default=".", metavar="DIR", help="the board's repository (default: here)")
    diff.add_argument(
        "--account", default="", metavar="NAME", help="account of the pull request, compared with owners.json of BASE"
    )
    diff.add_argument("--summary", metavar="FILE", help="append a summary in Markdown")
    add_json(diff)


def _add_reproduce(kinds: Verbs) -> None:
    again = verb_parser(
        kinds, "reproduce", "evaluate a sample again from the submitted weights",
        "Evaluate a seeded sample of every list again, compare first predictions and probabilities, and write the\n"
        "outcome to results/reproductions/. The method must be installed: a submission holds no code. This runs the\n"
        "code of the method on this machine; for a method that is not built in, --run-code allows it.",
        "examples:\n"
        "  python -m harness submit reproduce vificlip.zip --seed 1 --sign ~/.ssh/id_ed25519\n"
        "  python -m harness submit reproduce mymethod.zip --plugin mymethod.py --run-code\n",
    )  # fmt: skip
    again.add_argument("path", metavar="FILE|DIR", help="a submission that was packed with --weights")
    again.add_argument("--fraction", type=float, default=0.05, metavar="X", help="sampled share of each list (0.05)")
    again.add_argument("--seed", type=int, metavar="N", help="seed of the sample (default: random and printed)")
    again.add_argument("--root", default=".", metavar="DIR", help="the board's repository (default: here)")
    again.add_argument("--run-code", action="store_true", help="allow code of a method that is not built in to run")
    again.add_argument("--sign", metavar="KEY", help="private key of OpenSSH that signs the attestation")
    add_json(again)
    add_plugins(again)
    again.add_argument("--weights", metavar="FILE", help="weight file of the backbone, if records name it by its hash")
    again.add_argument(
        "--file", action="append", default=[], metavar="OPTION=FILE",
        help="file of an option, if the records name a file by its hash; repeatable",
    )  # fmt: skip
    add_compute_options(again)
    add_folders(again)


def run(arguments: argparse.Namespace) -> int:
    """Run the chosen part of `submit`."""
    parts = {"pack": _pack, "check": _check, "diff": _diff, "reproduce": _reproduce, "rules": _rules}
    return parts[arguments.what](arguments)


def _pack(arguments: argparse.Namespace) -> int:
    from harness import __version__
    from harness.spec.options import split_method
    from results.submission.choose import Choice
    from results.submission.pack import About, pack

    method, options = split_method(arguments.method)
    choice = Choice(
        method, tuple(arguments.protocol), tuple(arguments.dataset), options,
        parse_pairs(arguments.recipe, "--recipe"), tuple(arguments.row), arguments.method_version,
    )  # fmt: skip
    about = About(arguments.submitter, arguments.code, __version__, arguments.weights)
    packed = pack(settings_of(arguments).runs.path, choice, Path(arguments.out), about)
    for reason in packed.left_out:
        say(f"left out: {reason}")
    for note in packed.notes:
        say(f"note: {note}")
    for problem in packed.damaged:
        say(f"damaged, left out: {problem}")
    say(f"packed {packed.records} records and {packed.fits} fits: {packed.path}")
    say(f"check it as a board would: python -m harness submit check {packed.path}")
    return EXIT_FAILED if packed.damaged else EXIT_DONE


def _check(arguments: argparse.Namespace) -> int:
    from harness.submitting.check_folder import check_all, submissions_below

    candidates = [candidate for text in arguments.path for candidate in submissions_below(Path(text))]
    board = Path(arguments.accept) if arguments.accept else None
    submissions = []
    for checked, folder in check_all(candidates, Path(arguments.root), board):
        submissions.append(checked)
        if not arguments.json:
            put(checked.text())
        if folder is not None:
            say(f"accepted: {folder}")
    passed = all(checked.passed for checked in submissions)
    if arguments.json:
        put_json({"passed": passed, "submissions": [checked.as_dict() for checked in submissions]})
    elif not submissions:
        say(f"no submission below {', '.join(arguments.path)}")
    return EXIT_DONE if passed else EXIT_FAILED


def _diff(arguments: argparse.Namespace) -> int:
    from harness.submitting.check_folder import check_changes
    from results.submission.summary import summary

    made, submissions = check_changes(
        Path(arguments.repository), arguments.base, arguments.head, arguments.account
    )
    passed = not made.findings and all(checked.passed for checked in submissions)
    if arguments.summary:
        with Path(arguments.summary).open("a", encoding="utf-8") as file:
            file.write(summary(made, submissions))
    if arguments.json:
        changes = [finding.as_dict() for finding in made.findings]
        checked = [submission.as_dict() for submission in submissions]
        put_json({"passed": passed, "changes": changes, "outside": made.outside, "submissions": checked})
    else:
        for path in made.outside:
            put(f"outside submissions, a maintainer reviews it: {path}")
        for text in (*map(str, made.findings), *(submission.text() for submission in submissions)):
            put(text)
        say(
            f"{len(submissions)} new submissions, {len(made.findings)} refused changes, {len(made.outside)} changes "
            "outside submissions"
        )
    return EXIT_DONE if passed else EXIT_FAILED


def _reproduce(arguments: argparse.Namespace) -> int:
    import secrets

    from harness.base.atomic import write_json
    from harness.submitting.reproduce import Sampling, foreign_code, reproduce
    from results.codec import encode
    from results.submission.attestation import NAMESPACE, REPRODUCTIONS, sign

    # Before anything is imported: a plugin runs when it is loaded.
    if arguments.plugin and not arguments.run_code:
        raise foreign_code(f"the plugin {arguments.plugin[0]}")
    load_plugins(arguments)
    if not 0 < arguments.fraction <= 1:
        raise UserError(f"--fraction is {arguments.fraction:g}, expected a number above 0 and up to 1.")
    # Not predictable: a submitter who knows the sample could invent all other predictions.
    seed = secrets.randbits(32) if arguments.seed is None else arguments.seed
    root = Path(arguments.root)
    files = parse_pairs(arguments.file, "--file")
    sampling = Sampling(seed, arguments.fraction, arguments.weights, files, arguments.run_code)
    reproduced = reproduce(Path(arguments.path), settings_of(arguments), compute_options_of(arguments), sampling, root)
    attestation = reproduced.attestation()
    # A name of its own for each sample: a failed reproduction is not replaced by a later one.
    name = f"{attestation.method}-v{attestation.version}-{attestation.digest[:8]}-{seed}"
    file = next(
        path for number in itertools.count(1)
        if not (path := root / REPRODUCTIONS / f"{name}{'' if number == 1 else f'-{number}'}.json").exists()
    )  # fmt: skip
    write_json(file, encode(attestation))
    if arguments.sign:
        say(f"signed: {sign(file, Path(arguments.sign))}")
    if arguments.json:
        put_json(attestation)
    else:
        put(reproduced.text())
    say(f"written: {file}")
    if not arguments.sign:
        say(f"sign it, so that it counts: ssh-keygen -Y sign -n {NAMESPACE} -f KEY {file}")
    return EXIT_FAILED if reproduced.failures else EXIT_DONE


def _rules(arguments: argparse.Namespace) -> int:
    from results.submission.rules import GROUPS, RULES

    for letter, title in GROUPS.items():
        put(title)
        for rule in (rule for rule in RULES.values() if rule.id.startswith(letter)):
            put(f"  {rule.id} {rule.requirement}\n       reason: {rule.reason}\n       fix: {rule.fix}")
    return EXIT_DONE
