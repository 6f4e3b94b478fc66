"""Benchmark harness for adapting CLIP to video action recognition."""

__version__ = "0.1.0"
