"""Submissions to a board: packing, checking and acceptance, without torch."""
