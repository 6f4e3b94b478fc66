"""Arguments that several verbs share, and their translation into settings, requests and compute options."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.errors import UserError
from harness.base.imports import without_collections
from harness.machine.compute_options import DEVICES, PRECISIONS, SHARDS, ComputeOptions
from harness.machine.settings import Settings, load_settings
from harness.spec.options import split_method
from harness.spec.overrides import parse_pairs
from harness.weights.activation import ACTIVATIONS

if TYPE_CHECKING:
    from harness.cells.backbone import BackboneChoice
    from harness.cells.request import MethodChoice, Request
    from harness.running.load_fit import FittedMethod


def add_folders(parser: argparse.ArgumentParser, several_runs: bool = False) -> None:
    """Arguments for the folders of this machine.

    Args:
        parser: The parser of the verb.
        several_runs: Whether the verb reads several run folders: `--runs A B`, see `run_folders_of`.
    """
    group = parser.add_argument_group("folders (also harness.toml and HARNESS_* variables)")
    if several_runs:
        group.add_argument("--runs", nargs="+", metavar="DIR", help="run folders, shown together (default: runs)")
    else:
        group.add_argument("--runs", metavar="DIR", help="folder of fits and records (default: runs)")
    group.add_argument("--cache", metavar="DIR", help="rendered mini datasets, indexes, cached features")
    group.add_argument("--weights-dir", metavar="DIR", help="folder with weight files of open_clip tags")
    group.add_argument("--lists-dir", metavar="DIR", help="folder with published or generated lists")
    group.add_argument(
        "--data", metavar="NAME=DIR", action="append", default=[],
        help="videos of a dataset or of a table NAME.csv, e.g. ucf101=/data/UCF-101",
    )  # fmt: skip
    group.add_argument(
        "--data-labels", metavar="NAME=FILE", action="append", default=[],
        help="class names of a table or folder NAME whose classes are numbers",
    )  # fmt: skip


def add_json(parser: argparse.ArgumentParser) -> None:
    """The flag `--json`."""
    parser.add_argument("--json", action="store_true", help="print data on stdout")


def add_plugins(parser: argparse._ActionsContainer) -> None:
    """The argument `--plugin`."""
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE", help="load a plugin file first")


def add_fit_backbone(parser: argparse.ArgumentParser) -> None:
    """Arguments for the backbone of a fit: `fit.json` holds the hash of a weight file and not its path."""
    parser.add_argument("--arch", metavar="NAME", help="architecture, if the fit's weights came from a file")
    parser.add_argument("--weights", metavar="TAG|FILE", help="weights, if they came from a file that was moved")
    add_fit_files(parser)


def add_weights(parser: argparse._ActionsContainer) -> None:
    """Arguments for the weights of CLIP."""
    parser.add_argument(
        "--weights", metavar="TAG|FILE",
        help="open_clip tag, weight file, folder, hf-hub:ORG/NAME, or random (default: openai)",
    )  # fmt: skip
    add_weight_settings(parser)


def add_weight_settings(parser: argparse._ActionsContainer) -> None:
    """Arguments for settings that a weight file need not state."""
    parser.add_argument(
        "--activation", choices=tuple(ACTIVATIONS),
        help="activation of a weight file that does not state it (`check weights FILE` tells)",
    )  # fmt: skip
    parser.add_argument(
        "--base", metavar="TAG|FILE", help="CLIP weights that complete a file of ViFi-CLIP (default: openai)"
    )


def add_fit_files(parser: argparse.ArgumentParser) -> None:
    """The argument `--file`, for files that options of a fit name and that were moved since."""
    parser.add_argument(
        "--file", action="append", default=[], metavar="OPTION=FILE",
        help="file that an option of the fit names, if it was moved; repeatable",
    )  # fmt: skip


def open_fit(arguments: argparse.Namespace, folder: Path) -> FittedMethod:
    """Load the finished fit of a folder, with the plugins, backbone and files that the flags name."""
    load_plugins(arguments)
    with without_collections():
        from harness.running.load_fit import load_fit

    files = parse_pairs(arguments.file, "--file")
    return load_fit(folder, settings_of(arguments), backbone_of(arguments), files)


def find_fit_folders(arguments: argparse.Namespace) -> list[Path]:
    """The folders of the fits that `--method` and `--fit` choose."""
    from harness.running.load_fit import find_fits

    backbone_of(arguments)  # contradictory flags are an error even if no fit is found
    return find_fits(settings_of(arguments).runs.path, arguments.method, arguments.fit)


def backbone_of(arguments: argparse.Namespace) -> BackboneChoice | None:
    """The backbone that `--arch`, `--weights`, `--activation` and `--base` choose; None if none is given."""
    # Only verbs with weights that a fit does not name already have the last two flags.
    activation, base = getattr(arguments, "activation", None), getattr(arguments, "base", None)
    if arguments.arch is None and arguments.weights is None and activation is None and base is None:
        return None
    from harness.cells.architectures import check_backbone
    from harness.cells.backbone import BackboneChoice

    choice = BackboneChoice(arguments.arch, arguments.weights, activation, base)
    check_backbone(choice)  # before torch is imported
    return choice


def run_folders_of(arguments: argparse.Namespace) -> list[Path]:
    """The run folders of a verb that reads several."""
    named: list[str] | None = arguments.runs
    # Without the option the settings name one folder.
    return list(map(Path, named)) if named else [settings_of(arguments).runs.path]


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Settings from the flags of `add_folders` and `add_executor`, the environment and the configuration file."""
    flags = {f"data.{name}": folder for name, folder in parse_pairs(arguments.data, "--data").items()}
    flags |= {f"labels.{name}": file for name, file in parse_pairs(arguments.data_labels, "--data-labels").items()}
    for name, value in (
        ("runs", arguments.runs), ("cache", arguments.cache), ("weights", arguments.weights_dir),
        ("lists", arguments.lists_dir),
    ):  # fmt: skip
        if value:
            flags[name] = value
    for name in EXECUTOR_FLAGS:  # only `run` has these flags
        if (value := getattr(arguments, name, None)) is not None:
            flags["executor.kind" if name == "executor" else f"executor.{name}"] = value
    for name, value in parse_pairs(getattr(arguments, "sbatch", []), "--sbatch").items():
        flags[f"executor.sbatch.{name}"] = value
    return load_settings(flags)


