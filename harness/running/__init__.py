"""Compute cells: the run loop, fits, evals, records; load finished fits. Needs torch, except `run_request`."""
