"""`profile`: parameters and multiply-adds of methods, beside the published figures."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from harness.commands._arguments import load_plugins, put, table, verb_parser
from harness.errors import EXIT_DONE


def add_parser(verbs: Any) -> None:
    """Arguments of `profile`."""
    parser = verb_parser(
        verbs, "profile", "parameters and multiply-adds of methods",
        "Count parameters and multiply-adds (GMACs; papers print them as GFLOPs) per view, text apart, beside the\n"
        "published figures with the reason of each difference. Nothing is computed: the model is on the meta device.",
    )  # fmt: skip
    parser.add_argument("--method", nargs="+", metavar="NAME", help="methods (all)")
    parser.add_argument("--arch", default="ViT-B-16", metavar="NAME", help="open_clip architecture (ViT-B-16)")
    parser.add_argument("--frames", nargs="+", type=int, default=[16, 32], metavar="T", help="frames per view (16 32)")
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", help="load a plugin file first")
    parser.add_argument("--json", action="store_true", help="print data on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    load_plugins(arguments)
    from harness.engine.profile import profile

    rows = profile(arguments.arch, arguments.method, arguments.frames)
    if arguments.json:
        put([dataclasses.asdict(row) for row in rows])
        return EXIT_DONE
    cells = [
        [
            r.method, str(r.frames), f"{r.parameters_total / 1e6:.2f}", f"{r.parameters_trained / 1e6:.2f}",
            f"{r.video_gmacs:.1f}", f"{r.score_gmacs:.2f}", f"{r.text_gmacs:.2f}", str(r.texts_per_class),
        ]
        for r in rows
    ]  # fmt: skip
    header = ["METHOD", "FRAMES", "PARAMS M", "TRAINED M", "VIDEO GMAC", "SCORE GMAC", "TEXT GMAC", "TEXTS/CLASS"]
    put(table(cells, header))
    for row in rows:
        if row.published is not None:
            p = row.published
            put(f"{row.method}: published {p.gmacs} GFLOPs, {p.parameters} M parameters: {p.explanation}")
    return EXIT_DONE
