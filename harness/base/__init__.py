"""Errors, atomic files, canonical JSON and locks. Imports no other folder; every other folder may import it."""
