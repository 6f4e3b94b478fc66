"""The process group of a run: ranks, exchange of small values, and one error for all processes.

`torchrun` starts the processes and sets `RANK`, `WORLD_SIZE`, `LOCAL_RANK` and `LOCAL_WORLD_SIZE`. All processes visit
the same cells in the same order; the leader (rank 0) decides, holds the locks and writes the files. Small values are
exchanged as JSON over gloo, gradients over NCCL or gloo. Torch is imported inside functions, because the command line
needs the rank before it needs torch.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, TypeVar

from harness.base.errors import EXIT_FAILED, UserError, machine_error

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.distributed_c10d import ProcessGroup, Store

T = TypeVar("T")


def rank_of_process() -> int:
    """Return the rank of this process; 0 in a single-process run."""
    return int(os.environ["RANK"]) if size_of_world() > 1 else 0


def size_of_world() -> int:
    """Return the number of processes of the run: `WORLD_SIZE` if `RANK` is set too, as `torchrun` does, else 1."""
    return int(os.environ.get("WORLD_SIZE") or 1) if os.environ.get("RANK") else 1


def processes_here() -> int:
    """Return the number of processes of the run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE") or 1) if size_of_world() > 1 else 1


class _Failure(TypedDict):
    """An exception as JSON: `UserError`s keep their parts, other exceptions become the text of their traceback."""

    is_user_error: bool
    message: str
    hint: str
    exit_code: int


@dataclass(frozen=True)
class Processes:
    """The process group, seen from one process. In a single-process run all methods return at once.

    Args:
        rank: Rank of this process, from 0 to size - 1.
        size: Number of processes of the run.
        local_rank: Rank among the processes of this machine, which is also the index of the GPU.
        local_size: Number of processes on this machine.
        control: gloo group over which small values are exchanged; None in a single-process run.
        store: Key-value store of the run. The launcher keeps it, so that it outlives each process.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    control: ProcessGroup | None = None
    store: Store | None = None

    @property
    def is_leader(self) -> bool:
        """Whether this process decides and writes."""
        return self.rank == 0

    def share(self, value: T) -> T:
        """Return the leader's value on every process. The value is sent as JSON, so that tuples arrive as lists.

        Args:
            value: The value to send; the values of all processes but the leader are ignored.
        """
        if self.size == 1:
            return value
        import torch
        import torch.distributed as dist

        # A broadcast needs a buffer of the right size on the receivers, so the length travels first.
        data = _packed(value) if self.is_leader else torch.empty(0, dtype=torch.uint8)
        length = torch.tensor([len(data)])
        dist.broadcast(length, 0, group=self.control)
        data = data if self.is_leader else torch.empty(int(length), dtype=torch.uint8)
        dist.broadcast(data, 0, group=self.control)
        shared: T = json.loads(_text(data))
        return shared

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes, ordered by rank, on every process. The values are sent as JSON."""
        if self.size == 1:
            return [value]
        import torch
        import torch.distributed as dist

        data = _packed(value)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor([len(data)]), group=self.control)
        longest = int(max(lengths))
        # `all_gather` needs tensors of one size; `gather_object` would unpickle bytes, JSON cannot run code.
        padded = torch.nn.functional.pad(data, (0, longest - len(data)))
        buffers = [torch.empty(longest, dtype=torch.uint8) for _ in range(self.size)]
        dist.all_gather(buffers, padded, group=self.control)
        return [json.loads(_text(buffer[: int(length)])) for buffer, length in zip(buffers, lengths, strict=True)]

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a tensor over the processes, on every process and on the tensor's device."""
        if self.size == 1:
            return value
        import torch.distributed as dist

        # `all_reduce` writes into its argument.
        value = value.clone()
        dist.all_reduce(value)
        return value / self.size

    @contextmanager
    def together(self) -> Iterator[None]:
        """Context of work that may fail on one process; every process then raises the error at the end of the context.

        The processes must not wait for each other inside the context: one that failed would never answer.

        Raises:
            UserError: This process or another one raised it.
            RuntimeError: Another process raised an exception of another type; the message is its traceback.
        """
        error: Exception | None = None
        try:
            yield
        except Exception as raised:
            if self.size == 1:
                raise
            error = raised
        if self.size == 1:
            return
        # Also without an error here: a process that left the exchange out would leave the others waiting.
        failures = self.gather(None if error is None else _failure(error))
        if error is not None:
            raise self.mark_common(error)
        for rank, failure in enumerate(failures):
            if failure is not None:
                raise self.mark_common(_exception(failure, rank, self.size))

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Context of work that leaves files on disk: the leader first, then one process of each other machine.

        The remaining processes come last and find the files of their machine. An error is raised on every process.
        """
        turn = 0 if self.is_leader else 1 if self.local_rank == 0 else 2
        # All processes pass the three contexts of three turns, because each context exchanges errors among all of them.
        for _ in range(turn if self.size > 1 else 0):
            with self.together():
                pass
        with self.together():
            yield
        for _ in range(2 - turn if self.size > 1 else 0):
            with self.together():
                pass

    def mark_common(self, error: Exception) -> Exception:
        """Mark an error as raised on every process, so that `--keep-going` may continue; return the error."""
        error.__dict__["common"] = True
        return error

    def is_common(self, error: BaseException) -> bool:
        """Return whether an error was raised on every process."""
        return self.size == 1 or bool(error.__dict__.get("common"))


SINGLE_PROCESS = Processes()


def _failure(error: Exception) -> _Failure:
    if isinstance(error, OSError):
        error = machine_error(error)
    if isinstance(error, UserError):
        return {"is_user_error": True, "message": error.message, "hint": error.hint, "exit_code": error.exit_code}
    text = "".join(traceback.format_exception(error))
    return {"is_user_error": False, "message": text, "hint": "", "exit_code": EXIT_FAILED}


def _exception(failure: _Failure, rank: int, size: int) -> Exception:
    if failure["is_user_error"]:
        return UserError(failure["message"], failure["hint"], failure["exit_code"])
    return RuntimeError(f"process {rank} of {size} failed:\n{failure['message']}")


def _packed(value: T) -> Tensor:
    """JSON text as a tensor of bytes."""
    import torch

    # A copy, because torch warns about tensors over read-only bytes.
    return torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)


def _text(data: Tensor) -> bytes:
    return data.numpy().tobytes()
