"""`profile`: parameters and multiply-adds of methods with published figures, and memory of their fits."""

from __future__ import annotations

import argparse
import dataclasses

from harness.base.errors import EXIT_DONE
from harness.base.imports import without_collections
from harness.cells.architectures import check_backbone
from harness.cells.backbone import BackboneChoice
from harness.commands._arguments import add_json, add_plugins, load_plugins
from harness.commands._output import put, put_json, table
from harness.commands._parser import Verbs, verb_parser
from harness.machine.compute_options import SHARDS
from harness.plugins.registry import method_spec


def add_parser(verbs: Verbs) -> None:
    """Arguments of `profile`."""
    parser = verb_parser(
        verbs, "profile", "parameters and multiply-adds of methods",
        "Count parameters and multiply-adds (GMACs; papers print them as GFLOPs) per view, separately for text, with\n"
        "the published figures and the reason of each difference. The model is on torch's meta device: no weights are\n"
        "loaded and nothing is computed.",
        "examples:\n"
        "  python -m harness profile --method vificlip xclip\n"
        "  python -m harness profile --method vificlip --memory --clips 4 8 --frames 16\n",
    )  # fmt: skip
    parser.add_argument("--method", nargs="+", metavar="NAME", help="methods (all)")
    parser.add_argument("--arch", default="ViT-B-16", metavar="NAME", help="open_clip architecture (ViT-B-16)")
    parser.add_argument("--frames", nargs="+", type=int, default=[16, 32], metavar="T", help="frames per view (16 32)")
    group = parser.add_argument_group("memory of a fit")
    group.add_argument("--memory", action="store_true", help="estimate memory, for --method or all trained methods")
    group.add_argument("--clips", nargs="+", type=int, default=[4], metavar="N", help="clips per device batch (4)")
    group.add_argument("--names", type=int, default=400, metavar="C", help="classes (400)")
    group.add_argument("--precision", default="bf16", choices=("bf16", "fp32"), help="of the forward pass (bf16)")
    group.add_argument("--grad-checkpointing", action="store_true", help="as in `run`")
    group.add_argument("--shard", default="none", choices=SHARDS, help="as in `run`")
    group.add_argument("--processes", type=int, default=1, metavar="N", help="processes that share a fit (1)")
    add_plugins(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    load_plugins(arguments)
    check_backbone(BackboneChoice(arguments.arch, "random"))  # names are checked before torch is imported
    for name in arguments.method or ():
        method_spec(name)
    if arguments.memory:
        return _memory(arguments)
    with without_collections():
        from harness.engine.cost.profile import profile

    rows = profile(arguments.arch, arguments.method, arguments.frames)
    if arguments.json:
        put_json(rows)
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
    explained = {row.method: row.published for row in rows if row.published is not None}
    for name, p in explained.items():
        gflops = "" if p.gmacs is None else f"{p.gmacs} GFLOPs, "
        put(f"{name}: published {gflops}{p.parameters} M parameters: {p.explanation}")
    return EXIT_DONE


def _memory(arguments: argparse.Namespace) -> int:
    """Print the estimated memory of fits."""
    from harness.engine.cost.memory import FitShape, fit_memory
    from harness.plugins import registry

    names = arguments.method or [
        name for name in sorted(registry.sources("method")) if registry.method_spec(name).recipe_for("b2n", "ucf101")
    ]
    rows = []
    for name in names:
        for frames in arguments.frames:
            for clips in arguments.clips:
                shape = FitShape(
                    name, arguments.arch, frames, clips, arguments.names, arguments.precision,
                    arguments.grad_checkpointing, arguments.processes if arguments.shard != "none" else 1,
                    "fsdp" if arguments.shard == "fsdp" else "zero",
                )  # fmt: skip
                rows.append((shape, fit_memory(shape)))
    if arguments.json:
        put_json([{**dataclasses.asdict(s), **dataclasses.asdict(m), "total": m.total} for s, m in rows])
        return EXIT_DONE
    parts = ("parameters", "gradients", "moments", "activations", "working", "total")
    cells = [
        [s.method, str(s.frames), str(s.clips), *(f"{getattr(m, part) / 2**30:.2f}" for part in parts)] for s, m in rows
    ]
    put(table(cells, ["METHOD", "FRAMES", "CLIPS", *(part.upper() for part in parts)]))
    put("GiB per GPU, AdamW in fp32; the CUDA runtime takes 0.5 to 1 GiB more.")
    return EXIT_DONE
