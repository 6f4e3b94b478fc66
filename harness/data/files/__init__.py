"""Video files on disk: where they are, what they contain, whether they decode."""
