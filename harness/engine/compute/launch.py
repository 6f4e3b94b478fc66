"""Start and end of a run with several processes: the connection that `torchrun` prepares, and one error message."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from harness.base.errors import EXIT_FAILED, EXIT_INTERRUPTED, UserError, machine_error
from harness.engine.compute.processes import (
    SINGLE_PROCESS,
    Processes,
    processes_here,
    rank_of_process,
    size_of_world,
)

PATIENCE = timedelta(minutes=30)
"""Longest wait for gradients of other processes, i.e. the time that the slowest batch of clips may take."""
CONTROL_PATIENCE = timedelta(days=7)
"""Longest wait for a value of the leader, which may itself wait for the lock of another run or render a dataset."""


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Context of a run with connected processes, which all end with it.

    If only one process fails, it writes the error and exits; the launcher then stops the other processes, which may be
    waiting for it.

    Args:
        device: The requested device: `auto`, `cpu` or `cuda`.

    Raises:
        UserError: The processes cannot connect, or a machine has more processes than CUDA devices.
    """
    if size_of_world() == 1:
        yield SINGLE_PROCESS
        return
    processes = SINGLE_PROCESS
    try:
        processes = _connect(device)
        yield processes
        with processes.together():
            pass
    except BaseException as error:
        _end(processes, error)
    import torch.distributed as dist

    dist.destroy_process_group()


def _connect(device: str) -> Processes:
    import torch
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    missing = [n for n in ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(n)]
    if missing:
        raise UserError(
            f"RANK and WORLD_SIZE are set, but these variables are missing: {', '.join(missing)}.",
            "Start several processes with torchrun, or unset RANK and WORLD_SIZE.",
        )
    local, here = int(os.environ["LOCAL_RANK"]), processes_here()
    cuda = device != "cpu" and torch.cuda.is_available()
    if cuda and here > torch.cuda.device_count():
        raise UserError(
            f"{here} processes run on this machine, which has {torch.cuda.device_count()} CUDA devices.",
            "Start one process per device: torchrun --nproc_per_node=gpu.",
        )
    if cuda:
        # NCCL uses the current device: without this line all processes of a machine share its first GPU.
        torch.cuda.set_device(local)
    try:
        store, rank, size = next(iter(rendezvous("env://", timeout=timedelta(minutes=5))))
        dist.init_process_group(
            "nccl" if cuda else "gloo",
            # The prefix separates torch's keys from `harness-failed`, which `_first_to_fail` counts.
            store=PrefixStore("harness", store), rank=rank, world_size=size, timeout=PATIENCE,
        )  # fmt: skip
        # A second group on gloo: JSON needs no GPU, and its timeout is much longer than that of gradients.
        control = dist.new_group(backend="gloo", timeout=CONTROL_PATIENCE)
        assert not isinstance(control, int)  # torch returns a number to processes that are not in the group
    except RuntimeError as error:
        address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise UserError(
            f"Process {rank_of_process()} of {size_of_world()} cannot reach the other processes at {address}: {error}",
            "Check torchrun's --rdzv-endpoint, or name the network with GLOO_SOCKET_IFNAME / NCCL_SOCKET_IFNAME.",
            EXIT_FAILED,
        ) from None
    return Processes(rank, size, local, here, control, store)


def _end(processes: Processes, error: BaseException) -> None:
    """Write why the run ends, on one process only, and exit without waiting for the other processes."""
    code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else EXIT_FAILED
    writes = processes.is_leader if processes.is_common(error) else _first_to_fail(processes)
    text = ""
    if isinstance(error, OSError):
        error = machine_error(error)
    if isinstance(error, UserError):
        code, text = error.exit_code, f"error: {error}\n"
    elif isinstance(error, KeyboardInterrupt):
        code, text = EXIT_INTERRUPTED, "interrupted; the same command goes on where it stopped\n"
    elif not isinstance(error, SystemExit):
        text = f"process {rank_of_process()} of {size_of_world()} failed:\n" + traceback.format_exc()
    if writes and text:
        sys.stderr.write(text)
    # `os._exit` does not flush Python's buffers.
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)  # a normal exit would destroy the process group, which waits for the other processes


def _first_to_fail(processes: Processes) -> bool:
    """Return whether this process is the first to fail; processes whose peer vanished fail after that peer."""
    if processes.store is None:
        return True
    try:
        return bool(processes.store.add("harness-failed", 1) == 1)
    except Exception:  # the launcher, which keeps the store, has ended too
        return processes.is_leader
