"""Cells carried out: the run loop, fits, evals, records, and finished fits loaded again. Needs torch."""
