"""A part of a large board that is computed by a second process, while this process goes on."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TypeVar

T = TypeVar("T")


def beside(compute: Callable[[], T], worth_it: bool) -> Callable[[], T]:
    """Start a computation; the function that is returned waits for its result.

    Args:
        compute: The computation, whose result can be pickled. It changes nothing that this process reads.
        worth_it: Whether it takes longer than the start of a process; otherwise it is computed here, when it is needed.

    Raises:
        Exception: As `compute` raises it, by the function that is returned.
    """
    if not worth_it or "fork" not in multiprocessing.get_all_start_methods() or (os.cpu_count() or 1) < 2:
        return compute
    # fork, because the child reads thousands of rows that would otherwise be copied through a pipe.
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(compute, theirs), daemon=True)
    process.start()
    theirs.close()

    def result() -> T:
        try:
            value, error = ours.recv()
        except EOFError:  # killed, for example for lack of memory: this process may have room by now
            return compute()
        finally:
            ours.close()
            process.join()
        if error is not None:
            raise error
        answer: T = value
        return answer

    return result


def _answer(compute: Callable[[], T], connection: Connection) -> None:
    try:
        connection.send((compute(), None))
    except Exception as error:
        connection.send((None, error))
