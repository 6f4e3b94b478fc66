"""Plugins: methods and protocols that the harness finds by name, and the hash of their code."""
