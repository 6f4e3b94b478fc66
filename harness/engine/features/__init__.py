"""Features of frames and videos, and their cache on disk."""
