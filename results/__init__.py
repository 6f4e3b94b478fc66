"""Records, predictions, metrics, statistics and published numbers. Imports nothing else of ours but `harness.errors`."""
