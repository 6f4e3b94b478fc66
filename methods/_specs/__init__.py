"""Specifications of the built-in methods, which need no torch: cards, recipes, options, and what follows from them."""
