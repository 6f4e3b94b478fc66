"""`export`: the weights of a finished fit as one safetensors file in open_clip's naming."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from harness.base.errors import EXIT_DONE
from harness.commands._arguments import (
    add_fit_backbone,
    add_places,
    fit_of,
    load_plugins,
    say,
    settings_of,
    verb_parser,
)


def add_parser(verbs: Any) -> None:
    """Arguments of `export`."""
    parser = verb_parser(
        verbs, "export", "weights of a fit as safetensors in open_clip's naming",
        "Write all weights of a finished fit to one safetensors file: CLIP's under open_clip's names, a method's own\n"
        "below `method.`. A method that adds nothing gives a file that open_clip loads.",
    )  # fmt: skip
    parser.add_argument("fit", metavar="DIR", help="folder of a finished fit")
    parser.add_argument("--out", required=True, metavar="FILE", help="file to write, .safetensors")
    add_fit_backbone(parser)
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", help="load a plugin file first")
    add_places(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the file."""
    load_plugins(arguments)
    from harness.engine.method_weights import export
    from harness.running.load_fit import restore

    fit = fit_of(arguments, Path(arguments.fit))
    say(f"weights: {export(restore(fit.folder, fit.row, settings_of(arguments)), Path(arguments.out))}")
    return EXIT_DONE
