"""Arguments shared by verbs, and their translation into settings, requests and compute."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.base.errors import UserError
from harness.cells.backbone import BackboneChoice
from harness.cells.request import Request, parse_methods
from harness.engine.compute.processes import rank_of_process
from harness.machine.compute_options import SHARDS, ComputeOptions
from harness.machine.settings import Settings, load_settings
from harness.spec.overrides import parse_pairs

if TYPE_CHECKING:
    from harness.running.load_fit import FinishedFit


def verb_parser(verbs: Any, name: str, help: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """The parser of a verb, keeping the line breaks of its description."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=help, description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    return parser


def add_places(parser: argparse.ArgumentParser) -> None:
    """Where things lie on this machine."""
    group = parser.add_argument_group("places (also harness.toml and HARNESS_* variables)")
    group.add_argument("--runs", metavar="DIR", help="folder of fits and records (default: runs)")
    group.add_argument("--cache", metavar="DIR", help="rendered mini datasets, indexes, downloads")
    group.add_argument("--weights-dir", metavar="DIR", help="folder with weight files of open_clip tags")
    group.add_argument("--lists-dir", metavar="DIR", help="folder with published or generated lists")
    group.add_argument(
        "--data", metavar="NAME=DIR", action="append", default=[], help="videos of a dataset, e.g. ucf101=/data/UCF-101"
    )


def add_fit_backbone(parser: argparse.ArgumentParser) -> None:
    """The backbone of a fit, for those whose file is not recorded: only its content is."""
    parser.add_argument("--arch", metavar="NAME", help="architecture, if the fit's weights came from a file")
    parser.add_argument("--weights", metavar="TAG|FILE", help="weights, if they came from a file that was moved")
    add_fit_files(parser)


def add_fit_files(parser: argparse.ArgumentParser) -> None:
    """The places of files that options of a fit name, if they were moved since."""
    parser.add_argument(
        "--file", action="append", default=[], metavar="OPTION=FILE",
        help="file that an option of the fit named, if it was moved; repeatable",
    )  # fmt: skip


def fit_of(arguments: argparse.Namespace, folder: Path) -> FinishedFit:
    """The finished fit of a folder, with the backbone and the files that the flags name."""
    from harness.running.load_fit import open_fit

    return open_fit(folder, backbone_of(arguments), parse_pairs(arguments.file, "--file"))


