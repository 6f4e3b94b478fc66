"""Specifications of the built-in methods without torch: cards, recipes, options, and decisions based on them."""
