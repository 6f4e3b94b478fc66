"""How jobs are run: kind of executor and what a job asks for, each value with its origin."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.base.errors import UserError, unknown_name
from harness.machine.settings import Given

KINDS = ("inline", "local", "slurm")
SBATCH = "sbatch."


@dataclass(frozen=True)
class ExecutorOptions:
    """What `[executor]` in `harness.toml`, `HARNESS_EXECUTOR*` and the flags of `run` say. No part of any identity.

    Args:
        kind: `inline` (in this process), `local` (processes of this machine) or `slurm`.
        partition, account, qos, constraint: As `sbatch` takes them.
        time: Minutes a job may take; it is stopped before and goes on in a new turn.
        turns: How often a job that ran out of its time is queued again.
        gpus: GPUs a job; None asks for none. More than one starts `torchrun` inside the job.
        processes: Processes a job; None for one a GPU.
        cpus: CPU cores a job.
        memory: Memory a job as `sbatch --mem` takes it, such as `64GB`.
        parallel: Jobs at a time; None for 256 on a cluster and 1 on this machine.
        setup: Shell lines before the job, such as `module load cuda`.
        sbatch: Any further `sbatch` option by its long name.
        origins: Where each value that is not a default comes from.
    """

    kind: str = "inline"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    time: int = 720
    turns: int = 20
    gpus: int | None = None
    processes: int | None = None
    cpus: int | None = None
    memory: str | None = None
    parallel: int | None = None
    setup: tuple[str, ...] = ()
    sbatch: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def processes_per_job(self) -> int:
        """Processes that `torchrun` starts in a job; 1 starts none."""
        return self.processes or self.gpus or 1

    def __str__(self) -> str:
        """Every value that is set, with its origin."""
        shown = []
        for name in ("partition", "account", "qos", "constraint", "time", "gpus", "processes", "cpus", "memory",
                     "parallel", "setup", "sbatch"):  # fmt: skip
            value = getattr(self, name)
            if value not in (None, (), {}):
                unit = " min" if name == "time" else ""
                shown.append(f"{name} {value}{unit} ({self.origins.get(name, 'default')})")
        return f"executor {self.kind} ({self.origins.get('kind', 'default')}): {', '.join(shown)}"


def executor_options(given: Mapping[str, Given]) -> ExecutorOptions:
    """The options of the settings `executor.*`.

    Raises:
        UserError: An unknown name, or a value that cannot be used.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    sbatch: dict[str, str] = {}
    for name, item in given.items():
        if name.startswith(SBATCH):
            sbatch[name.removeprefix(SBATCH).replace("_", "-")] = str(item.value)
            origins["sbatch"] = item.origin
            continue
        if name not in _READERS:
            error = unknown_name("executor setting", name, _READERS)
            raise UserError(f"{item.origin}: {error.message}", f"Known: {', '.join(_READERS)}, sbatch.OPTION.")
        try:
            values[name] = _READERS[name](item.value)
        except (TypeError, ValueError) as error:
            raise UserError(f"executor.{name} is {item.value!r} ({item.origin}), expected {error}.") from None
        origins[name] = item.origin
    return ExecutorOptions(**values, sbatch=sbatch, origins=origins)


def minutes(value: Any) -> int:
    """Minutes of a number of them, or of SLURM's `HH:MM:SS`, `MM:SS`, `D-HH[:MM[:SS]]`; rounded up."""
    days, dash, rest = str(value).rpartition("-")
    parts = rest.split(":")
    if not re.fullmatch(r"\d+(:\d+){0,2}", rest) or (dash and not days.isdigit()):
        raise ValueError("minutes, HH:MM:SS or D-HH:MM:SS")
    numbers = [int(part) for part in parts]
    if dash:
        hours, mins, seconds = [*numbers, 0, 0][:3]
    elif len(numbers) == 1:
        hours, mins, seconds = 0, numbers[0], 0
    else:
        hours, mins, seconds = ([0] * (3 - len(numbers)) + numbers)[:3]
    total = int(days or 0) * 86400 + hours * 3600 + mins * 60 + seconds
    if total <= 0:
        raise ValueError("a time above 0")
    return -(-total // 60)


def _kind(value: Any) -> str:
    if value not in KINDS:
        raise ValueError(f"one of {', '.join(KINDS)}")
    return str(value)


def _text(value: Any) -> str:
    if not isinstance(value, (str, int, float)) or not str(value).strip():
        raise ValueError("a text")
    return str(value)


def _memory(value: Any) -> str:
    text = str(value).strip().upper()
    if not re.fullmatch(r"[1-9]\d*([KMGT]B?)?", text):
        raise ValueError("a size such as 64GB")
    return text if text[-1].isalpha() else f"{text}GB"


def _number(least: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not re.fullmatch(r"\d+", str(value)) or int(value) < least:
            raise ValueError(f"a whole number, at least {least}")
        return int(value)

    return read


def _lines(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(line, str) for line in value):
        raise ValueError("shell lines")
    return tuple(value)


_READERS: dict[str, Callable[[Any], Any]] = {
    "kind": _kind, "partition": _text, "account": _text, "qos": _text, "constraint": _text, "time": minutes,
    "turns": _number(0), "gpus": _number(0), "processes": _number(1), "cpus": _number(1), "memory": _memory,
    "parallel": _number(1), "setup": _lines,
}  # fmt: skip
