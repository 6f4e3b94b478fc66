"""Records, predictions, metrics, statistics, published numbers. Imports nothing else of ours but `harness.errors`."""
