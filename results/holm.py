"""Holm's correction of p values for several tests."""

from __future__ import annotations

import gc

import numpy as np
from numpy.typing import ArrayLike, NDArray
from statsmodels.stats.multitest import multipletests


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """The p values after Holm's step-down correction, in the order given (statsmodels' `multipletests`)."""
    # It collects garbage in every call, 0.4 s on the heap of a large board; frozen objects are passed over.
    gc.freeze()
    try:
        return np.asarray(multipletests(np.asarray(p, dtype=np.float64), method="holm")[1])
    finally:
        gc.unfreeze()
