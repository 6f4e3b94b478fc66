"""The function of a job: runs one command, links its log, writes its status, and stops it before a preemption.

submitit pickles `JobCommand` in the submitting process and unpickles it in the job; it holds texts only.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from harness.base.atomic import write_json
from harness.executor.ledger import JobStatus, read_status
from results.codec import encode

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

_Arguments = list[str] | str | dict[str, str | None] | tuple[str, ...]
TERMINATION_SECONDS = 20.0
"""Time between SIGTERM and SIGKILL when a command is stopped; it is enough to finish writing a checkpoint."""
GRACE_SECONDS = 180.0
"""Time that a cancelled SLURM job waits to be killed; longer than the grace time of usual clusters."""


class JobCommand:
    """A command line as the function of a submitit job.

    submitit sends a signal to a job that is preempted or out of time and calls `checkpoint`: the command is stopped
    and the job queued again. The command then resumes at the last epoch of its fit.

    Args:
        command: Argument list.
        cwd: Working directory of the command.
        status: JSON file for the status of the job.
        lock: File that is locked while the job runs; empty for no lock, since cluster file systems need not have locks.
        environment: Variables to set for the command; a variable with the value None is removed.
        log_links: Folders that get a link to the log if they exist when the command ends: the folders of its results.
    """

    def __init__(
        self,
        command: list[str],
        cwd: str,
        status: str,
        lock: str = "",
        environment: Mapping[str, str | None] | None = None,
        log_links: Iterable[str] = (),
    ) -> None:
        self.command = command
        self.cwd = cwd
        self.status = status
        self.lock = lock
        self.environment = dict(environment or {})
        self.log_links = tuple(log_links)
        self._child: subprocess.Popen[bytes] | None = None

    def __reduce__(self) -> tuple[type[JobCommand], tuple[_Arguments, ...]]:
        """Pickle the arguments alone: a process cannot be pickled."""
        return JobCommand, (self.command, self.cwd, self.status, self.lock, self.environment, self.log_links)

    def __call__(self) -> None:
        """Run the command; the job ends with the command's exit code."""
        # The lock shows other processes that the job runs, even if it is killed before it writes its status.
        with self._locked():
            # From the file, because each turn is a new process that unpickles the same arguments.
            turn = read_status(Path(self.status)).turn + 1
            self._write_status("running", turn)
            code = self._run()
            self._link_log()
            self._write_status("ended", turn, code)
        # No traceback: the log ends with the last lines of the command, and the job fails with its exit code.
        if code:
            # No traceback: the log ends with the last lines of the command, and the job fails with its exit code.
            sys.exit(code if code > 0 else 128 - code)

    def checkpoint(self) -> DelayedSubmission:
        """Stop the command and return the function of the job's next turn, for submitit."""
        from submitit.helpers import DelayedSubmission

        # Ended here and awaited: the next turn must not start while the old command still writes its checkpoint.
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(TERMINATION_SECONDS)
            except subprocess.TimeoutExpired:
                self._child.kill()
        return DelayedSubmission(self)

    def _run(self) -> int:
        environment = {k: v for k, v in {**os.environ, **self.environment}.items() if v is not None}
        self._child = subprocess.Popen(
            # A child process and not a call: a crash in torch or a decoder must leave a process that writes the status.
            self.command,
            cwd=self.cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            preexec_fn=_ignore_notice,
        )
        code = self._child.wait()
        if code == -signal.SIGTERM and os.environ.get("SUBMITIT_EXECUTOR") == "slurm":
            # SLURM ends the whole job. If it queues the job again, the job must not look as if it failed by itself:
            # wait until SLURM kills this process at the end of its grace time.
            time.sleep(GRACE_SECONDS)
        return code

    def _link_log(self) -> None:
        from submitit import JobEnvironment

        job = JobEnvironment()
        log = job.paths.stdout
        for folder in map(Path, self.log_links):
            link = folder / f"job_{job.job_id}.log"
            with suppress(OSError):  # some file systems have no links; the log itself is complete without them
                if folder.is_dir() and not link.is_symlink():
                    # Relative, so that a moved run folder keeps its links.
                    link.symlink_to(os.path.relpath(log, folder))

    def _write_status(self, state: str, turn: int, returncode: int | None = None) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(Path(self.status), encode(JobStatus(state, turn, returncode, socket.gethostname(), now)))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if not self.lock:
            yield
            return
        with FileLock(self.lock):
            yield


def _ignore_notice() -> None:
    """Ignore submitit's signals in the command: SLURM sends them to all processes, but only the job acts on them."""
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
