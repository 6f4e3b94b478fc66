"""`export`: the weights of a finished fit as one safetensors file with open_clip's names."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.base.errors import EXIT_DONE, UserError
from harness.commands._arguments import add_fit_backbone, add_folders, add_plugins, open_fit
from harness.commands._output import say
from harness.commands._parser import Verbs, verb_parser


def add_parser(verbs: Verbs) -> None:
    """Arguments of `export`."""
    parser = verb_parser(
        verbs, "export", "weights of a fit as safetensors with open_clip's names",
        "Write all weights of a finished fit to one safetensors file: CLIP's weights under open_clip's names, the\n"
        "method's own weights under `method.`. open_clip loads the file of a method without weights of its own.\n"
        "The file states method, options, classes, input statistics, views and recipe, so that `--checkpoint FILE` of\n"
        "`predict` and `run` needs no other flag. A model card with recipe and scores lies beside it (NAME.card.md).",
        "example:\n"
        "  python -m harness export runs/mini-clip/vificlip/FIT_FOLDER --out vificlip.safetensors\n",
    )  # fmt: skip
    parser.add_argument("fit", metavar="DIR", help="folder of a finished fit")
    parser.add_argument("--out", required=True, metavar="FILE", help="file to write, .safetensors")
    add_fit_backbone(parser)
    add_plugins(parser)
    add_folders(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the file."""
    out = Path(arguments.out)
    if out.suffix != ".safetensors" or out.is_dir():
        raise UserError(
            f"--out is {out}, expected a file that ends in .safetensors.",
            f"Write --out {out.with_suffix('.safetensors')}",
        )
    fitted = open_fit(arguments, Path(arguments.fit))
    from harness.running.exported import export_fit

    weights, card = export_fit(fitted, out)
    say(f"weights: {weights}")
    say(f"model card: {card}")
    return EXIT_DONE
