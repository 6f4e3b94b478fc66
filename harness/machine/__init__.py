"""This machine: places, compute options and caches. Nothing here enters a key. Imports `harness.base` only."""
