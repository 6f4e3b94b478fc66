"""Submissions: facts of the benchmark for the checker, checks of folders, and reproduction from weights."""
