"""Requests resolved into cells: fits and evals with measurements, keys and states. Never imports torch."""
