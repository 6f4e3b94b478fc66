"""Readers of the datasets' own annotation files, each in its official format."""
