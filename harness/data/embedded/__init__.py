"""The embedded benchmark: two small synthetic datasets, rendered on first use."""
