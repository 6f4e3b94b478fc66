"""What runs inside a job: one command line, its log, its end, and its next turn after a preemption.

submitit carries `JobCommand`, which holds nothing but texts, from the submitting process into the job.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from harness.base.atomic import write_json
from harness.executor.ledger import LEDGER_SCHEMA, read_status

TERMINATION_SECONDS = 20.0
GRACE_SECONDS = 180.0


class JobCommand:
    """A command line as the function of a submitit job.

    A job that is preempted or out of time gets a signal from submitit, which calls `checkpoint`: the command is
    stopped and the job queued again. The command resumes by itself, at the last epoch of its fit.

    Args:
        command: The argument list.
        cwd: The folder it runs in.
        status: JSON file that says when it started and how it ended.
        lock: File that is locked as long as the job lives; empty for none (cluster file systems need not have locks).
        environment: Variables that are set for the command; those that are None are removed.
        beside: Folders that get a link to the log, if they are there when the command ends: those of its results.
    """

    def __init__(
        self, command: list[str], cwd: str, status: str, lock: str = "",
        environment: dict[str, str | None] | None = None, beside: Iterable[str] = (),
    ) -> None:  # fmt: skip
        self.command = command
        self.cwd = cwd
        self.status = status
        self.lock = lock
        self.environment = dict(environment or {})
        self.beside = tuple(beside)
        self._child: subprocess.Popen[bytes] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_child": None}

    def __call__(self) -> None:
        """Run the command; leaves the job with its exit code unless that is 0."""
        with self._held():
            turn = int(read_status(Path(self.status)).get("turn", 0)) + 1
            self._write(state="running", turn=turn)
            code = self._run()
            self._link_log()
            self._write(state="ended", turn=turn, returncode=code)
        if code:
            # No traceback of ours: the log shall end with the command's own words, and the job fail with its code.
            sys.exit(code if code > 0 else 128 - code)

    def checkpoint(self) -> Any:
        """Stop the command and hand submitit what the job's next turn runs."""
        from submitit.helpers import DelayedSubmission

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
            self.command, cwd=self.cwd, env=environment, stdin=subprocess.DEVNULL, preexec_fn=_deaf_to_notice,
        )  # fmt: skip
        code = self._child.wait()
        if code == -signal.SIGTERM and os.environ.get("SUBMITIT_EXECUTOR") == "slurm":
            # The whole job was told to end. If it is to be queued again, it must not look as if it failed by itself:
            # SLURM kills it when its grace time is over.
            time.sleep(GRACE_SECONDS)
        return code

    def _link_log(self) -> None:
        from submitit import JobEnvironment

        job = JobEnvironment()
        log = job.paths.stdout
        for folder in map(Path, self.beside):
            link = folder / f"job_{job.job_id}.log"
            with suppress(OSError):  # file systems without links do without them
                if folder.is_dir() and not link.is_symlink():
                    link.symlink_to(os.path.relpath(log, folder))

    def _write(self, **facts: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(Path(self.status), {"schema": LEDGER_SCHEMA, "host": socket.gethostname(), "time": now, **facts})

    @contextmanager
    def _held(self) -> Any:
        if not self.lock:
            yield
            return
        with FileLock(self.lock):
            yield


def _deaf_to_notice() -> None:
    """Signals of submitit go to every process of a job; this process alone acts on them, and in its order."""
    for name in ("SIGUSR1", "SIGUSR2"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
