"""Options of the executor: its kind and the resources of a job, each value with its origin."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from harness.base.errors import UserError, near_hint, unknown_setting
from harness.machine.settings import Given

KINDS = ("inline", "local", "slurm")
SBATCH = "sbatch."


@dataclass(frozen=True)
class ExecutorOptions:
    """Options from `[executor]` in `harness.toml`, `HARNESS_EXECUTOR*` and the flags of `run`. Not part of any key.

    Args:
        kind: `inline` (in this process), `local` (processes of this machine) or `slurm`.
        partition, account, qos, constraint: As `sbatch` takes them.
        time: Minutes of a job; a job is stopped before its end and continues in a new turn.
        turns: Number of times that a job that ran out of its time is queued again.
        gpus: GPUs of a job; None requests none. With more than one, the job starts `torchrun`.
        processes: Processes of a job; None for one per GPU.
        cpus: CPU cores of a job.
        memory: Memory of a job as `sbatch --mem` takes it, such as `64GB`.
        parallel: Jobs that run at the same time; None for 256 on a cluster and 1 on this machine.
        setup: Shell lines before the job, such as `module load cuda`.
        sbatch: Any further `sbatch` option by its long name.
        origins: Origin of each value that is not a default.
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


NAMES = tuple(f.name for f in fields(ExecutorOptions) if f.name not in ("sbatch", "origins"))


def executor_options(given: Mapping[str, Given]) -> ExecutorOptions:
    """The options of the settings `executor.*`.

    Raises:
        UserError: An unknown name, or a value of another type or outside its range.
    """
    sbatch = {name.removeprefix(SBATCH): item for name, item in given.items() if name.startswith(SBATCH)}
    values = {name: item for name, item in given.items() if not name.startswith(SBATCH)}
    for name, item in values.items():
        if name not in NAMES:
            error = unknown_setting("executor setting", name, (*NAMES, "sbatch.OPTION"), "Settings")
            raise UserError(f"{item.origin}: {error.message}", error.hint)
    origins = {name: item.origin for name, item in values.items()}
    for item in sbatch.values():
        origins["sbatch"] = item.origin
    read, default = _Reader(values), ExecutorOptions()
    return ExecutorOptions(
        kind=read.kind() or default.kind,
        partition=read.text("partition"),
        account=read.text("account"),
        qos=read.text("qos"),
        constraint=read.text("constraint"),
        time=read.minutes("time") or default.time,
        # Not `or`: 0 turns is a valid value.
        turns=default.turns if (turns := read.number("turns", 0)) is None else turns,
        gpus=read.number("gpus", 0),
        processes=read.number("processes", 1),
        cpus=read.number("cpus", 1),
        memory=read.memory(),
        parallel=read.number("parallel", 1),
        setup=read.setup(),
        sbatch={name.replace("_", "-"): str(item.value) for name, item in sbatch.items()},
        origins=origins,
    )


class _Reader:
    """Values of `[executor]`, which come as text from flags and with TOML's types from the configuration file.

    Each method returns None for a value that is not given, and raises a `UserError` for a value that is not valid.
    """

    def __init__(self, given: Mapping[str, Given]) -> None:
        self.given = given

    def _invalid(self, name: str, expected: str) -> UserError:
        item = self.given[name]
        hint = near_hint(str(item.value), KINDS) if name == "kind" else ""
        return UserError(f"executor.{name} is {item.value!r} ({item.origin}), expected {expected}.", hint)

    def text(self, name: str) -> str | None:
        """A text that is not blank."""
        if name not in self.given:
            return None
        value = self.given[name].value
        if not isinstance(value, (str, int, float)) or not str(value).strip():
            raise self._invalid(name, "a text")
        return str(value)

    def kind(self) -> str | None:
        """One of `KINDS`."""
        if "kind" not in self.given:
            return None
        value = self.given["kind"].value
        if value not in KINDS:
            raise self._invalid("kind", f"one of {', '.join(KINDS)}")
        return str(value)

    def number(self, name: str, least: int) -> int | None:
        """A whole number from `least`."""
        if name not in self.given:
            return None
        value = self.given[name].value
        # TOML's `true` is an int for Python, and would count as 1.
        if isinstance(value, bool) or not re.fullmatch(r"\d+", str(value)) or int(str(value)) < least:
            raise self._invalid(name, f"a whole number, at least {least}")
        return int(str(value))

    def minutes(self, name: str) -> int | None:
        """Minutes of a time as SLURM writes it."""
        if name not in self.given:
            return None
        try:
            return minutes(str(self.given[name].value))
        except ValueError as error:
            raise self._invalid(name, str(error)) from None

    def memory(self) -> str | None:
        """A size with its unit; a number without unit counts in GB."""
        if "memory" not in self.given:
            return None
        text = str(self.given["memory"].value).strip().upper()
        if not re.fullmatch(r"[1-9]\d*([KMGT]B?)?", text):
            raise self._invalid("memory", "a size such as 64GB")
        # sbatch would read a bare number as MB, which nobody means for a fit.
        return text if text[-1].isalpha() else f"{text}GB"

    def setup(self) -> tuple[str, ...]:
        """Shell lines: one text, or a list of texts."""
        value = self.given["setup"].value if "setup" in self.given else []
        lines = [value] if isinstance(value, str) else value
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise self._invalid("setup", "shell lines")
        return tuple(lines)


def minutes(text: str) -> int:
    """Minutes of a time, rounded up.

    Args:
        text: Minutes, or SLURM's `MM:SS`, `HH:MM:SS` or `D-HH[:MM[:SS]]`.

    Raises:
        ValueError: The text has another form, or is zero. Its message says what is expected.
    """
    days, dash, rest = text.rpartition("-")
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
    return -(-total // 60)  # rounded up: a job must not get less time than requested