EXECUTOR_FLAGS = (
    "executor", "partition", "account", "qos", "constraint", "time", "gpus", "processes", "cpus", "memory", "parallel",
)  # fmt: skip


def add_executor(parser: argparse.ArgumentParser) -> None:
    """Arguments for the executor and the resources of a job."""
    group = parser.add_argument_group("jobs (also [executor] in harness.toml and HARNESS_EXECUTOR* variables)")
    group.add_argument(
        "--executor", metavar="inline|local|slurm",
        help="in this process (default), processes of this machine, or SLURM jobs; one job per fit with its evals",
    )  # fmt: skip
    group.add_argument("--detach", action="store_true", help="submit the jobs and return")
    for name, metavar, text in (
        ("partition", "NAME", "SLURM partition"), ("account", "NAME", "SLURM account"), ("qos", "NAME", "SLURM QOS"),
        ("constraint", "TEXT", "node features, e.g. a100"),
        ("time", "TIME", "time of a job: minutes, HH:MM:SS or D-HH:MM:SS (720); longer fits resume in a next turn"),
        ("gpus", "N", "GPUs of a job; more than one starts torchrun in it"),
        ("processes", "N", "processes of a job (default: one per GPU)"), ("cpus", "N", "CPU cores of a job"),
        ("memory", "SIZE", "memory of a job, e.g. 64GB"),
        ("parallel", "N", "jobs that run at the same time (slurm: 256, local: 1)"),
    ):  # fmt: skip
        group.add_argument(f"--{name}", metavar=metavar, help=text)
    group.add_argument(
        "--sbatch", action="append", default=[], metavar="OPTION=VALUE", help="any further sbatch option, repeatable"
    )


def add_request(parser: argparse.ArgumentParser) -> None:
    """Arguments for methods, protocols, datasets and overrides."""
    group = parser.add_argument_group("what to measure (--method and --protocol are required)")
    group.add_argument(
        "--method", nargs="+", action="extend", default=[], metavar="NAME[:OPTION=VALUE,...]",
        help="method, with options if needed, e.g. vificlip:template='a video of {}'; repeatable",
    )  # fmt: skip
    group.add_argument(
        "--protocol", nargs="+", action="extend", default=[], metavar="NAME", help="protocol; repeatable"
    )
    group.add_argument(
        "--dataset", nargs="+", action="extend", default=[], metavar="NAME|PATH",
        help="dataset, a folder of class folders, or a CSV of path and class; default: the protocol's datasets that "
        "are configured, else the embedded benchmark",
    )  # fmt: skip
    group.add_argument(
        "--arch", metavar="NAME", help="open_clip architecture, or mini-clip (default for embedded data)"
    )
    add_weights(group)
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
    group.add_argument(
        "--lists", default="published", choices=("published", "own"), help="own: draw lists that are not published"
    )
    group.add_argument(
        "--source", metavar="NAME", help="dataset that zero_shot and parent fits train on (default: k400; mini_source)",
    )  # fmt: skip
    for name, metavar, text in (("repeat", "N", "only this repeat"), ("shots", "K", "only this K (few_shot)")):
        group.add_argument(
            f"--{name}", type=int, action="append", default=[], metavar=metavar, help=f"{text}; repeatable"
        )
    group.add_argument(
        "--seeds", type=int, default=0, metavar="N",
        help="fit each training list N times, from fixed seeds, and average the fits (default: the protocol's repeats)",
    )
    group.add_argument(
        "--limit", type=int, default=0, metavar="N",
        help="sample: N videos per class of every list, for a first look; such rows are not ranked",
    )  # fmt: skip
    group.add_argument(
        "--part", action="append", default=[], metavar="NAME",
        help="only evals of this part: base, novel, k4; source: the source's evaluation list (zero_shot); repeatable",
    )  # fmt: skip
    add_plugins(group)


