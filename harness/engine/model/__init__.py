"""CLIP: towers, weights of all published formats, compiled blocks, export."""