def backbone_of(arguments: argparse.Namespace) -> BackboneChoice | None:
    """The backbone that `--arch` and `--weights` choose; None where neither is given."""
    if arguments.arch is None and arguments.weights is None:
        return None
    return BackboneChoice(arguments.arch, arguments.weights)


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Settings from the flags of `add_places`, the environment and the configuration file."""
    flags = {f"data.{name}": place for name, place in parse_pairs(arguments.data, "--data").items()}
    for name, value in (
        ("runs", arguments.runs), ("cache", arguments.cache), ("weights", arguments.weights_dir),
        ("lists", arguments.lists_dir),
    ):  # fmt: skip
        if value:
            flags[name] = value
    for name in EXECUTOR_FLAGS:
        if (value := getattr(arguments, name, None)) is not None:
            flags["executor.kind" if name == "executor" else f"executor.{name}"] = value
    for name, value in parse_pairs(getattr(arguments, "sbatch", []), "--sbatch").items():
        flags[f"executor.sbatch.{name}"] = value
    return load_settings(flags)


EXECUTOR_FLAGS = (
    "executor", "partition", "account", "qos", "constraint", "time", "gpus", "processes", "cpus", "memory", "parallel",
)  # fmt: skip


def add_executor(parser: argparse.ArgumentParser) -> None:
    """Where the cells are computed, and what a job asks for."""
    group = parser.add_argument_group("jobs (also [executor] in harness.toml and HARNESS_EXECUTOR* variables)")
    group.add_argument(
        "--executor", metavar="inline|local|slurm",
        help="in this process (default), as processes of this machine, or as SLURM jobs; one job a fit with its evals",
    )  # fmt: skip
    group.add_argument("--detach", action="store_true", help="submit the jobs and return")
    for name, metavar, text in (
        ("partition", "NAME", "SLURM partition"), ("account", "NAME", "SLURM account"), ("qos", "NAME", "SLURM QOS"),
        ("constraint", "TEXT", "node features, e.g. a100"),
        ("time", "TIME", "minutes, HH:MM:SS or D-HH:MM:SS a job (720); longer fits go on in the next turn"),
        ("gpus", "N", "GPUs a job; more than one starts torchrun in it"),
        ("processes", "N", "processes a job (default: one a GPU)"), ("cpus", "N", "CPU cores a job"),
        ("memory", "SIZE", "memory a job, e.g. 64GB"), ("parallel", "N", "jobs at a time (slurm: 256, local: 1)"),
    ):  # fmt: skip
        group.add_argument(f"--{name}", metavar=metavar, help=text)
    group.add_argument(
        "--sbatch", action="append", default=[], metavar="OPTION=VALUE", help="any further sbatch option, repeatable"
    )
    group.add_argument("--cells", help=argparse.SUPPRESS)  # keys, comma-separated: what a job computes of a request


def add_request(parser: argparse.ArgumentParser) -> None:
    """What to measure."""
    group = parser.add_argument_group("what to measure")
    group.add_argument(
        "--method", nargs="+", action="extend", required=True, metavar="NAME[:OPTION=VALUE,...]",
        help="method, with options if needed, e.g. vificlip:template='a video of {}'; repeatable",
    )  # fmt: skip
    group.add_argument(
        "--protocol", nargs="+", action="extend", required=True, metavar="NAME", help="protocol; repeatable"
    )
    group.add_argument(
        "--dataset", nargs="+", action="extend", default=[], metavar="NAME|PATH",
        help="dataset, a folder of class folders, or a CSV of path and class; default: the protocol's datasets that "
        "are configured, else the embedded benchmark",
    )  # fmt: skip
    group.add_argument(
        "--arch", metavar="NAME", help="open_clip architecture, or mini-clip (default for embedded data)"
    )
    group.add_argument("--weights", metavar="TAG|FILE", help="open_clip tag, weight file, or random (default: openai)")
    group.add_argument(
        "--checkpoint", metavar="FILE",
        help="published or exported weights of the (single) method: evaluate them instead of fitting",
    )  # fmt: skip
    group.add_argument("--recipe", action="append", default=[], metavar="KEY=VALUE", help="override a recipe setting")
    group.add_argument("--views", action="append", default=[], metavar="KEY=VALUE", help="override a view setting")
    group.add_argument(
        "--eval-views", action="append", default=[], metavar="KEY=VALUE",
        help="override a view setting in evaluation only; fits stay as they are",
    )  # fmt: skip
    group.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="option of the (single) method")
    group.add_argument(
        "--label-set", default="published", choices=("published", "corrected", "split"),
        help="class names: corrected (HMDB-51, two swapped pairs), split (UCF-101, blanks between words)",
    )  # fmt: skip
    group.add_argument("--lists", default="published", choices=("published", "own"), help="own: draw absent lists")
    group.add_argument("--source", metavar="NAME", help="dataset that zero_shot fits on (default: k400; mini_source)")
    group.add_argument("--repeat", type=int, action="append", default=[], metavar="N", help="only this repeat")
    group.add_argument("--shots", type=int, action="append", default=[], metavar="K", help="only this K (few_shot)")
    group.add_argument("--plugin", action="append", default=[], metavar="FILE", help="load a plugin file first")


def request_of(arguments: argparse.Namespace) -> Request:
    """The request of the flags of `add_request`; loads `--plugin` files."""
    load_plugins(arguments)
    methods = parse_methods(arguments.method)
    options = parse_pairs(arguments.set, "--set")
    if options:
        if len(methods) != 1:
            raise UserError(
                f"--set needs exactly one --method, found {len(methods)}.", "Write NAME:OPTION=VALUE instead."
            )
        methods = (replace(methods[0], options={**methods[0].options, **options}),)
    if arguments.checkpoint:
        if len(methods) != 1:
            raise UserError(f"--checkpoint needs exactly one --method, found {len(methods)}.", "Run them one by one.")
        methods = (replace(methods[0], checkpoint=arguments.checkpoint),)
    backbone = backbone_of(arguments)
    return Request(
        methods=methods,
        protocols=tuple(dict.fromkeys(arguments.protocol)),
        datasets=tuple(dict.fromkeys(arguments.dataset)),
        backbone=backbone,
        recipe=parse_pairs(arguments.recipe, "--recipe"),
        views=parse_pairs(arguments.views, "--views"),
        eval_views=parse_pairs(arguments.eval_views, "--eval-views"),
        variant=arguments.label_set,
        lists=arguments.lists,
        repeats=tuple(arguments.repeat),
        shots=tuple(arguments.shots),
        source=arguments.source,
    )


def load_plugins(arguments: argparse.Namespace) -> None:
    """Load the files given with `--plugin`; one that does not load is a warning, so that other methods go on."""
    from harness.plugins.loose_files import load_or_warn

    for text in arguments.plugin:
        load_or_warn(Path(text))


def add_compute_options(parser: argparse.ArgumentParser) -> None:
    """How to compute; none of it changes a number's identity."""
    group = parser.add_argument_group("how to compute (not part of a result's identity)")
    group.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    group.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16", "fp16"))
    group.add_argument("--workers", type=int, metavar="N", help="decode processes; 0 decodes unguarded in this process")
    group.add_argument(
        "--fit-clips", type=int, metavar="N", help="clips per device batch in fits (speed and memory only)"
    )
    group.add_argument("--eval-clips", type=int, metavar="N", help="videos per device batch in evals")
    group.add_argument("--decode-seconds", type=float, default=60.0, metavar="S", help="time limit per video (60)")
    group.add_argument(
        "--allow-missing", action="store_true", help="use what is present of a list; the row is not ranked"
    )
    group.add_argument("--no-feature-cache", action="store_true", help="compute frozen frame features anew")
    group.add_argument(
        "--compile", nargs="?", const="on", default="auto", choices=("auto", "on", "off"),
        help="compile the vision tower's blocks (auto: in long fits and evals, where it pays)",
    )  # fmt: skip
    group.add_argument(
        "--grad-checkpointing", action="store_true", help="less memory, a third more work: recompute activations"
    )
    group.add_argument(
        "--shard", default="none", choices=SHARDS,
        help="with several processes: zero shares the optimiser's moments out, fsdp all of the towers' blocks",
    )  # fmt: skip
    group.add_argument("--quiet", action="store_true", help="no progress bars")