def request_of(arguments: argparse.Namespace) -> Request:
    """The request of the flags of `add_request`; loads `--plugin` files.

    Raises:
        UserError: `--method` or `--protocol` is missing, or a value is not valid.
    """
    # The export of a fit states its method.
    needed = ("protocol",) if arguments.checkpoint else ("method", "protocol")
    absent = [f"--{name}" for name in needed if not getattr(arguments, name)]
    if absent:
        example = "python -m harness run --method vificlip --protocol b2n"
        raise UserError(f"Required arguments are missing: {', '.join(absent)}.", f"Example: {example}")
    load_plugins(arguments)
    _check_names(arguments)
    from harness.cells.request import Request

    return Request(
        methods=_methods_of(arguments),
        protocols=tuple(dict.fromkeys(arguments.protocol)),
        datasets=tuple(dict.fromkeys(arguments.dataset)),
        backbone=backbone_of(arguments),
        recipe=parse_pairs(arguments.recipe, "--recipe"),
        views=parse_pairs(arguments.views, "--views"),
        eval_views=parse_pairs(arguments.eval_views, "--eval-views"),
        variant=arguments.label_set,
        lists=arguments.lists,
        repeats=tuple(arguments.repeat),
        shots=tuple(arguments.shots),
        seeds=arguments.seeds,
        parts=tuple(arguments.part),
        limit=arguments.limit,
        source=arguments.source,
    )


def _check_names(arguments: argparse.Namespace) -> None:
    """Check the names of protocols and methods before the modules of requests are imported.

    Raises:
        UserError: A name does not exist, or an argument for one method is given with several.
    """
    from harness.plugins.registry import require_known

    number = len(arguments.method)
    if arguments.set and number > 1:
        raise UserError(f"--set needs exactly one --method, found {number}.", "Write NAME:OPTION=VALUE instead.")
    if arguments.checkpoint and number > 1:
        raise UserError(f"--checkpoint needs exactly one --method, found {number}.", "Give one method at a time.")
    require_known("protocol", arguments.protocol)
    require_known("method", [split_method(text)[0] for text in arguments.method])


def _methods_of(arguments: argparse.Namespace) -> tuple[MethodChoice, ...]:
    """The method choices of `--method`, with `--set` and `--checkpoint` for a single method."""
    from harness.cells.exported_method import exported_methods, with_checkpoint
    from harness.cells.request import parse_methods

    methods = parse_methods(arguments.method) or exported_methods(arguments.checkpoint)
    if options := parse_pairs(arguments.set, "--set"):
        methods = (replace(methods[0], options={**methods[0].options, **options}),)
    if arguments.checkpoint:
        methods = (with_checkpoint(methods[0], arguments.checkpoint),)
    return methods


def load_plugins(arguments: argparse.Namespace) -> None:
    """Load the files given with `--plugin`; a file that does not load is a warning, so that other methods still run."""
    from harness.plugins.loose_files import load_or_warn

    for text in arguments.plugin:
        load_or_warn(Path(text))


def add_compute_options(parser: argparse.ArgumentParser) -> None:
    """Arguments for device, precision and workers; none of them is part of a key."""
    group = parser.add_argument_group("how to compute (not part of a result's identity)")
    group.add_argument("--device", default="auto", choices=DEVICES, help="device (auto)")
    group.add_argument("--precision", default="auto", choices=PRECISIONS, help="of the forward pass (auto)")
    group.add_argument(
        "--workers", type=int, metavar="N", help="decode processes; 0 decodes in this process, without time limit"
    )
    group.add_argument(
        "--fit-clips", type=int, metavar="N", help="clips per device batch in fits (speed and memory only)"
    )
    group.add_argument("--eval-clips", type=int, metavar="N", help="videos per device batch in evals")
    group.add_argument(
        "--decode-seconds", type=float, default=60.0, metavar="S", help="limit of CPU time per video (60)"
    )
    group.add_argument(
        "--allow-missing", action="store_true", help="use the videos of a list that exist; the row is not ranked"
    )
    group.add_argument(
        "--no-feature-cache", action="store_true", help="do not store or read features of frozen vision towers"
    )
    group.add_argument(
        "--compile", nargs="?", const="on", default="auto", choices=("auto", "on", "off"),
        help="compile the vision tower's blocks (auto: in long fits and evals, where it pays)",
    )  # fmt: skip
    group.add_argument(
        "--grad-checkpointing", action="store_true", help="recompute activations: less memory, a third more computation"
    )
    group.add_argument(
        "--shard", default="none", choices=SHARDS,
        help="with several processes: zero divides the optimiser's moments among them, fsdp all of the towers' blocks",
    )  # fmt: skip
    group.add_argument("--quiet", action="store_true", help="no progress bars or lines")


def compute_options_of(arguments: argparse.Namespace) -> ComputeOptions:
    """The compute options of the flags of `add_compute_options`."""
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
        # Only `run` and `plan` have these two.
        track=getattr(arguments, "track", False),
        keep_epochs=getattr(arguments, "keep_epochs", "none"),
    )
