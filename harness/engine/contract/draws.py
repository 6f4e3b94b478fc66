"""The check of random numbers in training: a fit must not depend on the number of processes or on interruptions."""

from __future__ import annotations

import random

import numpy as np
import torch

from harness.engine.contract.fixture import MethodUnderTest


def declares_draws(tested: MethodUnderTest) -> str:
    """Random numbers in training come from torch, and a method that draws them declares `random_draws`."""
    method = tested.fresh()
    if not method.trainable() or method.fits_at_once:
        return ""
    of_python, of_numpy = random.getstate(), np.random.get_state(legacy=False)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    tested.see(method, tested.base)
    names = [] if random.getstate() == of_python else ["random"]
    names += [] if str(np.random.get_state(legacy=False)) == str(of_numpy) else ["numpy.random"]
    if names:
        return (
            f"The loss draws from {' and '.join(names)}, whose state a resumed fit does not have: draw from torch, or "
            "from the generators of TrainingBatch."
        )
    if torch.equal(torch.get_rng_state(), before) or method.couples_clips or method.random_draws:
        return ""
    return (
        "The loss draws from torch's generator (dropout?), so that a fit depends on the device batch and the number of "
        "processes: set `random_draws = True`, or draw from the generators of TrainingBatch."
    )
