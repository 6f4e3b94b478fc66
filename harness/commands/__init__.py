"""One file per verb of the command line: its arguments, and one call into the library."""
