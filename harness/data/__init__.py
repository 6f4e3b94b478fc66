"""Datasets, lists and label sets on disk, and the embedded benchmark. Does not import torch."""
