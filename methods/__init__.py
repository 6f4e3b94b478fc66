"""Built-in methods: one file per method, whose stem is the name of the method. They import only `harness.api`."""
