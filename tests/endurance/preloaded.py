"""Runs of the command line in processes that need no start-up: a server that has everything imported and forks.

A fresh `python -m harness` spends most of a small run on imports, where a kill tests nothing. The forked process is
the same program with the same files and locks; the slow tests of `tests/engine/test_resume.py` kill fresh ones.
Requests and answers are JSON lines on stdin and stdout.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import importlib
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TextIO

from tests.conftest import ROOT, machine_free

MODULES = (
    "harness.running.compute_cells", "harness.running.run", "harness.running.load_fit", "harness.running.predict",
    "harness.engine.model.backbone", "harness.engine.video.mm_pipeline",
    "harness.engine.attention", "harness.data.official.prepare", "reports.site", "reports.export", "results.compare",
    "results.score",
)  # fmt: skip


@dataclass(frozen=True)
class Done:
    """How a run ended: exit code (negative: the signal), what it wrote, how many changes of files were counted."""

    code: int
    out: str
    err: str
    changes: int = 0


class Server:
    """The forking server as seen from a test: the one that was forked early, if there is one, else a new program."""

    def __init__(self, folder: Path, preload: Path | None = None) -> None:
        self.folder, self.count = folder, 0
        if _forked and not preload:
            self.process, self._stdin, self._stdout = None, *_forked.pop()
            assert self._ask({}) == "ready"
            return
        environment = machine_free() | ({"LD_PRELOAD": str(preload)} if preload else {})
        self.process: subprocess.Popen[str] | None = subprocess.Popen(
            [sys.executable, "-m", "tests.endurance.preloaded"], cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert self.process.stdin is not None and self.process.stdout is not None
        self._stdin, self._stdout = self.process.stdin, self.process.stdout
        assert self._ask({}) == "ready"

    def _ask(self, request: dict[str, Any]) -> Any:
        self._stdin.write(json.dumps(request) + "\n")
        self._stdin.flush()
        return json.loads(self._stdout.readline())

    def start(
        self,
        *arguments: object,
        patch: dict[str, Any] | None = None,
        file_limit: int = 0,
        ordinary: bool = False,
        watch: Path | None = None,
        kill_at: int = 0,
        environment: dict[str, str] | None = None,
    ) -> Run:
        """Start `harness ARGUMENTS`.

        Args:
            arguments: Of the command line.
            patch: Module attributes to set first, `module:name` -> value.
            file_limit: Largest size of a file in bytes; 0 for none.
            ordinary: Permissions of files hold for it, also where the tests run as root.
            watch: Folder whose changes (files opened for writing, renamed, removed, folders made) are counted.
            kill_at: Number of the change at which the process kills itself, just before it; 0 for never.
            environment: Environment variables to set first.
        """
        self.count += 1
        files = [str(self.folder / f"{self.count}.{kind}") for kind in ("out", "err", "changes")]
        request = {"run": [str(a) for a in arguments], "files": files, "patch": patch or {}, "file_limit": file_limit}
        request["environment"] = environment or {}
        request |= {"ordinary": ordinary, "watch": str(watch) if watch else "", "kill_at": kill_at}
        return Run(self, int(self._ask(request)), *map(Path, files))

    def run(self, *arguments: object, **options: Any) -> Done:
        """Run to the end."""
        return self.start(*arguments, **options).wait()

    def stop(self) -> None:
        """End the server; its runs have been waited for."""
        self._stdin.close()
        if self.process is not None:
            self.process.wait(timeout=10)
        self._stdout.close()


_forked: list[tuple[TextIO, TextIO]] = []
"""Pipes to and from the server that was forked before the first test; empty once a test uses it."""


def fork_early() -> None:
    """Fork the server from this process, which imported all packages to collect tests: a new program needs 8 s for it.

    Only before the first test: nothing was computed yet, so that no thread of OpenMP or CUDA is lost by the fork.
    """
    requests, questions = os.pipe()
    replies, answers = os.pipe()
    if os.fork() == 0:
        _become_server(requests, answers)
    os.close(requests)
    os.close(answers)
    _forked.append((os.fdopen(questions, "w"), os.fdopen(replies)))


def _become_server(requests: int, answers: int) -> NoReturn:
    """Turn a fork of the process that runs tests into the server, with nothing of pytest left that a run could see."""
    code = 1
    try:
        os.setsid()
        os.chdir(ROOT)
        faulthandler.disable()  # it writes to a file of pytest that is closed here
        os.dup2(requests, 0)
        os.dup2(answers, 1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        # Pipes of pytest-xdist among them, by which the main process notices that a worker has ended.
        os.closerange(3, 4096)
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
        os.environ |= (environment := machine_free())
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        logging.root.handlers.clear()
        # pytest drops the filters of warnings that imports set during collection.
        importlib.reload(importlib.import_module("harness.engine.video.mm_setup"))
        serve()
        code = 0
    finally:
        os._exit(code)


@dataclass(frozen=True)
class Run:
    """A running command."""

    server: Server
    pid: int
    out: Path
    err: Path
    changes: Path

    def wait(self) -> Done:
        """Its end. The caller must have started it last or not need another answer meanwhile."""
        code = int(self.server._ask({"wait": self.pid}))
        changes = int(self.changes.read_text()) if self.changes.is_file() else 0
        return Done(code, self.out.read_text(), self.err.read_text(), changes)

    def kill(self, number: int) -> None:
        """Send a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


