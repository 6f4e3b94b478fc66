"""`new`: a method or a protocol to start from, as a package of its own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.base.errors import EXIT_DONE
from harness.commands._arguments import put, say, verb_parser


def add_parser(verbs: Any) -> None:
    """Arguments of `new method` and `new protocol`."""
    parser = verb_parser(
        verbs, "new", "a method or protocol to start from",
        "Write a package that works: one file with the plugin, its test, a README and an entry point, so that it can\n"
        "be installed with pip or given with --plugin. Nothing is overwritten. See docs/write_a_method.md.",
        "examples:\n"
        "  python -m harness new method my_pooling\n"
        "  python -m harness new protocol four_shot --out ../work\n",
    )  # fmt: skip
    kinds = parser.add_subparsers(dest="what", metavar="{method,protocol}", required=True)
    for kind in ("method", "protocol"):
        own = verb_parser(kinds, kind, f"a {kind} to start from", f"Write the package of a new {kind} into OUT/NAME.")
        own.add_argument("name", metavar="NAME", help="small letters, digits and '_', e.g. my_pooling")
        own.add_argument("--out", default=".", metavar="DIR", help="folder to write it into (here)")


def run(arguments: argparse.Namespace) -> int:
    """Write the package and say what comes next."""
    from harness.plugins.new_package import write_skeleton

    for path in write_skeleton(arguments.what, arguments.name, Path(arguments.out)):
        put(str(path))
    file = Path(arguments.out) / arguments.name / f"{arguments.name}.py"
    if arguments.what == "method":
        say(f"next: python -m harness check method {file}")
    else:
        say(f"next: python -m harness show {arguments.name} --plugin {file}")
    return EXIT_DONE
