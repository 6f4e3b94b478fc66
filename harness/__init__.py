"""Benchmark harness for adapting CLIP to video action recognition."""

from harness.base.packages import use_our_packages

__version__ = "0.1.0"

use_our_packages()