class _Watch:
    """Counts changes below a folder, as Python announces them before they happen."""

    WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

    def __init__(self, folder: str, kill_at: int) -> None:
        self.folder, self.kill_at, self.count, self.pid = folder, kill_at, 0, os.getpid()
        sys.addaudithook(self.seen)

    def seen(self, event: str, arguments: tuple[Any, ...]) -> None:
        changes = event in ("os.rename", "os.remove", "os.mkdir") or (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & self.WRITES
        )
        if not changes or os.getpid() != self.pid:
            return
        path = arguments[0]
        if isinstance(path, (str, bytes, os.PathLike)) and os.fsdecode(path).startswith(self.folder):
            self.count += 1
            if self.count == self.kill_at:
                os.kill(self.pid, signal.SIGKILL)


def _obey_permissions() -> None:
    """Drop the capabilities by which root reads and writes what permissions forbid (Linux)."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if libc.capget(header, sets):
        raise OSError(ctypes.get_errno(), "capget")
    for place in (0, 1):  # effective and permitted; bits 1 and 2 are DAC_OVERRIDE and DAC_READ_SEARCH
        sets[place] &= ~0b110
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")


def _child(request: dict[str, Any]) -> None:
    code, watch = 1, None
    try:
        for descriptor, name in zip((1, 2), request["files"][:2], strict=True):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.setsid()
        os.environ.update(request["environment"])
        for place, value in request["patch"].items():
            module, _, name = place.partition(":")
            setattr(importlib.import_module(module), name, value)
        if request["file_limit"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_limit"], resource.RLIM_INFINITY))
        if request["ordinary"]:
            _obey_permissions()
        if request["watch"]:
            watch = _Watch(request["watch"], request["kill_at"])
        from harness.cli import main

        sys.argv = ["harness", *request["run"]]
        code = main(request["run"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if watch is not None:
            Path(request["files"][2]).write_text(str(watch.count))
        os._exit(code)


def serve() -> None:
    """Answer requests until stdin ends."""
    for module in MODULES:
        importlib.import_module(module)
    answers = os.dup(1)
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        answer: Any = "ready"
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        elif "run" in request:
            answer = os.fork()
            if answer == 0:
                os.close(answers)
                _child(request)
        os.write(answers, (json.dumps(answer) + "\n").encode())


if __name__ == "__main__":
    serve()
    os._exit(0)  # nothing to tidy up, and much to tear down
