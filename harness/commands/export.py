"""`export`: the weights of a finished fit as one safetensors file in open_clip's naming."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.commands._arguments import add_places, load_plugins, say, settings_of, verb_parser
from harness.errors import EXIT_DONE


def add_parser(verbs: Any) -> None:
    """Arguments of `export`."""
    parser = verb_parser(
        verbs, "export", "weights of a fit as safetensors in open_clip's naming",
        "Write all weights of a finished fit to one safetensors file: CLIP's under open_clip's names, a method's own\n"
        "below `method.`. A method that adds nothing gives a file that open_clip loads.",
    )  # fmt: skip
    parser.add_argument("fit", metavar="DIR", help="folder of a finished fit")
    parser.add_argument("--out", required=True, metavar="FILE", help="file to write, .safetensors")
    parser.add_argument("--arch", metavar="NAME", help="architecture, if the fit's weights came from a file")
    parser.add_argument("--weights", metavar="TAG|FILE", help="weights, if they came from a file")
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", help="load a plugin file first")
    add_places(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the file."""
    load_plugins(arguments)
    from harness.engine.export import export
    from harness.request import BackboneChoice
    from harness.restore import fit_row, restore

    chosen = BackboneChoice(arguments.arch, arguments.weights) if arguments.arch or arguments.weights else None
    folder = Path(arguments.fit)
    row = fit_row(folder, chosen)
    say(f"weights: {export(restore(folder, row, settings_of(arguments)), Path(arguments.out))}")
    return EXIT_DONE
