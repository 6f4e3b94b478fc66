"""This machine: places, compute options and caches. Nothing here enters a key. Imports `base` and `results` only."""
