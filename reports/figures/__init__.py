"""Figures of the board: small SVGs with direct labels and a caption. Does not import matplotlib."""
