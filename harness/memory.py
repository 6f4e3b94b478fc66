"""How this process asks the operating system for memory."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST = 1 << 30


def keep_freed_memory() -> bool:
    """Let glibc reuse large blocks instead of giving each back to the kernel; whether that was possible.

    A training step on the CPU frees and allocates the same tens of megabytes over and over. By default glibc maps
    such blocks anew each time, and the kernel clears every page of them again.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST)) and bool(mallopt(_M_TRIM_THRESHOLD, _LARGEST))
