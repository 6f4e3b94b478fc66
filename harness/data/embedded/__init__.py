"""The embedded benchmark: two small synthetic datasets that are rendered on first use."""
