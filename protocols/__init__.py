"""Built-in protocols: one file per protocol, the file stem is its name. Import only `harness.api`."""
