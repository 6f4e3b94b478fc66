"""`check`: is the installation sound, are the data complete, does a method keep its contract?"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from harness.base.errors import EXIT_DONE, EXIT_FAILED, UserError
from harness.commands._arguments import add_places, put, say, settings_of, table, verb_parser


def add_parser(verbs: Any) -> None:
    """Arguments of `check env`, `check data` and `check method`."""
    parser = verb_parser(verbs, "check", "installation and data", "Checks that print what is wrong and the way out.")
    kinds = parser.add_subparsers(dest="what", metavar="{env,data,method}", required=True)
    env = verb_parser(
        kinds, "env", "compare what is installed with the known-good set",
        "Compare installed versions with the tested set, import what is known to break, and print the pip line that\n"
        "mends what is wrong. `pip check` finds none of these faults.",
    )  # fmt: skip
    env.add_argument("--json", action="store_true", help="print data on stdout")
    method = verb_parser(
        kinds, "method", "does a method keep the contract of methods?",
        "Run the contract checks on a small random CLIP and synthetic clips: shapes, label order, independence of\n"
        "other videos, declared parameters, no memory of label sets, saving, half precision. Failures are explained.",
        "examples:\n"
        "  python -m harness check method mine.py\n"
        "  python -m harness check method \"vificlip:template='a video of {}'\"\n",
    )  # fmt: skip
    method.add_argument("method", metavar="NAME|FILE", help="a method, with options as for run, or a plugin file")
    method.add_argument("--json", action="store_true", help="print data on stdout")
    data = verb_parser(
        kinds, "data", "counts, missing and ambiguous videos of a dataset",
        "Compare the lists of a dataset with what lies on disk; with --decode read every clip twice and count those\n"
        "on which decord's random access and a sequential decode disagree.",
    )  # fmt: skip
    data.add_argument("dataset", metavar="NAME|PATH", help="dataset, or a folder of class folders")
    data.add_argument("--decode", action="store_true", help="decode every clip (slow)")
    data.add_argument("--json", action="store_true", help="print data on stdout")
    add_places(data)


def run(arguments: argparse.Namespace) -> int:
    """Run the chosen check; 1 if something is wrong."""
    return {"env": _env, "data": _data, "method": _method}[arguments.what](arguments)


def _method(arguments: argparse.Namespace) -> int:
    import time

    from harness.engine.contract.checks import check_method
    from harness.engine.method import method_class

    started = time.monotonic()
    names, options = _methods(arguments.method)
    failed, data = 0, {}
    for name in names:
        results = check_method(method_class(name), options)
        data[name] = [dataclasses.asdict(c) for c in results]
        failed += sum(not c.ok for c in results)
        if not arguments.json:
            rows = [["ok" if c.ok else "FAILED", c.name, c.promise] for c in results]
            put(f"{name}\n" + table(rows, ["", "CHECK", "PROMISE"]))
            for found in (c for c in results if not c.ok):
                put(f"\n{found.name}: {found.explanation}")
    if arguments.json:
        put(data)
    checks = sum(map(len, data.values()))
    say(f"{checks - failed} of {checks} checks passed in {time.monotonic() - started:.1f} s")
    return EXIT_FAILED if failed else EXIT_DONE


def _methods(text: str) -> tuple[list[str], dict[str, str]]:
    """The methods of a plugin file, or the one that is named with its options."""
    from harness.plugins import registry
    from harness.spec.options import split_method

    if not text.endswith(".py"):
        name, options = split_method(text)
        return [name], options
    path = Path(text)
    loaded = registry.load_file(path)
    names = [name for name in loaded if registry.sources("method").get(name, None) is not None]
    if not names:
        raise UserError(f"The plugin file {path} registers no method, only the protocols {', '.join(loaded)}.")
    return names, {}


def _env(arguments: argparse.Namespace) -> int:
    from harness.machine.installation_check import check_environment, mending_line, python_line

    states = check_environment()
    line = mending_line(states)
    if arguments.json:
        put({"python": python_line(), "packages": [dataclasses.asdict(s) for s in states], "mend": line})
        return EXIT_FAILED if line else EXIT_DONE
    put(python_line())
    rows = [[s.name, s.installed or "-", s.tested or "-", s.allowed or "any", s.state, s.problem] for s in states]
    put(table(rows, ["PACKAGE", "INSTALLED", "TESTED", "ALLOWED", "STATE", "PROBLEM"]))
    if line:
        say(f"mend with:\n  {line}")
        return EXIT_FAILED
    other = sum(s.state == "other" for s in states)
    say(
        "sound: every package is the tested version"
        if not other
        else f"sound; {other} packages differ from the tested versions"
    )
    return EXIT_DONE


def _data(arguments: argparse.Namespace) -> int:
    from harness.data.catalog import open_dataset
    from harness.data.check import check_data
    from harness.engine.video.decode_check import DecodeWorker

    settings = settings_of(arguments)
    dataset = open_dataset(arguments.dataset, settings)
    dataset.prepare()
    with DecodeWorker() as worker:  # starts its process with the first clip
        report = check_data(dataset, worker.check if arguments.decode else None)
    put(report.as_dict() if arguments.json else report.text())
    return EXIT_DONE if report.complete else EXIT_FAILED
