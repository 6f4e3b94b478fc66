"""Specifications of the built-in methods: cards, recipes, options, and decisions on them, without torch."""
