"""A SLURM of one node, started in a folder of the test's own and stopped with it.

The node has two GPUs in name: SLURM counts them out and tells jobs their numbers, and there is nothing behind them.
Jobs of the partition `urgent` take the place of those of `debug`, which are queued again.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scontrol")

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
ReturnToService=2
KillWait=3
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=4000 Gres=gpu:2 State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=urgent Nodes={host} PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE State=UP
"""
GPUS = """\
Name=gpu File=/dev/null
Name=gpu File=/dev/zero
"""


def missing() -> str:
    """Why there can be no SLURM here; empty if there can."""
    if absent := [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]:
        return f"not installed: {', '.join(absent)} (Debian: slurmctld slurmd slurm-client munge)"
    return "" if os.geteuid() == 0 else "slurmd needs root"


def search_path() -> str:
    """PATH with the folders of system programs."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which SLURM's programs find a running cluster of this machine alone."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    configuration = folder / "slurm.conf"
    ports = dict(zip(("controller", "node"), _free_ports(2), strict=True))
    cores = os.cpu_count() or 1
    configuration.write_text(CONFIGURATION.format(folder=folder, host=socket.gethostname(), cores=cores, **ports))
    (folder / "gres.conf").write_text(GPUS)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    environment = {"SLURM_CONF": str(configuration), "PATH": search_path()}
    munge = [f"--{name}={folder}/munge.{end}" for name, end in (
        ("key-file", "key"), ("socket", "sock"), ("pid-file", "pid"), ("log-file", "log"), ("seed-file", "seed")
    )]  # fmt: skip
    try:
        for command in (["munged", "--force", *munge], ["slurmctld", "-c"], ["slurmd"]):
            ask(command, environment)
        _wait_for_node(environment)
        yield environment
    finally:
        with suppress(subprocess.SubprocessError):
            ask(["scancel", "--user=root"], environment)
        for name in ("slurmd", "slurmctld", "munge"):
            with suppress(OSError, ValueError):
                os.kill(int((folder / f"{name}.pid").read_text()), signal.SIGTERM)


def _free_ports(count: int) -> list[int]:
    with_sockets = [socket.socket() for _ in range(count)]
    for one in with_sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in with_sockets]
    for one in with_sockets:
        one.close()
    return ports


def ask(command: list[str], environment: dict[str, str]) -> str:
    """What a program of the cluster prints."""
    found = {**os.environ, **environment}
    program = shutil.which(command[0], path=environment["PATH"]) or command[0]
    return subprocess.run(
        [program, *command[1:]], env=found, check=True, capture_output=True, text=True, timeout=60
    ).stdout


def _wait_for_node(environment: dict[str, str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(subprocess.SubprocessError):
            if ask(["sinfo", "--noheader", "--format=%T"], environment).strip() in ("idle", "mixed", "allocated"):
                return
        time.sleep(0.5)
    raise TimeoutError("the node did not become idle")
