"""Tests. The settings of numerical libraries are made here, before any module of the tests imports NumPy or torch."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line does
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process a core: more threads would wait for each other