def compute_options_of(arguments: argparse.Namespace) -> ComputeOptions:
    """The compute of the flags of `add_compute_options`."""
    return ComputeOptions(
        device=arguments.device,
        precision=arguments.precision,
        workers=arguments.workers,
        fit_clips=arguments.fit_clips,
        eval_clips=arguments.eval_clips,
        decode_seconds=arguments.decode_seconds,
        allow_missing=arguments.allow_missing,
        quiet=arguments.quiet,
        feature_cache=not arguments.no_feature_cache,
        compile=arguments.compile,
        shard=arguments.shard,
        grad_checkpointing=arguments.grad_checkpointing,
    )


def say(text: str) -> None:
    """A line for people, on stderr, once however many processes a run has."""
    if rank_of_process() == 0:
        sys.stderr.write(text + "\n")


def put(value: Any) -> None:
    """Data on stdout, once: JSON for mappings and lists, text as it is."""
    if rank_of_process():
        return
    text = value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False, default=str)
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def table(rows: list[list[str]], header: list[str]) -> str:
    """Rows as an aligned text table; the last column is not padded."""
    cells = [header, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["  ".join([*(c.ljust(w) for c, w in zip(row[:-1], widths[:-1], strict=True)), row[-1]]) for row in cells]
    return "\n".join(line.rstrip() for line in lines)
