"""The command line of a job: `run` for some of the cells of a request, in the job's own process or under torchrun."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

from harness.machine.settings import Settings

NOT_PASSED_ON = {
    "help", "executor", "partition", "account", "qos", "constraint", "time", "gpus", "processes", "cpus", "memory",
    "parallel", "sbatch", "detach", "cells", "force", "dry_run", "json", "report", "no_report",
    "runs", "cache", "weights_dir", "lists_dir", "data",
}  # fmt: skip
"""What the submitting process deals with; places are passed on resolved."""


def job_command(
    parser: argparse.ArgumentParser,
    arguments: argparse.Namespace,
    settings: Settings,
    cells: Iterable[str],
    processes: int,
) -> list[str]:
    """The argument list that computes cells of the request of `arguments`.

    Args:
        parser: Of the verb `run`.
        arguments: As parsed by it.
        settings: Places, which the job is told in full: it need not see the same environment.
        cells: Keys.
        processes: More than 1 starts `torchrun`.
    """
    own = ["-m", "harness", "run", *request_flags(parser, arguments), *place_flags(settings)]
    own += ["--executor=inline", f"--cells={','.join(cells)}", "--no-report", "--json"]
    if processes == 1:
        return [sys.executable, *own]
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", *own]


def request_flags(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, omit: Iterable[str] = NOT_PASSED_ON
) -> list[str]:
    """The flags that give these arguments again, whatever flags a parser has.

    Args:
        parser: Its actions are single values, switches, and values that add up.
        arguments: As parsed by it.
        omit: Destinations that are left out.
    """
    left_out, found = set(omit), []
    for action in parser._actions:
        value = getattr(arguments, action.dest, None)
        if action.dest in left_out or not action.option_strings or value == action.default or value is None:
            continue
        flag = action.option_strings[-1]
        if action.nargs == 0:
            found.append(flag)
        else:
            found += [f"{flag}={item}" for item in (value if isinstance(value, list) else [value])]
    return found


def place_flags(settings: Settings) -> list[str]:
    """The places of the settings as flags, absolute."""
    found = [
        f"--runs={settings.runs.path.absolute()}",
        f"--cache={settings.cache.path.absolute()}",
        f"--weights-dir={settings.weights.path.absolute()}",
        f"--lists-dir={settings.lists.path.absolute()}",
    ]
    return found + [f"--data={name}={setting.path.absolute()}" for name, setting in settings.data.items()]


def plan_command(parser: argparse.ArgumentParser, arguments: argparse.Namespace, settings: Settings) -> list[str]:
    """The command that shows the states of a request's jobs; it takes what says what to measure and where it lies."""
    request = next(group for group in parser._action_groups if group.title == "what to measure")
    known = {action.dest for action in request._group_actions}
    omit = {action.dest for action in parser._actions} - known
    runs = [] if settings.runs.origin == "default" else [f"--runs={settings.runs.path}"]
    return ["python", "-m", "harness", "plan", *request_flags(parser, arguments, omit), *runs, *_data_flags(settings)]


def _data_flags(settings: Settings) -> list[str]:
    return [f"--data={name}={item.path}" for name, item in settings.data.items() if item.origin == "flag"]
