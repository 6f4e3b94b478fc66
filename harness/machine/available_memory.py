"""The memory that new processes of this machine or container can use."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

GIB = 2**30
_CGROUPS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
"""Files with the limit and the use of a container, below the folder of control groups: version 2, version 1."""


def available_memory(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return the available memory in bytes: of the machine, or of the container if that is less.

    Args:
        proc: Folder of the kernel with `meminfo`.
        cgroups: Folder of control groups.

    Returns:
        The number of bytes; None on a system that states neither.
    """
    known = [*_of_the_machine(proc / "meminfo")]
    for limit, used in _CGROUPS:
        with contextlib.suppress(OSError, ValueError):  # absent, or the limit is the word `max`
            known.append(max(0, int((cgroups / limit).read_text()) - int((cgroups / used).read_text())))
    return min(known, default=None)


def _of_the_machine(meminfo: Path) -> list[int]:
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = meminfo.read_text().splitlines()
        return [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return [os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    return []
