"""Built-in methods: one file per method, the file stem is its name. Import only `harness.api`."""
