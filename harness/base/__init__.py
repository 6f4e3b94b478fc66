"""Errors, atomic files, canonical JSON and locks. Imports nothing of ours; every other folder may import it."""
