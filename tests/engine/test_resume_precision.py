"""A fit that is interrupted under one precision and resumed under another, as on another kind of GPU."""

from __future__ import annotations

import torch

from harness.engine.training.mm_runner import PrecisionOptimWrapper


def wrapper(dtype: torch.dtype) -> PrecisionOptimWrapper:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.1)
    return PrecisionOptimWrapper(dtype=dtype, device="cpu", optimizer=optimizer)


def test_a_state_of_bf16_is_resumed_in_fp16_and_back() -> None:
    """B15: bf16 has no loss scale; fp16 then starts with the default scale instead of an error."""
    state = wrapper(torch.bfloat16).state_dict()
    half = wrapper(torch.float16)
    fresh = half.scaler.get_scale()
    half.load_state_dict(state)
    assert half.scaler.get_scale() == fresh
    scaled = half.state_dict()
    scaled["scaler"]["scale"] = 8.0
    again, other = wrapper(torch.float16), wrapper(torch.bfloat16)
    again.load_state_dict(dict(scaled))
    assert again.scaler.get_scale() == 8.0
    other.load_state_dict(dict(scaled))
