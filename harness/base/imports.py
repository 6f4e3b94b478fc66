"""Quick imports of packages that make very many objects."""

from __future__ import annotations

import atexit
import contextlib
import gc
import sys
from collections.abc import Iterator

LARGE = 100
"""Number of modules from which the objects of an import are frozen."""


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    """Import packages inside this context without garbage collections.

    Imports make objects by the hundred thousand and leave little garbage, so that the collector walks over all of them
    several times for nothing: 1.4 of the 8.8 s that torch, open_clip and mmaction2 take. Afterwards the collector does
    not look at the imported objects again; the pages that hold them also stay shared with forked decode workers.
    """
    collects, before = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if collects:
            # If nothing was imported, garbage of the caller would be frozen instead.
            if len(sys.modules) > before + LARGE:
                gc.freeze()
                # Libraries look for leaks at exit: frozen objects would never be collected and be reported as leaked.
                atexit.unregister(gc.unfreeze)
                atexit.register(gc.unfreeze)
            gc.enable()
