"""Records, predictions, metrics, statistics and published numbers. Imports `harness.base` and `harness.spec` only."""
