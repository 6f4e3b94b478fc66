"""Results of a board in the formats of other collections of results."""
