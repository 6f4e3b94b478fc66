"""Video files on disk: their locations and their contents."""
