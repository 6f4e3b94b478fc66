"""Submissions: facts of the benchmark for the checker, the check of a folder, and the reproduction of a row."""
