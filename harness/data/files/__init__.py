"""Video files on disk: their index, their fingerprints, and a comparison of the two readers."""
