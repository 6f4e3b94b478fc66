"""Built-in protocols: one file per protocol, whose stem is the name of the protocol. They import only `harness.api`."""
