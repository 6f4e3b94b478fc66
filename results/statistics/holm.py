"""Holm's correction of p values for several tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Correct p values by the step-down procedure of Holm (1979), which bounds the family-wise error.

    Args:
        p: (T,) p values.

    Returns:
        (T,) corrected p values in the order of `p`.
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values)
    corrected = np.empty_like(values)
    # A hypothesis is rejected only if all hypotheses with smaller p values are: hence the running maximum.
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)), 1.0)
    return corrected
