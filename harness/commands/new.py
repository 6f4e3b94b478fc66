"""`new`: write the package of a new method or protocol."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.base.errors import EXIT_DONE
from harness.commands._output import put, say
from harness.commands._parser import Verbs, verb_parser


def add_parser(verbs: Verbs) -> None:
    """Arguments of `new method` and `new protocol`."""
    parser = verb_parser(
        verbs, "new", "write the package of a new method or protocol",
        "Write a package that works: one file with the plugin, its test, a README and an entry point. Install it with\n"
        "pip, or load its file with --plugin. Existing files are not overwritten. See docs/write_a_method.md.",
        "examples:\n"
        "  python -m harness new method my_pooling\n"
        "  python -m harness new protocol four_shot --out ../work\n",
    )  # fmt: skip
    kinds = parser.add_subparsers(dest="what", metavar="{method,protocol}", required=True)
    for kind in ("method", "protocol"):
        kind_parser = verb_parser(
            kinds, kind, f"package of a new {kind}", f"Write the package of a new {kind} into the folder OUT/NAME.",
            f"example:\n  python -m harness new {kind} my_{kind}\n",
        )  # fmt: skip
        kind_parser.add_argument("name", metavar="NAME", help="small letters, digits and '_', e.g. my_pooling")
        kind_parser.add_argument("--out", default=".", metavar="DIR", help="parent folder of the package (here)")


def run(arguments: argparse.Namespace) -> int:
    """Write the package and print the next command."""
    from harness.plugins.new_package import write_skeleton

    for path in write_skeleton(arguments.what, arguments.name, Path(arguments.out)):
        put(str(path))
    file = Path(arguments.out) / arguments.name / f"{arguments.name}.py"
    if arguments.what == "method":
        say(f"next: python -m harness check method {file}")
    else:
        say(f"next: python -m harness show {arguments.name} --plugin {file}")
    return EXIT_DONE
