"""What lies on disk: datasets, lists, label sets, the embedded benchmark. Never imports torch."""
